//! The gate of the cluster listener: who may call what, and how much of it, before a byte of the message is read.
//!
//! [`judge`] is the table. Strangers reach enrolment and renewal, workers their own services besides, managers each
//! other. A message is charged to its caller's [`Account`] as soon as its length is known, and until it is done with;
//! one that does not come in time ends its call.

use super::{
    account::{Account, Charge, Held, Pool},
    door::network,
    listener::Conn,
    peer::Peer,
};
use crate::{
    kit::{limits::MESSAGE_SIZE, told::Told},
    model::node::Role,
};
use http_body::Frame;
use prost::bytes::Bytes;
use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

/// A description with its labels, a certificate request: more than the largest of either.
const SMALL: usize = 64 * 1024;
/// Ids and numbers.
const TINY: usize = 4 * 1024;
/// The lines of a task: what an agent puts into one message, and the longest line besides.
const LINES: usize = 512 * 1024;
/// How long a caller may take to send its message, …
const PATIENCE: Duration = Duration::from_secs(10);
/// … and how slow it may be with a long one, in bytes a second.
const SLOWEST: u32 = 16 * 1024;

/// What is known of a caller before it says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// It has shown no certificate.
    Stranger,
    Worker,
    Manager,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Stranger, Self::Worker, Self::Manager];

    pub(super) fn of(peer: Option<&Peer>) -> Self {
        match peer.map(|peer| peer.role) {
            None => Self::Stranger,
            Some(Role::Worker) => Self::Worker,
            Some(Role::Manager) => Self::Manager,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stranger => "client without a certificate",
            Self::Worker => "worker",
            Self::Manager => "manager",
        })
    }
}

/// What a call that may be made is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message: usize,
    pool: Pool,
    until: Until,
}

/// How long a message is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until the call is answered.
    Answered,
    /// Until the next is asked for: the call brings many.
    Next,
}

/// Decides whether a caller of this class may call this path. What nobody named here is nobody's to call but managers'.
pub fn judge(class: Class, path: &str) -> Option<Limits> {
    use Class::{Manager, Stranger, Worker};
    let of = |message| Some(Limits { message, pool: Pool::Calls, until: Until::Answered });
    let many = |message, pool| Some(Limits { message, pool, until: Until::Next });
    let (service, method) = path.strip_prefix("/secretd.v1.")?.split_once('/')?;
    match (class, service, method) {
        (Stranger, "Ca", "Issue") => of(SMALL),
        (Stranger | Worker | Manager, "Ca", "Renew") => of(SMALL),
        (Stranger, ..) => None,

        (Worker | Manager, "Ca", "Admit" | "Depart") => of(SMALL),
        (Manager, "Ca", "Move" | "Root") => of(SMALL),
        (Worker | Manager, "Dispatcher", "Session") => of(SMALL),
        (Worker | Manager, "Dispatcher", "Heartbeat" | "Assignments") => of(TINY),
        (Worker | Manager, "Dispatcher", "UpdateTaskStatus") => of(MESSAGE_SIZE),
        (Worker | Manager, "Dispatcher", "PublishLogs") => many(LINES, Pool::Logs),
        (Worker, ..) | (Manager, "Ca" | "Dispatcher", _) => None,

        (Manager, "Raft", "InstallSnapshot") => many(MESSAGE_SIZE, Pool::Calls),
        (Manager, "Raft" | "Peer", _) => of(MESSAGE_SIZE),
        (Manager, ..) => None,
    }
}

/// Lets calls through on connections of one class.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    class: Class,
    told: Arc<Told>,
}

impl Gate {
    pub(super) fn new(class: Class, told: Arc<Told>) -> Self {
        Self { class, told }
    }

    fn check(&self, path: &str, conn: Option<&Conn>) -> Result<(Limits, Guest), Status> {
        let conn = conn.ok_or_else(|| Status::internal("a call from nowhere"))?;
        let guest = Guest { conn: conn.clone(), told: Arc::clone(&self.told) };
        if let Some(limits) = judge(self.class, path) {
            return Ok((limits, guest));
        }
        // The path is theirs to choose.
        let path: String = path.chars().take(100).collect();
        guest.tell(&format!("it may not call {path:?}"));
        Err(match self.class {
            Class::Stranger => Status::unauthenticated("a node certificate is required"),
            class @ (Class::Worker | Class::Manager) => {
                Status::permission_denied(format!("a {class} may not call this"))
            }
        })
    }
}

/// Who calls, and where that may be told.
struct Guest {
    conn: Conn,
    told: Arc<Told>,
}

