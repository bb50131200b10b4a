//! The parts that many messages share, and the small tools with which fields are read.

use super::Malformed;
use crate::{
    crypto::{
        key::RootId,
        keyring::WrappedTerm,
        seal::{Sealed, WrappedKey},
    },
    kit::clock::Timestamp,
    model::{Meta, command::RequestId},
    wire::v1,
};
use std::{fmt::Display, str::FromStr, time::Duration};

/// Names the field in which a fault lies.
pub(super) trait At<T> {
    fn at(self, field: &str) -> Result<T, Malformed>;
}

impl<T> At<T> for Result<T, Malformed> {
    fn at(self, field: &str) -> Self {
        self.map_err(|fault| fault.within(field))
    }
}

/// A field that must be there.
pub(super) fn need<T>(value: Option<T>, field: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new("must be set").within(field))
}

/// A message field that must be there, converted.
pub(super) fn convert<M, T>(value: Option<M>, field: &str) -> Result<T, Malformed>
where
    T: TryFrom<M, Error = Malformed>,
{
    T::try_from(need(value, field)?).at(field)
}

/// A message field that may be missing, converted.
pub(super) fn maybe<M, T>(value: Option<M>, field: &str) -> Result<Option<T>, Malformed>
where
    T: TryFrom<M, Error = Malformed>,
{
    value.map(T::try_from).transpose().at(field)
}

/// A text that is parsed: an id, a name.
pub(super) fn parse<T>(text: &str, field: &str) -> Result<T, Malformed>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|fault| Malformed::new(fault).within(field))
}

/// An id that may be missing, as an empty text.
pub(super) fn maybe_parse<T>(text: &str, field: &str) -> Result<Option<T>, Malformed>
where
    T: FromStr,
    T::Err: Display,
{
    if text.is_empty() { Ok(None) } else { parse(text, field).map(Some) }
}

/// Which root key.
pub(super) fn root_id(bytes: &[u8], field: &str) -> Result<RootId, Malformed> {
    digest(bytes, field).map(RootId)
}

/// A SHA-256.
pub(super) fn digest(bytes: &[u8], field: &str) -> Result<[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| Malformed::new("must have 32 bytes").within(field))
}

/// A list, converted one by one.
pub(super) fn list<M, T>(values: Vec<M>, field: &str) -> Result<Vec<T>, Malformed>
where
    T: TryFrom<M, Error = Malformed>,
{
    let convert =
        |(at, value)| T::try_from(value).map_err(|fault| fault.within(&format!("{field}[{at}]")));
    values.into_iter().enumerate().map(convert).collect()
}

/// A list towards the wire.
pub(super) fn wires<'a, T, M>(values: &'a [T]) -> Vec<M>
where
    M: From<&'a T>,
{
    values.iter().map(M::from).collect()
}

impl From<&Duration> for v1::Span {
    fn from(value: &Duration) -> Self {
        Self { seconds: value.as_secs(), nanos: value.subsec_nanos() }
    }
}

impl TryFrom<v1::Span> for Duration {
    type Error = Malformed;
    fn try_from(wire: v1::Span) -> Result<Self, Malformed> {
        let v1::Span { seconds, nanos } = wire;
        if nanos >= 1_000_000_000 {
            return Err(Malformed::new("must be below 1000000000").within("nanos"));
        }
        Ok(Self::new(seconds, nanos))
    }
}

/// A duration whose absence means none.
pub(super) fn span(value: Option<v1::Span>, field: &str) -> Result<Duration, Malformed> {
    Ok(maybe(value, field)?.unwrap_or_default())
}

impl From<&Meta> for v1::Meta {
    fn from(value: &Meta) -> Self {
        let Meta { index, created_at, updated_at } = value;
        Self { index: *index, created_at_ms: created_at.0, updated_at_ms: updated_at.0 }
    }
}

impl TryFrom<v1::Meta> for Meta {
    type Error = Malformed;
    fn try_from(wire: v1::Meta) -> Result<Self, Malformed> {
        let v1::Meta { index, created_at_ms, updated_at_ms } = wire;
        Ok(Self {
            index,
            created_at: Timestamp(created_at_ms),
            updated_at: Timestamp(updated_at_ms),
        })
    }
}

impl From<&RequestId> for v1::RequestId {
    fn from(value: &RequestId) -> Self {
        let RequestId { client, sequence } = value;
        Self { client_id: client.to_string(), sequence: *sequence }
    }
}

impl TryFrom<v1::RequestId> for RequestId {
    type Error = Malformed;
    fn try_from(wire: v1::RequestId) -> Result<Self, Malformed> {
        let v1::RequestId { client_id, sequence } = wire;
        Ok(Self { client: parse(&client_id, "client_id")?, sequence })
    }
}

impl From<&Sealed> for v1::Sealed {
    fn from(value: &Sealed) -> Self {
        let Sealed { term, wrapped_key, body } = value;
        Self { term: *term, wrapped_key: wrapped_key.clone(), body: body.clone() }
    }
}

impl TryFrom<v1::Sealed> for Sealed {
    type Error = Malformed;
    fn try_from(wire: v1::Sealed) -> Result<Self, Malformed> {
        let v1::Sealed { term, wrapped_key, body } = wire;
        Ok(Self { term, wrapped_key, body })
    }
}

impl From<&WrappedTerm> for v1::WrappedTerm {
    fn from(value: &WrappedTerm) -> Self {
        let WrappedTerm { term, created_at, wrapped } = value;
        Self { term: *term, wrapped: wrapped.clone(), created_at_ms: created_at.0 }
    }
}

impl TryFrom<v1::WrappedTerm> for WrappedTerm {
    type Error = Malformed;
    fn try_from(wire: v1::WrappedTerm) -> Result<Self, Malformed> {
        let v1::WrappedTerm { term, wrapped, created_at_ms } = wire;
        Ok(Self { term, created_at: Timestamp(created_at_ms), wrapped })
    }
}

impl From<&WrappedKey> for v1::WrappedKey {
    fn from(value: &WrappedKey) -> Self {
        let WrappedKey { term, wrapped } = value;
        Self { term: *term, wrapped: wrapped.clone() }
    }
}

impl TryFrom<v1::WrappedKey> for WrappedKey {
    type Error = Malformed;
    fn try_from(wire: v1::WrappedKey) -> Result<Self, Malformed> {
        let v1::WrappedKey { term, wrapped } = wire;
        Ok(Self { term, wrapped })
    }
}
