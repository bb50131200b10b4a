//! A connection after its handshake. It lives no longer than the certificates it was opened with are good for.

use super::{
    peer::{KeyId, Peer},
    refusal::in_our_words,
    tls::Tls,
};
use crate::kit::task::Stop;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

/// Waits for the reason to end a connection.
type End = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// A stream that ends by itself.
pub(super) struct Ending<S> {
    stream: S,
    end: End,
}

impl<S> Ending<S> {
    pub(super) fn new(stream: S, end: impl Future<Output = &'static str> + Send + 'static) -> Self {
        Self { stream, end: Box::pin(end) }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }
}

/// Waits until a connection that `peer` opened to us must end: with its certificate, or with our trust in the CA that
/// signed it, or to give way to a newer one.
pub(super) async fn of_server(
    tls: Tls,
    peer: std::sync::Arc<Peer>,
    gives_way: Stop,
) -> &'static str {
    let life = peer.not_after.since(tls.clock().now());
    tokio::select! {
        () = gives_way.cancelled() => "the client has opened too many connections",
        () = sleep(life) => "the client's certificate has expired",
        () = distrusted(&tls, peer.issuer.as_ref()) => {
            "the client's certificate is signed by a CA that is trusted no longer"
        }
    }
}

/// As [`of_server`], for somebody without a certificate.
pub(super) async fn of_stranger(life: Duration, gives_way: Stop) -> &'static str {
    tokio::select! {
        () = gives_way.cancelled() => "there are too many clients without a certificate",
        () = sleep(life) => "a client without a certificate stayed too long",
    }
}

/// Waits until a connection that we opened must end: with our trust in the CA of the other end, or when our own
/// certificate was replaced by one of another CA.
pub(super) async fn of_client(tls: Tls, theirs: Option<KeyId>) -> &'static str {
    let shown = tls.peer().and_then(|peer| peer.issuer.clone());
    let replaced = async {
        // One who showed nothing, or shows nothing any more, has nothing to show anew.
        let Some(shown) = shown else { return std::future::pending().await };
        tls.until(|tls| tls.peer().is_some_and(|peer| peer.issuer.as_ref() != Some(&shown))).await;
    };
    tokio::select! {
        () = distrusted(&tls, theirs.as_ref()) => {
            "the manager's certificate is signed by a CA that is trusted no longer"
        }
        () = replaced => "this node has a certificate of another CA now",
    }
}

/// Waits until the CA with this key, once trusted, is trusted no longer.
async fn distrusted(tls: &Tls, issuer: Option<&KeyId>) {
    let Some(issuer) = issuer else { return std::future::pending().await };
    // Not trusted itself at first: then a CA that is trusted vouches for it, and soon it will be.
    tls.until(|tls| tls.trusts(issuer)).await;
    tls.until(|tls| !tls.trusts(issuer)).await;
}

impl<S: AsyncRead + Unpin> AsyncRead for Ending<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(why) = self.end.as_mut().poll(cx) {
            // Polled once more after the end, it shall not panic.
            self.end = Box::pin(std::future::ready(why));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf).map_err(in_our_words)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ending<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf).map_err(in_our_words)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs).map_err(in_our_words)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(in_our_words)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_connection_ends_when_it_must() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        theirs.write_u8(7).await.unwrap();
        let mut open = Ending::new(ours, std::future::pending());
        assert_eq!(open.read_u8().await.unwrap(), 7);
        let (ours, _silent) = tokio::io::duplex(1);
        let mut open = Ending::new(ours, of_stranger(Duration::from_millis(1), Stop::new()));
        for _ in 0..2 {
            let error = open.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
}