impl Guest {
    /// Logs why a call was refused.
    fn tell(&self, why: &str) {
        let Conn { addr, peer, .. } = &self.conn;
        match peer {
            Some(peer) => {
                if let Some(left_out) = self.told.may(peer.node) {
                    let (node, role) = (&peer.node, peer.role);
                    tracing::warn!(%node, %role, %addr, why, left_out, "refused a call");
                }
            }
            None => {
                if let Some(left_out) = self.told.may(network(addr.ip())) {
                    tracing::warn!(%addr, why, left_out, "refused a call without a certificate");
                }
            }
        }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let checked = self.gate.check(request.uri().path(), request.extensions().get());
        let (limits, guest) = match checked {
            Ok(checked) => checked,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let held = Held::default();
        let charged = held.clone();
        let request = request.map(|body| {
            let account = Arc::clone(&guest.conn.account);
            let tell = move |why: &str| guest.tell(why);
            Body::new(Metered::new(body, limits, account, charged, PATIENCE, tell))
        });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(held);
            answer
        })
    }
}

/// Where in the messages of a call its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So many bytes of the five before a message have come, and what they say of its length.
    Header { have: u8, len: u32 },
    /// So many bytes of the message are missing.
    Message { left: u32 },
}

/// Follows gRPC's frames: a flag and a length of four bytes before each message.
#[derive(Debug)]
pub(super) struct Framing(At);

/// What [`Framing::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes up to the end of the message, or all.
    pub(super) bytes: usize,
    /// How long the message is, if its length came with these bytes.
    pub(super) begun: Option<u32>,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self(At::Header { have: 0, len: 0 })
    }

    fn is_between(&self) -> bool {
        matches!(self.0, At::Header { have: 0, .. })
    }

    pub(super) fn advance(&mut self, data: &[u8]) -> Found {
        let (mut bytes, mut begun) = (0, None);
        if let At::Header { mut have, mut len } = self.0 {
            for byte in data.iter().take(usize::from(5 - have)) {
                if have > 0 {
                    len = len << 8 | u32::from(*byte);
                }
                have += 1;
                bytes += 1;
            }
            if have < 5 {
                self.0 = At::Header { have, len };
                return Found { bytes, begun };
            }
            begun = Some(len);
            self.0 = At::Message { left: len };
        }
        if let At::Message { left } = &mut self.0 {
            let here = u32::try_from(data.len() - bytes).unwrap_or(u32::MAX).min(*left);
            *left -= here;
            bytes += usize::try_from(here).expect("no longer than the data");
            if *left == 0 {
                self.0 = At::Header { have: 0, len: 0 };
            }
        }
        Found { bytes, begun }
    }
}

/// A request's body that is charged, bounded and has a deadline.
struct Metered<T> {
    body: Body,
    limits: Limits,
    account: Arc<Account>,
    held: Held,
    tell: T,
    patience: Duration,
    framing: Framing,
    /// Came, and is not looked at yet.
    rest: Bytes,
    /// Was looked at, and goes on once it is paid for.
    ready: Bytes,
    charging: Option<Pin<Box<dyn Future<Output = Charge> + Send>>>,
    /// Until when what is awaited must have come.
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T: Fn(&str)> Metered<T> {
    fn new(
        body: Body,
        limits: Limits,
        account: Arc<Account>,
        held: Held,
        patience: Duration,
        tell: T,
    ) -> Self {
        let due = match limits.until {
            Until::Answered => Some(Instant::now() + patience),
            Until::Next => None,
        };
        Self {
            body,
            limits,
            account,
            held,
            tell,
            patience,
            framing: Framing::new(),
            rest: Bytes::new(),
            ready: Bytes::new(),
            charging: None,
            due,
            timer: None,
        }
    }

    /// Looks at what came, up to the end of a message.
    fn look(&mut self) -> Result<(), Status> {
        let Found { bytes, begun } = self.framing.advance(&self.rest);
        self.ready = self.rest.split_to(bytes);
        if let Some(len) = begun {
            if usize::try_from(len).is_ok_and(|len| len > self.limits.message) {
                let why = format!("a message of {len} bytes; {} are allowed", self.limits.message);
                (self.tell)(&why);
                return Err(Status::new(Code::OutOfRange, why));
            }
            // The one before was taken, or this one would not have been asked for.
            self.held.set(None);
            match self.account.try_charge(self.limits.pool, len) {
                Some(charge) => self.held.set(Some(charge)),
                None => {
                    let account = Arc::clone(&self.account);
                    self.charging = Some(Box::pin(account.charge(self.limits.pool, len)));
                }
            }
            self.expect_within(self.patience + Duration::from_secs(u64::from(len / SLOWEST)));
        }
        if self.framing.is_between() && self.limits.until == Until::Next {
            self.due = None;
        }
        Ok(())
    }

    fn expect_within(&mut self, time: Duration) {
        self.due = Some(Instant::now() + time);
        self.timer = None;
    }

    /// Waits for the deadline.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(due) = self.due else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        timer.as_mut().poll(cx).map(|()| {
            (self.tell)("its message did not come in time");
            Status::deadline_exceeded("the message did not come in time")
        })
    }
}

