//! Errors on the wire: a gRPC code, a message for people, and a hint beside it in the trailers.

use crate::{
    model::refusal::{Refusal, RefusalKind},
    wire::Malformed,
};
use tonic::{
    Code, Status,
    metadata::{BinaryMetadataValue, MetadataMap},
};

/// The trailer that carries the hint; `-bin` because hints are any text.
const HINT: &str = "secretd-hint-bin";
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
