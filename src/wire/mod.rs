//! Protobuf ⇄ model: what leaves a process or outlives one, in the messages of `proto/secretd/v1`.
//!
//! Bytes are parsed here once, at the edge, with the path of the field in each error; behind it everything is model.

pub mod codec;
pub mod convert;
pub mod payload;
pub mod shape;
#[rustfmt::skip]
mod shapes;
pub mod status;
#[expect(
    unused_qualifications,
    clippy::large_enum_variant,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code brings its own attributes; tests/generated.rs keeps it fresh"
)]
#[rustfmt::skip]
pub mod v1;

pub use convert::Malformed;