impl<T: Fn(&str) + Unpin> http_body::Body for Metered<T> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(charging) = &mut this.charging {
                let Poll::Ready(charge) = charging.as_mut().poll(cx) else { return Poll::Pending };
                this.charging = None;
                this.held.set(Some(charge));
            }
            if !this.ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.ready)))));
            }
            if !this.rest.is_empty() {
                if let Err(status) = this.look() {
                    return Poll::Ready(Some(Err(status)));
                }
                continue;
            }
            // Asked for more: what came whole was taken.
            if this.framing.is_between() && this.limits.until == Until::Next {
                this.held.set(None);
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(other) => return Poll::Ready(other),
                Poll::Pending => return this.poll_due(cx).map(|status| Some(Err(status))),
            }
        }
    }
}

/// Paths and frames of anybody.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let path = String::from_utf8_lossy(bytes);
    for class in Class::ALL {
        let limits = [judge(class, &path), judge(class, &format!("/secretd.v1.{path}"))];
        assert!(limits.iter().flatten().all(|limits| limits.message <= MESSAGE_SIZE));
    }
    let (mut whole, mut pieces) = (Framing::new(), Framing::new());
    let mut left = bytes;
    while !left.is_empty() {
        let found = whole.advance(left);
        assert!(found.bytes > 0, "it goes on");
        let (message, rest) = left.split_at(found.bytes);
        let begun = message.iter().filter_map(|byte| pieces.advance(&[*byte]).begun);
        assert_eq!(begun.last(), found.begun, "however the bytes are cut");
        left = rest;
    }
    assert_eq!(whole.0, pieces.0);
}

#[cfg(test)]
mod tests {
    use super::{super::account::Funds, *};
    use futures::StreamExt as _;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The methods of `proto/`, as paths.
    fn paths() -> Vec<String> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let files = std::fs::read_dir(format!("{root}/secretd/v1")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let compiled = protox::compile(files, [root]).unwrap();
        let services = compiled.file.iter().flat_map(|file| &file.service);
        let paths = services.flat_map(|service| {
            let path = |method| format!("/secretd.v1.{}/{method}", service.name());
            service.method.iter().map(move |method| path(method.name()))
        });
        paths.collect()
    }

    #[test]
    fn each_class_reaches_its_own_services_and_no_other() {
        let paths = paths();
        let reach = |class| -> BTreeSet<&str> {
            let let_in = paths.iter().filter(|path| judge(class, path).is_some());
            let_in.map(|path| path.strip_prefix("/secretd.v1.").unwrap()).collect()
        };
        assert_eq!(reach(Class::Stranger), BTreeSet::from(["Ca/Issue", "Ca/Renew"]));
        let worker = BTreeSet::from([
            "Ca/Renew",
            "Ca/Admit",
            "Ca/Depart",
            "Dispatcher/Session",
            "Dispatcher/Heartbeat",
            "Dispatcher/Assignments",
            "Dispatcher/UpdateTaskStatus",
            "Dispatcher/PublishLogs",
        ]);
        assert_eq!(reach(Class::Worker), worker);
        let manager = reach(Class::Manager);
        let only: BTreeSet<_> = manager.difference(&worker).copied().collect();
        let between_managers = paths.iter().filter_map(|path| {
            let path = path.strip_prefix("/secretd.v1.").unwrap();
            let between = path.starts_with("Raft/")
                || path.starts_with("Peer/")
                || ["Ca/Move", "Ca/Root"].contains(&path);
            between.then_some(path)
        });
        assert_eq!(only, between_managers.collect());
        assert!(manager.is_superset(&worker));
    }

