//! Errors on the wire: a gRPC code, a message for people, and a hint beside it in the trailers.

use crate::{
    kit::id::NodeId,
    model::refusal::{Refusal, RefusalKind},
    wire::Malformed,
};
use tonic::{
    Code, Status,
    metadata::{BinaryMetadataValue, MetadataMap, MetadataValue},
};

/// The trailer that carries the hint; `-bin` because hints are any text.
const HINT: &str = "secretd-hint-bin";
/// The trailer that tells a node, by its id, that it is no member any more; a node that hears so gives up all it holds.
const REMOVED: &str = "secretd-removed";
/// Longest message and hint that are sent, in bytes: trailers share a frame of 16 KiB, and a message grows to three
/// times its length when it is escaped.
const TEXT_LEN: usize = 3000;

/// Makes a status with a hint for people.
pub fn status(code: Code, message: impl Into<String>, hint: Option<String>) -> Status {
    let mut metadata = MetadataMap::new();
    if let Some(hint) = hint {
        metadata.insert_bin(HINT, BinaryMetadataValue::from_bytes(cut(hint).as_bytes()));
    }
    Status::with_metadata(code, cut(message.into()), metadata)
}

/// Returns the hint that came with a status.
pub fn hint(status: &Status) -> Option<String> {
    let value = status.metadata().get_bin(HINT)?.to_bytes().ok()?;
    String::from_utf8(value.to_vec()).ok()
}

/// Tells a node that it is no member. To be said only on a confirmed state: the node wipes everything.
pub fn removed(node: NodeId) -> Status {
    let refusal =
        Refusal::new(RefusalKind::Denied, format!("node {node} is not a member of the cluster"))
            .hint("a node that was removed has to join again, as a new one");
    let mut status = Status::from(refusal);
    let value = MetadataValue::try_from(node.to_string()).expect("an id is ASCII");
    status.metadata_mut().insert(REMOVED, value);
    status
}

/// Whether a manager says with this that `node` is no member any more.
pub fn is_removed(status: &Status, node: NodeId) -> bool {
    removed_node(status) == Some(node)
}

/// The node that a manager says with this is no member any more.
pub fn removed_node(status: &Status) -> Option<NodeId> {
    let value =
        status.metadata().get(REMOVED).filter(|_| status.code() == Code::PermissionDenied)?;
    value.to_str().ok()?.parse().ok()
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { kind, message, hint } = refusal;
        let code = match kind {
            RefusalKind::Invalid => Code::InvalidArgument,
            RefusalKind::NotFound => Code::NotFound,
            RefusalKind::Exists => Code::AlreadyExists,
            RefusalKind::Precondition => Code::FailedPrecondition,
            RefusalKind::Conflict => Code::Aborted,
            RefusalKind::Denied => Code::PermissionDenied,
        };
        status(code, message, hint)
    }
}

/// Reads a status back as the refusal it was; other failures (`Unavailable`, `Internal`, …) are none.
pub fn refusal(status: &Status) -> Option<Refusal> {
    let kind = match status.code() {
        Code::InvalidArgument => RefusalKind::Invalid,
        Code::NotFound => RefusalKind::NotFound,
        Code::AlreadyExists => RefusalKind::Exists,
        Code::FailedPrecondition => RefusalKind::Precondition,
        Code::Aborted => RefusalKind::Conflict,
        Code::PermissionDenied => RefusalKind::Denied,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => return None,
    };
    Some(Refusal { kind, message: status.message().to_owned(), hint: hint(status) })
}

/// What a request says makes no sense: the request can never work as it is.
impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(cut(malformed.to_string()))
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_LEN {
        let mut end = TEXT_LEN;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_wire() {
        for kind in [
            RefusalKind::Invalid,
            RefusalKind::NotFound,
            RefusalKind::Exists,
            RefusalKind::Precondition,
            RefusalKind::Conflict,
            RefusalKind::Denied,
        ] {
            let said =
                Refusal::new(kind, "secret 'ä' is in use").hint("remove it from the services");
            let status = Status::from(said.clone());
            // As tonic would send and receive it.
            let response = status.into_http::<tonic::body::Body>();
            let heard = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(refusal(&heard), Some(said));
        }
        let bare = Refusal::not_found("no such secret");
        assert_eq!(refusal(&Status::from(bare.clone())), Some(bare));
    }

    #[test]
    fn only_who_is_meant_counts_as_removed() {
        let node = NodeId::random();
        let heard = removed(node).into_http::<tonic::body::Body>();
        let heard = Status::from_header_map(heard.headers()).unwrap();
        assert!(is_removed(&heard, node));
        assert!(!is_removed(&heard, NodeId::random()));
        let denied = Refusal::new(RefusalKind::Denied, heard.message()).into();
        assert!(!is_removed(&denied, node));
    }

    #[test]
    fn other_failures_are_no_refusals() {
        assert_eq!(refusal(&Status::unavailable("away")), None);
        assert_eq!(refusal(&Status::internal("broken")), None);
    }

    #[test]
    fn a_text_too_long_for_the_trailers_is_cut() {
        let status = Status::from(Refusal::invalid("ä".repeat(4000)));
        assert!(status.message().len() <= TEXT_LEN + 3);
        assert!(status.message().ends_with('…'));
    }
}
