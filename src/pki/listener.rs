//! Accepts TLS connections for tonic: one task per handshake, so that a silent client holds up nobody but itself.
//!
//! Everybody is let in, and somebody gives way where a share is used up: among those who wait for their handshake, apart
//! for the addresses of members and for all others; among those without a certificate; among the connections of one
//! node. So whoever comes anew finds room, whatever the others do.
//!
//! Once it is known who calls, a connection goes to the server of its [`Class`], with windows and services of its own.

use super::{
    account::{Account, Funds, Purse},
    door::{Door, Shares, Ticket, network},
    gate::{Class, Gate},
    peer::Peer,
    refusal::{TlsRefusal, in_our_words},
    stream::{Ending, of_server, of_stranger},
    tls::Tls,
    verify::claimed,
};
use crate::kit::{
    backoff::Backoff,
    id::NodeId,
    os,
    task::{self, Running, Stop},
    told::Told,
};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    service::Routes,
    transport::{Server, server::Connected},
};
use tracing::{debug, warn};

/// A client begins its handshake at once, …
const HELLO: Duration = Duration::from_secs(3);
/// … and needs two round trips for it; slower ones are given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time from addresses of members, and as many from all others: more than a large cluster's nodes begin at
/// once when its managers come up. From one network: a rack behind one address.
const HANDSHAKES: Shares = Shares { all: 1024, each: 256 };
/// Clients without a certificate at a time. They have one call to make.
const STRANGERS: Shares = Shares { all: 256, each: 64 };
/// How long a client without a certificate may stay: enough to join, too short to collect.
const STRANGER: Duration = Duration::from_secs(30);
/// Connections of members at a time: each costs a descriptor and buffers.
const MEMBERS: usize = 16 * 1024;
/// Connections of one worker at a time. Its agent has one, a renewal another; what is left over from before a restart is
/// there for as long as keep-alives take.
const OF_WORKER: usize = 8;
/// Connections of one manager at a time: one for Raft, one for its agent, and one for each operator who reads logs there.
const OF_MANAGER: usize = 128;
/// Connections whose handshake is done and that the server has not taken yet.
const READY: usize = 64;
/// Bytes that a manager may send ahead on one stream: a few of the largest payloads.
pub(super) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes that a manager may send ahead on one connection.
pub(super) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// A silent peer is asked for a sign of life this often …
pub(super) const KEEPALIVE: Duration = Duration::from_secs(10);
/// … and given up when none comes within this time.
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of a call, in bytes; ours take a few hundred.
const HEADERS: u32 = 8 * 1024;

/// What HTTP/2 lets a client keep with us.
#[derive(Debug, Clone, Copy)]
struct Windows {
    stream: u32,
    connection: u32,
    streams: u32,
}

impl Windows {
    /// What all streams may send ahead fits into their connection's window, except for managers: otherwise calls that wait
    /// would hold up those that need not.
    const fn of(class: Class) -> Self {
        match class {
            // One small message, and the frames around it. The protocol knows no smaller window of a connection.
            Class::Stranger => Self { stream: 16 * 1024, connection: 65_535, streams: 4 },
            Class::Worker => Self { stream: 32 * 1024, connection: 32 * 1024 * 128, streams: 128 },
            Class::Manager => {
                Self { stream: STREAM_WINDOW, connection: CONNECTION_WINDOW, streams: 200 }
            }
        }
    }
}

/// What messages that are not done with may take, over all connections of one caller.
const fn funds(class: Class) -> Funds {
    match class {
        Class::Stranger => Funds { calls: 128 * 1024, logs: 0 },
        // Two of the longest reports, and lines for readers of many tasks.
        Class::Worker => Funds { calls: 8 << 20, logs: 8 << 20 },
        Class::Manager => Funds { calls: 64 << 20, logs: 8 << 20 },
    }
}

/// The same for all workers together.
const WORKERS: Funds = Funds { calls: 128 << 20, logs: 64 << 20 };

/// What is known of a connection; every request on it carries a copy in its extensions.
#[derive(Debug, Clone)]
pub struct Conn {
    /// Where it comes from.
    pub addr: SocketAddr,
    /// Who it is, if it showed a certificate; TLS has verified it.
    pub peer: Option<Arc<Peer>>,
    /// Pays for what it sends.
    pub(super) account: Arc<Account>,
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

/// The addresses that members come from, as far as we know; their handshakes do not wait among those of others. Clones
/// share them.
#[derive(Debug, Clone, Default)]
pub struct KnownAddrs(Arc<ArcSwap<HashSet<IpAddr>>>);

impl KnownAddrs {
    pub fn set(&self, addrs: impl IntoIterator<Item = IpAddr>) {
        self.0.store(Arc::new(addrs.into_iter().map(|addr| addr.to_canonical()).collect()));
    }

