//! The codec of every service: protobuf, but that a message is weighed before it is decoded.

use super::shape::{Shaped, weigh};
use prost::Message;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Named by the generated services.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Shaped + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Weighing<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        Weighing(ProstCodec::<T, U>::raw_decoder(BufferSettings::default()))
    }
}

/// Decodes what is light enough.
#[derive(Debug)]
pub struct Weighing<U>(ProstDecoder<U>);

impl<U: Message + Default + Shaped> Decoder for Weighing<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        use prost::bytes::Buf as _;
        // tonic gathers a message in one buffer, so its first chunk is all of it.
        if buf.chunk().len() != buf.remaining() {
            return Err(Status::internal("a message came in pieces"));
        }
        weigh(U::SHAPE, buf.chunk())
            .map_err(|unfit| Status::invalid_argument(unfit.to_string()))?;
        self.0.decode(buf)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
