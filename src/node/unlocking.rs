//! Which unlockers this node has, said in words.

use super::{
    keystore::Ways,
    protection::{self, KeyPlace},
};
use crate::{
    crypto::unlock::{Kind, Method, Unlocker, tpm::Tpm2},
    wire::v1::{StatusResponse, TpmEntry},
};

/// Fills in what `status` says of the ways to the keys, this node's own included.
pub(super) fn describe(ways: &Ways, place: &KeyPlace, status: &mut StatusResponse) {
    let Ways { key_file, shared } = ways;
    status.unlockers = key_file.then(|| Kind::File.to_string()).into_iter().collect();
    status.unlockers.extend(shared.iter().map(name));
    status.protection = protection::at_rest(ways, place);
    status.memory = protection::in_memory_now();
    status.tpms = shared.iter().filter_map(tpm).collect();
}

/// A TPM of this node as operators see it.
pub(super) fn tpm(unlocker: &Unlocker) -> Option<TpmEntry> {
    let Method::Tpm2(Tpm2 { device, pcrs, .. }) = &unlocker.method else { return None };
    let (id, device) = (unlocker.id.to_string(), device.clone());
    Some(TpmEntry { id, device, pcrs: pcrs.bits() })
}

/// An unlocker as `status` names it: what to give, and which one.
pub(super) fn name(unlocker: &Unlocker) -> String {
    let Unlocker { id, method, recipient: _, wrapped_root: _ } = unlocker;
    match method {
        Method::File => Kind::File.to_string(),
        Method::Autolock | Method::Recovery | Method::Passphrase(_) => {
            format!("{} {id}", unlocker.kind())
        }
        Method::Shamir { shares, threshold } => {
            format!("{} {id} ({threshold} of {shares} shares)", unlocker.kind())
        }
        Method::Command(helper) => {
            format!("{} {id} ({})", unlocker.kind(), helper.program.display())
        }
        Method::Tpm2(Tpm2 { device, pcrs, .. }) if pcrs.is_empty() => {
            format!("{} {id} ({device})", unlocker.kind())
        }
        Method::Tpm2(Tpm2 { device, pcrs, .. }) => {
            format!("{} {id} ({device}, PCRs {pcrs})", unlocker.kind())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::key::Key,
        kit::id::{ClusterId, UnlockerId},
    };

    #[test]
    fn status_names_every_unlocker() {
        let unlocker = |method| {
            let (id, key) = (UnlockerId::random(), Key::random());
            Unlocker::new(ClusterId::random(), id, method, &key, &Key::random())
        };
        let shamir = unlocker(Method::Shamir { shares: 5, threshold: 3 });
        let (id, place) = (shamir.id, KeyPlace::of("/var".as_ref(), "/etc".as_ref()));
        let mut status = StatusResponse::default();
        describe(&Ways { key_file: true, shared: vec![shamir.clone()] }, &place, &mut status);
        assert_eq!(status.unlockers, ["file".to_owned(), format!("shamir {id} (3 of 5 shares)")]);
        describe(&Ways { key_file: false, shared: vec![shamir] }, &place, &mut status);
        assert_eq!(status.unlockers.len(), 1);
        assert!(status.protection.contains("after each start somebody must"));
        assert!(!status.memory.is_empty());
    }
}
