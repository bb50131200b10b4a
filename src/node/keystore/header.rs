//! `node.keys` as bytes.

use crate::{
    crypto::unlock::Unlocker,
    kit::id::{ClusterId, NodeId},
    wire::{Malformed, v1},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8] = b"secretd keys\n";
const FORMAT: u32 = 2;

/// `node.keys`, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) unlockers: Vec<Unlocker>,
    pub(super) storage: WrappedStorage,
    /// While the root key is being replaced: the one that is offered, under each unlocker.
    pub(super) next: Vec<Unlocker>,
}

/// What the root key opens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WrappedStorage {
    /// A node's storage keys, newest first, sealed beside the unlockers of its header.
    Node(Vec<Vec<u8>>),
    /// The key of a backup.
    Backup(Vec<u8>),
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Foreign,
    Format(u32),
    Damaged,
}

impl Header {
    pub(super) fn print(&self) -> Vec<u8> {
        let Self { cluster, node, unlockers, storage, next } = self;
        let wrapped_storage_keys = match storage {
            WrappedStorage::Node(wrapped) => wrapped.clone(),
            // Lies in a header of another form.
            WrappedStorage::Backup(_) => Vec::new(),
        };
        let keys = v1::NodeKeys {
            format: FORMAT,
            cluster_id: cluster.to_string(),
            node_id: node.to_string(),
            unlockers: unlockers.iter().map(Into::into).collect(),
            wrapped_storage_keys,
            next: next.iter().map(Into::into).collect(),
        };
        let body = keys.encode_to_vec();
        [MAGIC, &Sha256::digest(&body)[..], &body].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Bad> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Bad::Foreign)?;
        let (digest, body) = rest.split_first_chunk::<32>().ok_or(Bad::Damaged)?;
        if Sha256::digest(body)[..] != digest[..] {
            return Err(Bad::Damaged);
        }
        let keys = v1::NodeKeys::decode(body).map_err(|_| Bad::Damaged)?;
        let v1::NodeKeys { format, cluster_id, node_id, unlockers, wrapped_storage_keys, next } =
            keys;
        if format != FORMAT {
            return Err(Bad::Format(format));
        }
        // The sum fits, so what cannot be understood is not damaged but newer.
        let all = |unlockers: Vec<v1::Unlocker>| {
            let unlockers = unlockers.into_iter().map(TryInto::try_into);
            unlockers.collect::<Result<Vec<Unlocker>, Malformed>>()
        };
        Ok(Self {
            cluster: cluster_id.parse().map_err(|_| Bad::Damaged)?,
            node: node_id.parse().map_err(|_| Bad::Damaged)?,
            unlockers: all(unlockers).map_err(|_| Bad::Format(format))?,
            storage: WrappedStorage::Node(wrapped_storage_keys),
            next: all(next).map_err(|_| Bad::Format(format))?,
        })
    }
}

/// A file with this in it, whatever it is.
#[cfg(any(test, fuzzing))]
pub(super) fn around(body: &[u8]) -> Vec<u8> {
    [MAGIC, &Sha256::digest(body)[..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        use crate::crypto::{
            key::Key,
            unlock::{Method, Unlocker},
        };
        let (cluster, root) = (ClusterId::random(), Key::random());
        let id = crate::kit::id::UnlockerId::random();
        let unlocker = Unlocker::new(cluster, id, Method::Recovery, &Key::random(), &root);
        Header {
            cluster,
            node: NodeId::random(),
            unlockers: vec![unlocker.clone()],
            storage: WrappedStorage::Node(vec![vec![1, 2, 3], vec![4]]),
            next: vec![unlocker],
        }
    }

    #[test]
    fn every_flipped_bit_of_the_header_is_noticed() {
        let good = header().print();
        assert_eq!(Header::parse(&good).unwrap().print(), good);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = Header::parse(&bad).unwrap_err();
            assert!(matches!(error, Bad::Foreign | Bad::Damaged), "bit {bit}: {error:?}");
        }
        for len in 0..good.len() {
            Header::parse(&good[..len]).unwrap_err();
        }
    }

    #[test]
    fn another_format_and_an_unknown_kind_of_unlocker_are_newer_not_damaged() {
        let framed = |keys: v1::NodeKeys| {
            let body = keys.encode_to_vec();
            Header::parse(&[MAGIC, &Sha256::digest(&body)[..], &body].concat()).unwrap_err()
        };
        let newer = v1::NodeKeys { format: 3, ..Default::default() };
        assert_eq!(framed(newer), Bad::Format(3));
        let header = header();
        let unknown = v1::Unlocker { method: None, ..(&header.unlockers[0]).into() };
        assert_eq!(
            framed(v1::NodeKeys {
                format: 2,
                cluster_id: header.cluster.to_string(),
                node_id: header.node.to_string(),
                unlockers: vec![unknown],
                ..Default::default()
            }),
            Bad::Format(2)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            prop_assert!(Header::parse(&body).is_err());
            let framed = [MAGIC, &Sha256::digest(&body)[..], &body].concat();
            prop_assert!(Header::parse(&framed).is_err());
        }
    }
}
