//! Runs the orchestrator and the scheduler on the manager that leads: hears what changed, decides, proposes.

use super::{
    orchestrator::{self, Draft, Plan},
    scheduler,
};
use crate::{
    kit::{
        backoff::Backoff,
        clock::{Clock, Timestamp},
        id::{ServiceId, TaskId},
        task::{self, Stop},
    },
    model::command::{Answer, Command},
    raft::{Changes, Leadership, ProposeError, Raft},
    store::{Change, Entity, Key, State},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError, error::TryRecvError},
        watch,
    },
    time::Instant,
};
use tracing::{debug, warn};

/// A pass that took longer than this is followed by a rest as long as itself, so that chores leave half of a processor.
const QUICK: Duration = Duration::from_millis(10);
/// No sleep is longer, so that a wall clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What the chores need of the log. [`Raft`] is one.
#[async_trait::async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The state as this manager has it.
    fn state(&self) -> Arc<State>;
    /// Every change from now on.
    fn changes(&self) -> broadcast::Receiver<Arc<Changes>>;
    fn leadership(&self) -> watch::Receiver<Leadership>;
    /// Carries out a command; the state has its changes when this returns.
    async fn propose(&self, command: Command) -> Result<Answer, ProposeError>;
    /// Keeps those who carry out commands in step with the rows, until it is told to stop.
    async fn keep_group(&self, stop: Stop) {
        stop.cancelled().await;
    }
}

#[async_trait::async_trait]
impl Ledger for Raft {
    fn state(&self) -> Arc<State> {
        Self::state(self)
    }

    fn changes(&self) -> broadcast::Receiver<Arc<Changes>> {
        Self::changes(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Self::leadership(self)
    }

    async fn propose(&self, command: Command) -> Result<Answer, ProposeError> {
        // Unnamed: what was lost is decided anew.
        Self::propose(self, None, command).await
    }

    async fn keep_group(&self, stop: Stop) {
        super::group::run(self.clone(), stop).await;
    }
}

/// The leader's chores.
#[derive(Debug)]
pub struct Chores<L> {
    ledger: Arc<L>,
    clock: Clock,
    /// When to look at a service again although nothing happened to it.
    wakes: BTreeMap<ServiceId, Timestamp>,
    /// The same for nodes that are down.
    nodes_wake: Option<Timestamp>,
}

/// What has to be looked at.
#[derive(Debug, Default)]
struct Todo {
    everything: bool,
    services: BTreeSet<ServiceId>,
}

impl<L: Ledger> Chores<L> {
    pub fn new(ledger: L, clock: Clock) -> Self {
        Self { ledger: Arc::new(ledger), clock, wakes: BTreeMap::new(), nodes_wake: None }
    }