    fn has(&self, addr: IpAddr) -> bool {
        self.0.load().contains(&addr.to_canonical())
    }
}

/// The accepted connections, for [`serve`].
#[derive(Debug)]
pub struct Incoming {
    by_class: [ReceiverStream<io::Result<Io>>; 3],
    told: Arc<Told>,
}

/// Accepts connections until `stop`; the streams then end.
pub fn listen(
    tcp: TcpListener,
    tls: &Tls,
    known: KnownAddrs,
    stop: Stop,
) -> (Incoming, Running<()>) {
    let (ready, by_class): (Vec<_>, Vec<_>) =
        Class::ALL.iter().map(|_| mpsc::channel(READY)).unzip();
    let told = Arc::new(Told::new());
    // Half of what the kernel lets us open is for members; the store and what runs here need some, too.
    let descriptors = os::descriptors();
    let handshakes = HANDSHAKES.within(descriptors / 8);
    let acceptor = Acceptor {
        tls: tls.server_config(),
        ours: tls.clone(),
        known,
        of_members: Waiting::new(handshakes),
        of_others: Waiting::new(handshakes),
        strangers: Waiting::new(STRANGERS.within(descriptors / 16)),
        members: Arc::new(Members::new(MEMBERS.min(descriptors / 2))),
        ready,
        told: Arc::clone(&told),
    };
    let running = task::start("accept", accept(tcp, acceptor, stop));
    let by_class = by_class.into_iter().map(ReceiverStream::new).collect::<Vec<_>>();
    let by_class = by_class.try_into().expect("one for each class");
    (Incoming { by_class, told }, running)
}

/// Serves connections until there are no more: each class by a server of its own, with these routes, behind the gate.
///
/// # Errors
/// As tonic's server; none is known.
pub async fn serve(
    incoming: Incoming,
    routes: impl Fn(Class) -> Routes,
) -> Result<(), tonic::transport::Error> {
    let Incoming { by_class, told } = incoming;
    let servers = Class::ALL.into_iter().zip(by_class).map(|(class, incoming)| {
        let Windows { stream, connection, streams } = Windows::of(class);
        Server::builder()
            .initial_stream_window_size(stream)
            .initial_connection_window_size(connection)
            .max_concurrent_streams(streams)
            .http2_max_header_list_size(HEADERS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(Gate::new(class, Arc::clone(&told)))
            .add_routes(routes(class))
            .serve_with_incoming(incoming)
    });
    futures::future::try_join_all(servers).await.map(drop)
}

async fn accept(tcp: TcpListener, acceptor: Acceptor, stop: Stop) {
    let acceptor = Arc::new(acceptor);
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    // Dropped when we stop, which cuts off the handshakes that are under way.
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = tcp.accept() => accepted,
        };
        match accepted {
            Ok((stream, addr)) => {
                backoff.reset();
                let acceptor = Arc::clone(&acceptor);
                let place = acceptor.handshakes(addr).enter(addr.ip());
                under_way.spawn(async move { acceptor.shake_hands(stream, addr, place).await });
            }
            Err(err) => {
                // Out of descriptors, or the client is gone already; accept(2) would fail again at once.
                warn!(error = %err, "cannot accept a connection");
                backoff.wait().await;
            }
        }
    }
}

impl Shares {
    fn within(self, most: usize) -> Self {
        let all = self.all.min(most.max(2));
        Self { all, each: self.each.min(all.div_ceil(2)) }
    }
}

/// A door, and how to tell those that have to leave.
#[derive(Debug)]
struct Waiting(Mutex<(Door, HashMap<Ticket, Stop>)>);

/// A place at a door, until it is dropped.
#[derive(Debug)]
struct Place {
    waiting: Arc<Waiting>,
    addr: IpAddr,
    ticket: Ticket,
    /// Cancelled when it has to give way.
    gives_way: Stop,
}

