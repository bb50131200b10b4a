//! Clients that create, label, read and remove secrets all the time, and what became of it.

use crate::{
    checker::{self, Act, Operation, Outcome},
    cluster::Cluster,
    world::{World, until},
};
use secretd::{
    client::{Client, ClientError},
    crypto::plaintext::Plaintext,
    model::{Labels, object::Kind, refusal::RefusalKind},
};
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a client repeats a call; short, so that many calls meet each fault.
const PATIENCE: Duration = Duration::from_secs(2);
/// Steps after which other names are used: few enough that unanswered ones can be thought through.
const NAMES_FOR: u64 = 60;
/// Names in use at the same time.
const NAMES: u64 = 5;

/// A client of one node, through the library: quicker than a command for each step.
pub(crate) struct Hand {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Hand {
    /// Nobody, if the daemon does not listen.
    pub(crate) fn to(socket: &str) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(Client::connect(socket)).ok()?;
        Some(Self { runtime, client })
    }

    pub(crate) fn patient(self, patience: Duration) -> Self {
        let Self { runtime, client } = self;
        Self { runtime, client: client.with_patience(patience) }
    }

    pub(crate) fn run<T, F: Future<Output = T>>(&self, call: impl FnOnce(Client) -> F) -> T {
        self.runtime.block_on(call(self.client.clone()))
    }
}

/// What clients did, on one clock.
pub(crate) struct Load {
    history: Mutex<Vec<Operation>>,
    start: Instant,
    serial: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            history: Mutex::default(),
            start: Instant::now(),
            serial: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }

    /// How many calls had an answer that says what happened.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits for so many more answers.
    pub(crate) fn until_more(&self, count: u64) {
        let before = self.answered();
        until(&format!("{count} more answers"), || {
            (self.answered() >= before + count).then_some(())
        });
    }

    /// Runs `meanwhile` while a client works through each of these sockets.
    pub(crate) fn around<T>(&self, sockets: &[String], meanwhile: impl FnOnce() -> T) -> T {
        /// So that clients end although the test has failed.
        struct Ending<'a>(&'a AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        self.stop.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for socket in sockets {
                scope.spawn(move || self.client(socket));
            }
            let _ending = Ending(&self.stop);
            meanwhile()
        })
    }

    fn client(&self, socket: &str) {
        let mut hand = None;
        while !self.stop.load(Ordering::SeqCst) {
            let Some(there) = hand.take().or_else(|| Hand::to(socket)) else {
                #[expect(clippy::disallowed_methods, reason = "nobody listens; look again soon")]
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let there = there.patient(PATIENCE);
            self.step(&there);
            hand = Some(there);
        }
    }

    fn step(&self, hand: &Hand) {
        let n = self.serial.fetch_add(1, Ordering::SeqCst);
        let object = format!("o{}-{}", n / NAMES_FOR, n % NAMES);
        let name = object.as_str();
        let label = n.to_string();
        let labels = Labels::from([("v".to_owned(), label.clone())]);
        let called = self.now();
        // Steps of a number that shares nothing with that of the names, so that each name sees each kind of step.
        let (act, said) = match n % 7 {
            0 | 1 => {
                let payload = Plaintext::new(b"x".to_vec());
                let made =
                    hand.run(async |c| c.create_object(Kind::Secret, name, labels, payload).await);
                (Act::Create { label }, made.map(drop))
            }
            2 | 3 => {
                let set =
                    hand.run(async |c| c.set_object_labels(Kind::Secret, name, None, labels).await);
                (Act::SetLabel { label }, set.map(drop))
            }
            4 if n.is_multiple_of(2) => {
                let gone = hand.run(async |c| c.remove_object(Kind::Secret, name).await);
                (Act::Remove, gone.map(drop))
            }
            _ => match hand.run(async |c| c.object(Kind::Secret, name).await) {
                Ok(found) => {
                    let saw = Some(found.labels.get("v").unwrap().clone());
                    (Act::Get { saw }, Ok(()))
                }
                // That there is none is an answer.
                Err(ClientError::Refused(no)) if no.kind == RefusalKind::NotFound => {
                    (Act::Get { saw: None }, Ok(()))
                }
                Err(error) => (Act::Get { saw: None }, Err(error)),
            },
        };
        let outcome = match said {
            Ok(()) => Outcome::Done,
            Err(ClientError::Refused(no))
                if matches!(no.kind, RefusalKind::NotFound | RefusalKind::Exists) =>
            {
                Outcome::Refused
            }
            Err(
                ClientError::NotReady { .. }
                | ClientError::Unreachable { .. }
                | ClientError::Failed { .. }
                | ClientError::Refused(_),
            ) => Outcome::Unknown,
            Err(
                error @ (ClientError::Host(_)
                | ClientError::Impostor { .. }
                | ClientError::Denied { .. }),
            ) => panic!("{error}"),
        };
        let operation = Operation { object, act, called, returned: self.now(), outcome };
        self.history.lock().unwrap().push(operation);
        self.answered.fetch_add(u64::from(outcome != Outcome::Unknown), Ordering::SeqCst);
    }

    /// How much was done, for people.
    pub(crate) fn summary(&self) -> String {
        let history = self.history.lock().unwrap();
        let unknown = history.iter().filter(|op| op.outcome == Outcome::Unknown).count();
        format!("{} calls, {unknown} of them without an answer", history.len())
    }

    /// Whether there is an explanation for all of it, and whether what is there now is what was acknowledged.
    pub(crate) fn check(&self, cluster: &Cluster) {
        let history = self.history.lock().unwrap();
        checker::check(&history).unwrap();
        let listed = listed(cluster);
        let (missing, invented) = checker::missing_and_invented(&history, &listed);
        assert!(missing.is_empty() && invented.is_empty(), "{missing:?} {invented:?}");
    }
}

/// The load's names that are there now.
fn listed(cluster: &Cluster) -> BTreeSet<String> {
    let out = cluster.ask(["ls", "--format", "{{.Name}}"]).out;
    out.lines().filter(|name| name.starts_with('o')).map(str::to_owned).collect()
}

/// The sockets of these nodes.
pub(crate) fn sockets<'a>(nodes: impl IntoIterator<Item = &'a World>) -> Vec<String> {
    nodes.into_iter().map(World::socket).collect()
}