    #[test]
    fn a_stranger_sends_little_and_nobody_more_than_a_message() {
        for class in Class::ALL {
            for limits in paths().iter().filter_map(|path| judge(class, path)) {
                assert!(limits.message <= MESSAGE_SIZE);
                assert!(class != Class::Stranger || limits.message <= SMALL);
            }
        }
        for path in ["", "/", "/secretd.v1.Raft", "secretd.v1.Raft/Propose", "/x.Raft/Propose"] {
            assert_eq!(judge(Class::Manager, path), None, "{path}");
        }
    }

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(*message);
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            lens in prop::collection::vec(0..40_usize, 0..8),
            cuts in prop::collection::vec(1..20_usize, 1..40),
        ) {
            let messages: Vec<_> = lens.iter().map(|len| vec![0xff; *len]).collect();
            let bytes = framed(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let (mut framing, mut begun, mut left) = (Framing::new(), Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, rest) = left.split_at((*cut).min(left.len()));
                let found = framing.advance(piece);
                prop_assert!(found.bytes > 0 && found.bytes <= piece.len());
                begun.extend(found.begun);
                left = &left[found.bytes..];
                prop_assert!(found.bytes == piece.len() || framing.is_between());
                let _unused = rest;
            }
            let lens: Vec<_> = lens.into_iter().map(|len| u32::try_from(len).unwrap()).collect();
            prop_assert_eq!(begun, lens);
            prop_assert!(framing.is_between());
        }
    }

    /// A body of these pieces, which then stays open.
    fn metered(
        pieces: Vec<Vec<u8>>,
        until: Until,
        account: &Arc<Account>,
        held: &Held,
    ) -> Pin<Box<Metered<impl Fn(&str) + Unpin + use<>>>> {
        let pieces = pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece.into())));
        let stream = futures::stream::iter(pieces).chain(futures::stream::pending());
        let body = Body::new(http_body_util::StreamBody::new(stream));
        let limits = Limits { message: 100, pool: Pool::Calls, until };
        let (account, patience) = (Arc::clone(account), Duration::from_millis(20));
        Box::pin(Metered::new(body, limits, account, held.clone(), patience, |_: &str| {}))
    }

    async fn next<T: Fn(&str) + Unpin>(
        body: &mut Pin<Box<Metered<T>>>,
    ) -> Option<Result<Bytes, Status>> {
        let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx));
        frame.await.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }

    #[tokio::test]
    async fn a_message_waits_until_its_caller_has_room_for_it_and_then_comes_whole() {
        let account = Arc::new(Account::new(Funds { calls: 100, logs: 0 }, None));
        let (one, other) = (Held::default(), Held::default());
        let message = framed(&[&[7; 60]]);
        let mut first = metered(vec![message.clone()], Until::Answered, &account, &one);
        let mut second = metered(vec![message.clone()], Until::Answered, &account, &other);
        assert_eq!(next(&mut first).await.unwrap().unwrap(), message);
        assert!(futures::poll!(Box::pin(next(&mut second))).is_pending());
        // Its call is answered.
        drop((first, one));
        assert_eq!(next(&mut second).await.unwrap().unwrap(), message);
    }

    #[tokio::test]
    async fn a_stream_pays_for_one_message_at_a_time_and_for_none_between_them() {
        let account = Arc::new(Account::new(Funds { calls: 100, logs: 0 }, None));
        let held = Held::default();
        let (first, second) = (framed(&[&[1; 70]]), framed(&[&[2; 80]]));
        let together = [first.clone(), second.clone()].concat();
        let mut body = metered(vec![together], Until::Next, &account, &held);
        assert_eq!(next(&mut body).await.unwrap().unwrap(), first);
        assert!(account.try_charge(Pool::Calls, 31).is_none());
        assert_eq!(next(&mut body).await.unwrap().unwrap(), second);
        assert!(futures::poll!(Box::pin(next(&mut body))).is_pending());
        assert!(account.try_charge(Pool::Calls, 100).is_some());
    }

    #[tokio::test]
    async fn what_is_too_long_or_does_not_come_ends_the_call() {
        let account = Arc::new(Account::new(Funds { calls: 100, logs: 0 }, None));
        let long = framed(&[&[1; 101]])[..6].to_vec();
        let mut body = metered(vec![long], Until::Answered, &account, &Held::default());
        assert_eq!(next(&mut body).await.unwrap().unwrap_err().code(), Code::OutOfRange);
        for (pieces, until) in [
            (vec![], Until::Answered),
            (vec![framed(&[&[1; 9]])[..9].to_vec()], Until::Answered),
            (vec![framed(&[&[1; 9]])], Until::Answered),
            (vec![framed(&[&[1; 9]])[..9].to_vec()], Until::Next),
        ] {
            let mut body = metered(pieces, until, &account, &Held::default());
            let status = loop {
                if let Err(status) = next(&mut body).await.unwrap() {
                    break status;
                }
            };
            assert_eq!(status.code(), Code::DeadlineExceeded);
        }
        // Between messages a stream may take its time.
        let mut body = metered(vec![framed(&[&[1; 9]])], Until::Next, &account, &Held::default());
        next(&mut body).await.unwrap().unwrap();
        let more = tokio::time::timeout(Duration::from_millis(100), next(&mut body));
        more.await.unwrap_err();
    }
}