impl Waiting {
    fn new(shares: Shares) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Door::new(shares), HashMap::new()))))
    }

    fn lock(&self) -> MutexGuard<'_, (Door, HashMap<Ticket, Stop>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, addr: IpAddr) -> Place {
        let gives_way = Stop::new();
        let mut inner = self.lock();
        let (door, stops) = &mut *inner;
        let (ticket, leaves) = door.enter(addr);
        stops.insert(ticket, gives_way.clone());
        if let Some(stop) = leaves.and_then(|leaves| stops.remove(&leaves)) {
            stop.cancel();
        }
        drop(inner);
        Place { waiting: Arc::clone(self), addr, ticket, gives_way }
    }
}

impl Place {
    fn spoke(&self) {
        self.waiting.lock().0.spoke(self.addr, self.ticket);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.waiting.lock();
        inner.0.leave(self.addr, self.ticket);
        inner.1.remove(&self.ticket);
    }
}

/// The open connections of members.
#[derive(Debug)]
struct Members {
    most: usize,
    workers: Arc<Purse>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    count: usize,
    of: BTreeMap<NodeId, Member>,
}

#[derive(Debug)]
struct Member {
    account: Arc<Account>,
    connections: BTreeMap<u64, Stop>,
}

/// A member's connection, until it is dropped.
#[derive(Debug)]
struct Seat {
    members: Arc<Members>,
    node: NodeId,
    id: u64,
    /// Cancelled when it has to give way.
    gives_way: Stop,
}

/// What a connection of a member was given.
struct Seated {
    seat: Seat,
    account: Arc<Account>,
    /// An older one of the same node had to give way.
    instead: bool,
}

