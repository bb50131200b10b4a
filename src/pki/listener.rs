//! Accepts TLS connections for tonic: one task per handshake, so that a silent client holds up nobody but itself.

use super::{
    peer::Peer,
    refusal::{TlsRefusal, in_our_words},
    stream::{Ending, of_server, of_stranger},
    tls::Tls,
    verify::claimed,
};
use crate::kit::{
    backoff::Backoff,
    task::{self, Running, Stop},
};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    transport::{Server, server::Connected},
};
use tracing::{debug, warn};

/// A handshake takes two round trips; slower ones are given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Refusals told in the log within [`TOLD_WITHIN`]; anybody can make us refuse, and logs are finite.
const TOLD: u32 = 50;
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Handshakes at a time: bounds what strangers can make us keep.
const HANDSHAKES: usize = 256;
/// Connections at a time, of all kinds: each costs a descriptor and buffers.
const CONNECTIONS: usize = 16 * 1024;
/// How long a client without a certificate may stay: enough to join, too short to collect.
const STRANGER: Duration = Duration::from_secs(60);
/// Connections of clients without a certificate at a time.
const STRANGERS: usize = 512;
/// Connections whose handshake is done and that the server has not taken yet.
const READY: usize = 64;
/// Bytes a peer may send ahead on one stream: a few of the largest payloads.
pub(super) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes a peer may send ahead on one connection.
pub(super) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// A silent peer is asked for a sign of life this often …
pub(super) const KEEPALIVE: Duration = Duration::from_secs(10);
/// … and given up when none comes within this time.
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of a connection; every request on it carries a copy in its extensions.
#[derive(Debug, Clone)]
pub struct Conn {
    /// Where it comes from.
    pub addr: SocketAddr,
    /// Who it is, if it showed a certificate; TLS has verified it.
    pub peer: Option<Arc<Peer>>,
}

impl Conn {
    /// Returns the identity at the other end of the connection a request came over.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if it showed no certificate, or did not come through [`listen`].
    pub fn peer<T>(request: &Request<T>) -> Result<&Arc<Peer>, Status> {
        request
            .extensions()
            .get::<Self>()
            .and_then(|conn| conn.peer.as_ref())
            .ok_or_else(|| Status::unauthenticated("a node certificate is required"))
    }
}

/// The stream of accepted connections, for `serve_with_incoming`.
pub type Incoming = ReceiverStream<io::Result<Io>>;

/// Accepts connections until `stop`; the stream then ends.
pub fn listen(tcp: TcpListener, tls: &Tls, stop: Stop) -> (Incoming, Running<()>) {
    let (ready, incoming) = mpsc::channel(READY);
    let acceptor = Acceptor {
        tls: TlsAcceptor::from(tls.server_config()),
        ours: tls.clone(),
        strangers: Arc::new(Semaphore::new(STRANGERS)),
        ready,
        told: Mutex::new((Instant::now(), 0)),
    };
    let running = task::start("accept", accept(tcp, acceptor, stop));
    (ReceiverStream::new(incoming), running)
}

/// A tonic server with the windows and keep-alives that [`connect`](super::connect) expects.
pub fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

async fn accept(tcp: TcpListener, acceptor: Acceptor, stop: Stop) {
    let acceptor = Arc::new(acceptor);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    // Dropped when we stop, which cuts off the handshakes that are under way.
    let mut under_way = JoinSet::new();
    let next = async || {
        let closed = "never closed";
        let slot = Arc::clone(&connections).acquire_owned().await.expect(closed);
        let handshake = Arc::clone(&handshakes).acquire_owned().await.expect(closed);
        tcp.accept().await.map(|(stream, addr)| (stream, addr, slot, handshake))
    };
    loop {
        while under_way.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next() => accepted,
        };
        match accepted {
            Ok((stream, addr, slot, handshake)) => {
                backoff.reset();
                let acceptor = Arc::clone(&acceptor);
                under_way.spawn(async move {
                    acceptor.shake_hands(stream, addr, slot).await;
                    drop(handshake);
                });
            }
            Err(err) => {
                // Out of descriptors, or the client is gone already; accept(2) would fail again at once.
                warn!(error = %err, "cannot accept a connection");
                backoff.wait().await;
            }
        }
    }
}

struct Acceptor {
    tls: TlsAcceptor,
    ours: Tls,
    strangers: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Io>>,
    /// Since when, and how many refusals were told since.
    told: Mutex<(Instant, u32)>,
}

impl Acceptor {
    async fn shake_hands(&self, stream: TcpStream, addr: SocketAddr, slot: OwnedSemaphorePermit) {
        // Without it small answers wait for acknowledgements; where it fails the connection is gone anyway.
        drop(stream.set_nodelay(true));
        let (shaken, who) = claimed(timeout(HANDSHAKE, self.tls.accept(stream))).await;
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(err)) => return self.tell(addr, who, &in_our_words(err)),
            Err(_) => return debug!(%addr, "TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = match certificate.map(|der| Peer::parse(der)).transpose() {
            Ok(peer) => peer.map(Arc::new),
            Err(err) => return warn!(%addr, error = %err, "verified certificate does not parse"),
        };
        let mut slots = vec![slot];
        let stream = match &peer {
            Some(peer) => Ending::new(stream, of_server(self.ours.clone(), Arc::clone(peer))),
            None => {
                let Ok(slot) = Arc::clone(&self.strangers).try_acquire_owned() else {
                    return debug!(%addr, "too many clients without a certificate");
                };
                slots.push(slot);
                Ending::new(stream, of_stranger(STRANGER))
            }
        };
        let io = Io { stream, conn: Conn { addr, peer }, _slots: slots };
        // Fails only if the server is gone, and with it the reason to serve.
        drop(self.ready.send(Ok(io)).await);
    }

    /// Logs why a handshake failed. Only what is about certificates concerns the operator: anybody may knock.
    fn tell(&self, addr: SocketAddr, who: Option<Peer>, error: &io::Error) {
        if TlsRefusal::find(error).is_none() || !self.may_tell() {
            return debug!(%addr, %error, "TLS handshake failed");
        }
        match who {
            Some(Peer { node, role, cluster, .. }) => {
                warn!(%addr, %node, %role, %cluster, %error, "refused a connection by its certificate");
            }
            None => warn!(%addr, %error, "refused a connection"),
        }
    }

    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0.elapsed() > TOLD_WITHIN {
            *told = (Instant::now(), 0);
        }
        told.1 += 1;
        told.1 <= TOLD
    }
}

/// One accepted connection. It ends by itself when the certificate it was opened with does, and the trust in it.
pub struct Io {
    stream: Ending<TlsStream<TcpStream>>,
    conn: Conn,
    _slots: Vec<OwnedSemaphorePermit>,
}

impl Connected for Io {
    type ConnectInfo = Conn;

    fn connect_info(&self) -> Conn {
        self.conn.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