    /// Does the chores whenever this manager leads, until it is told to stop or the store has stopped.
    pub async fn run(mut self, stop: Stop) {
        let (ledger, ends) = (self.ledger.clone(), stop.clone());
        // Beside the others: it may wait for a manager that does not answer. Cut off when this returns.
        let _group = task::start("group", async move { ledger.keep_group(ends).await });
        let mut leadership = self.ledger.leadership();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                leads = leadership.wait_for(Leadership::is_leading) => {
                    if leads.is_err() {
                        return;
                    }
                }
            }
            debug!("chores begin");
            tokio::select! {
                () = stop.cancelled() => return,
                // Whoever does not lead must not propose; what is on its way then is refused or done.
                ended = leadership.wait_for(|now| !now.is_leading()) => {
                    if ended.is_err() {
                        return;
                    }
                }
                () = self.lead() => return,
            }
            debug!("chores end: this manager does not lead any more");
        }
    }

    /// Decides and proposes for as long as it is let; returns only when the store has stopped.
    async fn lead(&mut self) {
        // Heard from before the first look, so that nothing falls in between.
        let mut feed = self.ledger.changes();
        let mut todo = Todo { everything: true, services: BTreeSet::new() };
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        self.wakes.clear();
        self.nodes_wake = None;
        loop {
            let begun = Instant::now();
            let done = self.pass(std::mem::take(&mut todo)).await;
            match done {
                Ok(took) => {
                    backoff.reset();
                    if took > QUICK {
                        tokio::time::sleep(took).await;
                    }
                }
                Err(error) => {
                    warn!(error = %error, waited = ?begun.elapsed(), "cannot carry out chores, will look again");
                    todo.everything = true;
                    backoff.wait().await;
                }
            }
            while !todo.is_due() {
                let wake = self.sleep();
                tokio::select! {
                    heard = feed.recv() => match heard {
                        Ok(changes) => todo.hear(&changes),
                        Err(RecvError::Lagged(_)) => todo.everything = true,
                        Err(RecvError::Closed) => return,
                    },
                    () = tokio::time::sleep(wake) => todo.services.extend(self.due()),
                }
                if self.nodes_wake.is_some_and(|at| at <= self.clock.now()) {
                    todo.everything = true;
                }
            }
            loop {
                match feed.try_recv() {
                    Ok(changes) => todo.hear(&changes),
                    Err(TryRecvError::Lagged(_)) => todo.everything = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
    }

    /// Looks at what is to do and proposes what is decided; returns the time that deciding took.
    async fn pass(&mut self, mut todo: Todo) -> Result<Duration, ProposeError> {
        let begun = Instant::now();
        todo.services.extend(self.due());
        let plan = self.decide(&todo);
        let took = begun.elapsed();
        for command in plan.commands {
            self.propose(command).await?;
        }
        Ok(took)
    }

    async fn propose(&self, command: Command) -> Result<(), ProposeError> {
        match self.ledger.propose(command).await {
            Ok(_) => Ok(()),
            Err(ProposeError::Refused(refusal)) => {
                // Somebody was faster; the change that made it so brings us back here.
                debug!(refusal = %refusal, "chore refused");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn decide(&mut self, todo: &Todo) -> Plan {
        let state = self.ledger.state();
        let now = self.clock.now();
        let services: BTreeSet<ServiceId> = if todo.everything {
            // Services that are gone may have left tasks.
            state
                .services()
                .map(|service| service.id)
                .chain(state.tasks().map(|task| task.service))
                .collect()
        } else {
            todo.services.clone()
        };
        let mut ids = TaskId::random;
        let mut draft = Draft::new(&state, now, &mut ids);
        for id in services {
            orchestrator::service(&mut draft, id);
            match draft.take_wake() {
                Some(at) => self.wakes.insert(id, at),
                None => self.wakes.remove(&id),
            };
        }
        if todo.everything {
            orchestrator::nodes(&mut draft);
            self.nodes_wake = draft.take_wake();
        }
        let placed = scheduler::schedule(draft.state(), now);
        draft.extend(placed);
        let mut plan = draft.finish();
        if todo.everything && has_moved_everywhere(&state) {
            plan.commands.push(Command::FinishRotation);
        }
        plan
    }

    /// The services whose time has come.
    fn due(&self) -> Vec<ServiceId> {
        let now = self.clock.now();
        self.wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect()
    }

    /// How long until something is due by itself.
    fn sleep(&self) -> Duration {
        let next = self.wakes.values().chain(&self.nodes_wake).min();
        let wait = next.map(|at| at.since(self.clock.now()).max(Duration::from_millis(1)));
        wait.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }
}

/// Whether the CA is being replaced and every node has a certificate of the new one.
fn has_moved_everywhere(state: &State) -> bool {
    let rotating = state.cluster().filter(|cluster| cluster.rotation.is_some());
    rotating.is_some_and(|cluster| state.nodes().all(|node| cluster.has_moved(node)))
}

impl Todo {
    fn is_due(&self) -> bool {
        self.everything || !self.services.is_empty()
    }

    fn hear(&mut self, changes: &Changes) {
        self.everything |= changes.replaced;
        for change in &changes.changes {
            match change {
                Change::Put(Entity::Task(task)) => {
                    self.services.insert(task.service);
                }
                Change::Put(Entity::Service(service)) => {
                    self.services.insert(service.id);
                }
                Change::Delete(Key::Service(id)) => {
                    self.services.insert(*id);
                }
                Change::Put(Entity::Node(_) | Entity::Cluster(_))
                | Change::Delete(Key::Node(_) | Key::Cluster) => self.everything = true,
                Change::Put(
                    Entity::Object(_)
                    | Entity::Answered(_)
                    | Entity::Remnant(_)
                    | Entity::Destroyed(_),
                )
                | Change::Delete(
                    Key::Object(_)
                    | Key::Task(_)
                    | Key::Answered(_)
                    | Key::Remnant(_)
                    | Key::Destroyed(_),
                )
                | Change::PutBody { .. }
                | Change::PutKey { .. }
                | Change::DeleteBody { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::task::start,
        manager::orchestrator::world,
        model::{command::Stamped, task::TaskState},
    };
    use std::sync::Mutex;

    /// A log without a log: commands are carried out at once.
    #[derive(Clone)]
    struct Fake(Arc<Inner>);

    struct Inner {
        state: Mutex<State>,
        feed: broadcast::Sender<Arc<Changes>>,
        leadership: watch::Sender<Leadership>,
        clock: Clock,
        /// What the chores proposed.
        proposed: watch::Sender<Vec<Command>>,
        failing: Mutex<bool>,
    }

    impl Fake {
        fn new(state: State, clock: Clock, leadership: Leadership) -> Self {
            Self(Arc::new(Inner {
                state: Mutex::new(state),
                feed: broadcast::Sender::new(16),
                leadership: watch::Sender::new(leadership),
                clock,
                proposed: watch::Sender::new(Vec::new()),
                failing: Mutex::new(false),
            }))
        }

        fn apply(&self, command: Command) -> Result<Answer, ProposeError> {
            let mut state = self.0.state.lock().unwrap();
            let applied = state.apply(&Stamped { request: None, at: self.0.clock.now(), command });
            if !applied.changes.is_empty() {
                let changes = Changes { index: 0, changes: applied.changes, replaced: false };
                let _nobody = self.0.feed.send(Arc::new(changes));
            }
            applied.outcome.map_err(ProposeError::Refused)
        }

        async fn until(&self, found: impl Fn(&State) -> bool) {
            let mut feed = self.0.feed.subscribe();
            while !found(&self.0.state.lock().unwrap()) {
                if let Err(RecvError::Closed) = feed.recv().await {
                    panic!("the feed lives as long as the fake");
                }
            }
        }

        fn proposals(&self) -> usize {
            self.0.proposed.borrow().len()
        }
    }

    #[async_trait::async_trait]
    impl Ledger for Fake {
        fn state(&self) -> Arc<State> {
            Arc::new(self.0.state.lock().unwrap().clone())
        }
        fn changes(&self) -> broadcast::Receiver<Arc<Changes>> {
            self.0.feed.subscribe()
        }
        fn leadership(&self) -> watch::Receiver<Leadership> {
            self.0.leadership.subscribe()
        }
        async fn propose(&self, command: Command) -> Result<Answer, ProposeError> {
            self.0.proposed.send_modify(|proposed| proposed.push(command.clone()));
            if std::mem::take(&mut *self.0.failing.lock().unwrap()) {
                return Err(ProposeError::Busy);
            }
            self.apply(command)
        }
    }

    fn fake(leadership: Leadership) -> (Fake, Clock) {
        let clock = Clock::manual(Timestamp(1_000_000));
        (Fake::new(world::state(1), clock.clone(), leadership), clock)
    }

    fn assigned(state: &State) -> usize {
        state.tasks().filter(|task| task.status.state == TaskState::Assigned).count()
    }

    #[tokio::test]
    async fn a_new_service_is_made_and_placed_in_one_proposal() {
        let (fake, clock) = fake(Leadership::Leading { term: 1 });
        let stop = Stop::new();
        let chores = start("chores", Chores::new(fake.clone(), clock).run(stop.clone()));
        fake.apply(world::create_service("web", 3)).unwrap();
        fake.until(|state| assigned(state) == 3).await;
        assert_eq!(fake.proposals(), 1);
        stop.cancel();
        chores.wait().await;
        assert_eq!(fake.proposals(), 1, "what was decided is not decided again");
    }

    #[tokio::test]
    async fn who_does_not_lead_proposes_nothing_and_who_begins_to_lead_catches_up() {
        let (fake, clock) = fake(Leadership::Following { leader: None });
        let stop = Stop::new();
        let chores = start("chores", Chores::new(fake.clone(), clock).run(stop.clone()));
        fake.apply(world::create_service("web", 1)).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(fake.proposals(), 0);
        fake.0.leadership.send_replace(Leadership::Leading { term: 2 });
        fake.until(|state| assigned(state) == 1).await;
        fake.0.leadership.send_replace(Leadership::Following { leader: None });
        stop.cancel();
        chores.wait().await;
    }

    #[tokio::test]
    async fn a_failed_proposal_is_decided_anew() {
        let (fake, clock) = fake(Leadership::Leading { term: 1 });
        *fake.0.failing.lock().unwrap() = true;
        let stop = Stop::new();
        let chores = start("chores", Chores::new(fake.clone(), clock).run(stop.clone()));
        fake.apply(world::create_service("web", 2)).unwrap();
        fake.until(|state| assigned(state) == 2).await;
        assert_eq!(fake.proposals(), 2);
        stop.cancel();
        chores.wait().await;
    }

    #[tokio::test]
    async fn a_delay_wakes_the_chores_by_itself() {
        let (fake, clock) = fake(Leadership::Leading { term: 1 });
        let stop = Stop::new();
        let chores = start("chores", Chores::new(fake.clone(), clock.clone()).run(stop.clone()));
        let mut spec = world::spec("web", 1);
        spec.task.restart.delay = Duration::from_millis(20);
        let id = ServiceId::random();
        fake.apply(Command::CreateService { id, spec: Box::new(spec) }).unwrap();
        fake.until(|state| assigned(state) == 1).await;
        let task = fake.state().tasks().next().unwrap().clone();
        let failed = world::report(&task, TaskState::Failed, clock.now());
        fake.apply(Command::ChangeTasks { changes: vec![failed] }).unwrap();
        let prepared = |state: &State| {
            state.tasks().any(|t| t.desired == TaskState::Ready && t.node.is_some())
        };
        fake.until(prepared).await;
        // Nothing is heard from now on but the alarm the chores have set themselves.
        clock.advance(Duration::from_secs(1));
        fake.until(|state| state.tasks().any(|t| t.desired == TaskState::Running)).await;
        stop.cancel();
        chores.wait().await;
    }

    #[tokio::test]
    async fn many_tasks_are_proposed_in_batches() {
        let (fake, clock) = fake(Leadership::Leading { term: 1 });
        let stop = Stop::new();
        fake.apply(world::create_service("web", 1200)).unwrap();
        let chores = start("chores", Chores::new(fake.clone(), clock).run(stop.clone()));
        fake.until(|state| assigned(state) == 1200).await;
        stop.cancel();
        chores.wait().await;
        let proposed = fake.0.proposed.borrow();
        let sizes: Vec<usize> = proposed
            .iter()
            .map(|command| match command {
                Command::ChangeTasks { changes } => changes.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 2400);
        assert!(sizes.iter().all(|size| *size <= orchestrator::BATCH), "{sizes:?}");
    }

    #[test]
    fn changes_to_secrets_give_nothing_to_do() {
        let mut todo = Todo::default();
        let changes = vec![Change::Delete(Key::Object(crate::kit::id::ObjectId::random()))];
        todo.hear(&Changes { index: 1, changes, replaced: false });
        assert!(!todo.is_due());
    }
}