impl Members {
    fn new(most: usize) -> Self {
        Self { most, workers: Arc::new(Purse::new(WORKERS)), open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more connection of a node; nothing if there is no room for any node.
    fn enter(self: &Arc<Self>, node: NodeId, class: Class) -> Option<Seated> {
        let (most, all) = match class {
            Class::Manager => (OF_MANAGER, None),
            Class::Worker | Class::Stranger => (OF_WORKER, Some(&self.workers)),
        };
        let gives_way = Stop::new();
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        let full = open.count >= self.most;
        let here = open.of.get_mut(&node).map(|member| &mut member.connections);
        // The oldest: what a broken network left behind is older than what is in use.
        let oldest = here.filter(|here| full || here.len() >= most).and_then(BTreeMap::pop_first);
        let instead = oldest.is_some();
        match oldest {
            Some((_, stop)) => stop.cancel(),
            None if full => return None,
            None => open.count += 1,
        }
        let account = || Account::new(funds(class), all.cloned());
        let member = open.of.entry(node).or_insert_with(|| Member {
            account: Arc::new(account()),
            connections: BTreeMap::new(),
        });
        member.connections.insert(id, gives_way.clone());
        let account = Arc::clone(&member.account);
        drop(open);
        let seat = Seat { members: Arc::clone(self), node, id, gives_way };
        Some(Seated { seat, account, instead })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.members.lock();
        let Some(member) = open.of.get_mut(&self.node) else { return };
        let was_there = member.connections.remove(&self.id).is_some();
        if member.connections.is_empty() {
            open.of.remove(&self.node);
        }
        if was_there {
            open.count -= 1;
        }
    }
}

struct Acceptor {
    tls: Arc<ServerConfig>,
    ours: Tls,
    known: KnownAddrs,
    of_members: Arc<Waiting>,
    of_others: Arc<Waiting>,
    strangers: Arc<Waiting>,
    members: Arc<Members>,
    /// By class.
    ready: Vec<mpsc::Sender<io::Result<Io>>>,
    told: Arc<Told>,
}

impl Acceptor {
    /// Where a connection from this address waits for its handshake.
    fn handshakes(&self, addr: SocketAddr) -> &Arc<Waiting> {
        if self.known.has(addr.ip()) { &self.of_members } else { &self.of_others }
    }

    async fn shake_hands(&self, stream: TcpStream, addr: SocketAddr, place: Place) {
        // Without it small answers wait for acknowledgements; where it fails the connection is gone anyway.
        drop(stream.set_nodelay(true));
        let (shaken, who) = claimed(async {
            tokio::select! {
                biased;
                () = place.gives_way.cancelled() => Err(Unshaken::GaveWay),
                shaken = self.shake(stream, &place) => shaken,
            }
        })
        .await;
        let stream = match shaken {
            Ok(stream) => stream,
            Err(Unshaken::Failed(err)) => return self.tell(addr, who, &in_our_words(err)),
            Err(Unshaken::Late) => return self.tell_late(addr, "its TLS handshake took too long"),
            Err(Unshaken::GaveWay) => {
                return self.tell_late(addr, "it held up the handshakes of others");
            }
        };
        drop(place);
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = match certificate.map(|der| Peer::parse(der)).transpose() {
            Ok(peer) => peer.map(Arc::new),
            Err(err) => return warn!(%addr, error = %err, "verified certificate does not parse"),
        };
        let class = Class::of(peer.as_deref());
        let io = match peer {
            Some(peer) => self.member(stream, addr, peer, class),
            None => Some(self.stranger(stream, addr)),
        };
        let ready =
            Class::ALL.iter().position(|one| *one == class).and_then(|at| self.ready.get(at));
        if let (Some(io), Some(ready)) = (io, ready) {
            // Fails only if the server is gone, and with it the reason to serve.
            drop(ready.send(Ok(io)).await);
        }
    }

    async fn shake(
        &self,
        stream: TcpStream,
        place: &Place,
    ) -> Result<TlsStream<TcpStream>, Unshaken> {
        let begun = Instant::now();
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let hello = timeout_at(begun + HELLO, hello).await??;
        place.spoke();
        let done = hello.into_stream(Arc::clone(&self.tls));
        Ok(timeout_at(begun + HANDSHAKE, done).await??)
    }

    fn stranger(&self, stream: TlsStream<TcpStream>, addr: SocketAddr) -> Io {
        let place = self.strangers.enter(addr.ip());
        let account = Arc::new(Account::new(funds(Class::Stranger), None));
        let end = of_stranger(STRANGER, place.gives_way.clone());
        let conn = Conn { addr, peer: None, account };
        Io { stream: Ending::new(stream, end), conn, _held: Kept::Place(place) }
    }

    fn member(
        &self,
        stream: TlsStream<TcpStream>,
        addr: SocketAddr,
        peer: Arc<Peer>,
        class: Class,
    ) -> Option<Io> {
        let (node, role) = (peer.node, peer.role);
        let Some(Seated { seat, account, instead }) = self.members.enter(node, class) else {
            if let Some(left_out) = self.told.may(node) {
                warn!(%addr, %node, left_out, "refused a connection: there are too many of all nodes");
            }
            return None;
        };
        if instead && let Some(left_out) = self.told.may(node) {
            warn!(%addr, %node, %role, left_out, "ended the oldest of too many connections of a node");
        }
        let end = of_server(self.ours.clone(), Arc::clone(&peer), seat.gives_way.clone());
        let conn = Conn { addr, peer: Some(peer), account };
        Some(Io { stream: Ending::new(stream, end), conn, _held: Kept::Seat(seat) })
    }

    /// Logs why a handshake failed. Only what is about certificates concerns the operator: anybody may knock.
    fn tell(&self, addr: SocketAddr, who: Option<Peer>, error: &io::Error) {
        if TlsRefusal::find(error).is_none() {
            return debug!(%addr, %error, "TLS handshake failed");
        }
        let Some(left_out) = self.told.may(network(addr.ip())) else { return };
        match who {
            Some(Peer { node, role, cluster, .. }) => {
                warn!(%addr, %node, %role, %cluster, %error, left_out, "refused a connection by its certificate");
            }
            None => warn!(%addr, %error, left_out, "refused a connection"),
        }
    }

    /// Logs that somebody kept a handshake open.
    fn tell_late(&self, addr: SocketAddr, why: &str) {
        if let Some(left_out) = self.told.may(network(addr.ip())) {
            warn!(%addr, why, left_out, "gave up a connection without a handshake");
        }
    }
}

/// Why there is no connection.
enum Unshaken {
    Failed(io::Error),
    Late,
    GaveWay,
}

impl From<io::Error> for Unshaken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<tokio::time::error::Elapsed> for Unshaken {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Late
    }
}

/// What a connection takes up.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping it gives back")]
enum Kept {
    Place(Place),
    Seat(Seat),
}

/// One accepted connection. It ends by itself when the certificate it was opened with does, and the trust in it.
pub struct Io {
    stream: Ending<TlsStream<TcpStream>>,
    conn: Conn,
    _held: Kept,
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").field("conn", &self.conn).finish_non_exhaustive()
    }
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
