//! What one caller may have us hold of messages that are not done with, in bytes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a message is charged to. The output of tasks waits for its readers, and nothing else shall wait for those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    Calls,
    Logs,
}

/// How much may be held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Funds {
    pub(super) calls: usize,
    pub(super) logs: usize,
}

/// Accounts of one caller, over all its connections, and of all callers of its kind.
pub(super) struct Account {
    own: Purse,
    all: Option<Arc<Purse>>,
}

#[derive(Debug)]
pub(super) struct Purse {
    calls: Arc<Semaphore>,
    logs: Arc<Semaphore>,
}

impl Purse {
    pub(super) fn new(funds: Funds) -> Self {
        let Funds { calls, logs } = funds;
        Self { calls: Arc::new(Semaphore::new(calls)), logs: Arc::new(Semaphore::new(logs)) }
    }

    fn pool(&self, pool: Pool) -> &Arc<Semaphore> {
        match pool {
            Pool::Calls => &self.calls,
            Pool::Logs => &self.logs,
        }
    }
}

impl Account {
    pub(super) fn new(funds: Funds, all: Option<Arc<Purse>>) -> Self {
        Self { own: Purse::new(funds), all }
    }

    /// Charges so many bytes if they are there at once.
    pub(super) fn try_charge(&self, pool: Pool, bytes: u32) -> Option<Charge> {
        let own = Arc::clone(self.own.pool(pool)).try_acquire_many_owned(bytes).ok()?;
        let all = match &self.all {
            Some(all) => Some(Arc::clone(all.pool(pool)).try_acquire_many_owned(bytes).ok()?),
            None => None,
        };
        Some(Charge { own, all })
    }

    /// Waits until so many bytes are there. Whoever has them finishes without more, so nobody waits for each other.
    pub(super) async fn charge(self: Arc<Self>, pool: Pool, bytes: u32) -> Charge {
        let closed = "never closed";
        let own = Arc::clone(self.own.pool(pool)).acquire_many_owned(bytes).await.expect(closed);
        let all = match &self.all {
            Some(all) => {
                Some(Arc::clone(all.pool(pool)).acquire_many_owned(bytes).await.expect(closed))
            }
            None => None,
        };
        Charge { own, all }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("calls", &self.own.calls.available_permits())
            .field("logs", &self.own.logs.available_permits())
            .finish_non_exhaustive()
    }
}

/// Bytes that are charged until it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping it gives back")]
pub(super) struct Charge {
    own: OwnedSemaphorePermit,
    all: Option<OwnedSemaphorePermit>,
}

/// What a call is charged: by its body as messages come, and until its answer is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Option<Charge>>>);

impl Held {
    pub(super) fn set(&self, charge: Option<Charge>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = charge;
    }
}
