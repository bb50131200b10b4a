//! Between model and messages, both ways. Structs are taken apart in full, so a new field stops the build here.
//!
//! Towards the wire: `From<&Model> for v1::Message`. From the wire: `TryFrom<v1::Message> for Model`, with
//! [`Malformed`] naming the field. Enumerations: [`Code`]. Whole values to and from bytes: [`encode`], [`decode`].

mod cluster;
mod code;
mod command;
mod malformed;
mod node;
mod object;
mod parts;
mod service;
mod task;
mod unlocker;

pub use code::Code;
pub use command::outcome;
pub use malformed::Malformed;

use crate::{
    crypto::seal::Sealed,
    model::{
        cluster::Cluster,
        command::{Answered, Stamped},
        destroyed::Destroyed,
        node::Node,
        object::Object,
        service::{Service, ServiceSpec},
        task::{Remnant, Task},
    },
    wire::v1,
};
use prost::Message;

/// A value that has a message of its own.
pub trait Wire: Sized + TryFrom<Self::Message, Error = Malformed> {
    type Message: Message + Default + for<'a> From<&'a Self>;
}

macro_rules! wire {
    ($($model:ty => $message:ty,)*) => {$(
        impl Wire for $model {
            type Message = $message;
        }
    )*};
}

wire! {
    Stamped => v1::Stamped,
    Answered => v1::Answered,
    Destroyed => v1::Destroyed,
    Cluster => v1::Cluster,
    Node => v1::NodeInfo,
    Object => v1::Object,
    Service => v1::Service,
    ServiceSpec => v1::ServiceSpec,
    Task => v1::Task,
    Remnant => v1::Remnant,
    Sealed => v1::Sealed,
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("cannot decode the bytes")]
    Bytes(#[from] prost::DecodeError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Writes a value as bytes, for the disk or a peer. Equal values give equal bytes.
pub fn encode<T: Wire>(value: &T) -> Vec<u8> {
    T::Message::from(value).encode_to_vec()
}

/// Reads a value back.
///
/// # Errors
/// [`DecodeError`]: the bytes are no message, or it stands for no value.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    Ok(T::try_from(T::Message::decode(bytes)?)?)
}

/// Packs the commands of one entry of the log.
pub fn batch(commands: &[Stamped]) -> v1::Batch {
    v1::Batch { commands: commands.iter().map(Into::into).collect() }
}

/// Unpacks the commands of one entry of the log.
///
/// # Errors
/// [`Malformed`] names the command and the field.
pub fn unbatch(batch: v1::Batch) -> Result<Vec<Stamped>, Malformed> {
    let v1::Batch { commands } = batch;
    parts::list(commands, "commands")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::samples;
