//! The store of one manager on a real disk: stopped, killed, damaged, filled, and opened again.

#![expect(clippy::unwrap_used, reason = "a surprise is a failed test")]

use secretd::{
    crypto::{
        key::{Key, Root, RootId, Storage},
        seal::Sealed,
        unlock::{self, Unlocker, recipient::Recipient},
    },
    kit::{
        clock::{Clock, Timestamp},
        id::{ClientId, ClusterId, NodeId, ObjectId},
    },
    model::{
        Labels, Meta,
        cluster::{Cluster, ClusterSettings, RootStatus},
        command::{Answer, Command, RequestId},
        node::{Availability, Node, NodeDescription, NodeState, NodeStatus, Role, Standing},
        object::{Kind, VersionNumber},
        task::ObjectVersion,
    },
    raft::{Alone, Leadership, LogError, Member, Options, ProposeError, Raft, StartError},
    store::Change,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

/// Set for the process that writes until it is killed; names the directory.
const CHILD: &str = "SECRETD_TEST_RAFT_CHILD";

/// A data directory and the key beside it, as a node has them.
struct Home {
    base: TempDir,
}

impl Home {
    fn new() -> Self {
        let base = TempDir::new().unwrap();
        make_keys(base.path());
        Self { base }
    }

    fn dir(&self) -> PathBuf {
        self.base.path().join("raft")
    }

    async fn found(&self) -> Raft {
        let options = options(self.base.path());
        let member = Member { node: options.node, addr: "127.0.0.1:2390".into() };
        let raft = Raft::found(options, member, Arc::new(Alone)).await.unwrap();
        assert_eq!(raft.propose(None, founding()).await.unwrap(), Answer::Done);
        raft
    }

    async fn open(&self) -> Result<Raft, StartError> {
        Raft::open(options(self.base.path()), Arc::new(Alone)).await
    }

    /// Opening fails and leaves every file as it was. The segment that is being filled with zeros holds nothing; it may
    /// come and go.
    async fn refuses(&self) -> StartError {
        let stored = || {
            let mut files = contents(&self.dir());
            files.retain(|(file, _)| !file.ends_with("spare"));
            files
        };
        let before = stored();
        let error = self.open().await.unwrap_err();
        assert!(!error.hint().is_empty());
        assert!(stored() == before, "{error} changed something");
        error
    }
}

fn make_keys(base: &Path) {
    let (cluster, node) = ids();
    let (root, storage) = (Key::<Root>::random(), Key::<Storage>::random());
    let file = unlock::file::create(&base.join("key")).unwrap();
    let unlocker = Unlocker::new(cluster, file.id, unlock::Method::File, &file.key, &root);
    fs::write(base.join("root"), unlocker.wrapped_root).unwrap();
    fs::write(base.join("storage"), storage.wrapped(&root, cluster, node)).unwrap();
}

fn ids() -> (ClusterId, NodeId) {
    (ClusterId::from_random([1; 17]), NodeId::from_random([2; 17]))
}

fn options(base: &Path) -> Options {
    let (cluster, node) = ids();
    let file = unlock::file::load(&base.join("key")).unwrap();
    let wrapped_root = fs::read(base.join("root")).unwrap();
    let recipient = Recipient::of(&file.key);
    let unlocker = Unlocker { id: file.id, method: unlock::Method::File, recipient, wrapped_root };
    let root = unlocker.unlock(cluster, &file.key).unwrap();
    let wrapped = fs::read(base.join("storage")).unwrap();
    let key = Key::<Storage>::open(&root, cluster, node, &wrapped).unwrap();
    let dir = base.join("raft");
    let (key, clock) = (Arc::new(key.into()), Clock::system());
    Options { dir, cluster, node, raft_id: 1, key, clock, witness: None, fellows: None }
}

fn founding() -> Command {
    let (cluster, node) = ids();
    let sealed = Sealed { term: 1, wrapped_key: vec![1], body: vec![2] };
    Command::Found {
        cluster: Box::new(Cluster {
            id: cluster,
            meta: Meta::default(),
            settings: ClusterSettings::default(),
            ca_certificate: vec![3],
            ca_key: sealed,
            keyring: Vec::new(),
            next_raft_id: 2,
            rotation: None,
            tokens: Vec::new(),
            unlockers: Vec::new(),
            key_files: true,
            backup: None,
            rekeying: Default::default(),
            former_managers: Vec::new(),
            root: RootStatus::first(RootId([7; 32]), Timestamp(0)),
        }),
        node: Box::new(Node {
            id: node,
            meta: Meta::default(),
            role: Role::Manager,
            availability: Availability::Active,
            labels: Labels::new(),
            description: NodeDescription::default(),
            renamed: None,
            standing: Standing::Member,
            status: NodeStatus {
                state: NodeState::Ready,
                message: String::new(),
                addr: String::new(),
                at: Clock::system().now(),
                dispatcher: None,
            },
            manager: None,
            certificate: None,
            runtime_failed_at: None,
            sightings: Default::default(),
        }),
    }
}

/// A secret whose sealed body says which it is.
fn create(number: u64, bytes: usize) -> (ObjectId, Command) {
    let mut random = [0; 17];
    random[9..].copy_from_slice(&number.to_be_bytes());
    let id = ObjectId::from_random(random);
    let command = Command::CreateObject {
        kind: Kind::Secret,
        id,
        name: format!("secret-{number}").parse().unwrap(),
        labels: Labels::new(),
        size: bytes as u64,
        sealed: sealed(number, bytes),
    };
    (id, command)
}

fn sealed(number: u64, bytes: usize) -> Sealed {
    let body = number.to_be_bytes().into_iter().cycle().take(bytes).collect();
    Sealed { term: 1, wrapped_key: vec![9; 60], body }
}

fn first(object: ObjectId) -> ObjectVersion {
    ObjectVersion { object, version: VersionNumber::FIRST }
}

async fn assert_holds(raft: &Raft, number: u64, bytes: usize) {
    let (id, _) = create(number, bytes);
    let name = format!("secret-{number}");
    let state = raft.state();
    let object = state.object_by_id(id).unwrap_or_else(|| panic!("{name} is gone"));
    assert_eq!(object.name.as_str(), name);
    assert_eq!(raft.body(first(id)).await.unwrap(), sealed(number, bytes), "{name}");
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

fn segments(home: &Home) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(home.dir().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_proposed_is_applied_announced_readable_and_there_after_a_restart() {
    let home = Home::new();
    let raft = home.found().await;
    let mut changes = raft.changes();
    let (id, command) = create(1, 500_000);
    let answer = raft.propose(None, command).await.unwrap();
    assert_eq!(answer, Answer::Object { id, version: VersionNumber::FIRST });
    assert_holds(&raft, 1, 500_000).await;
    let linear = raft.linear().await.unwrap();
    assert!(linear.state().object_by_id(id).is_some());
    let heard = changes.recv().await.unwrap();
    assert!(matches!(&heard.changes[..], [Change::Put(_)]), "{heard:?}");
    assert!(raft.state().object_by_id(id).is_some());
    assert!(raft.leadership().borrow().is_leading());
    raft.shutdown().await;
    let error = raft.propose(None, create(2, 10).1).await.unwrap_err();
    assert!(matches!(error, ProposeError::Stopped(_)), "{error}");

    let raft = home.open().await.unwrap();
    assert_holds(&raft, 1, 500_000).await;
    assert!(raft.leadership().borrow().is_leading());
    let refused = raft.propose(None, create(1, 10).1).await.unwrap_err();
    assert!(refused.to_string().contains("already exists"), "{refused}");
    raft.propose(None, Command::RemoveObject { kind: Kind::Secret, id }).await.unwrap();
    raft.body(first(id)).await.unwrap_err();
    raft.shutdown().await;
    let raft = home.open().await.unwrap();
    assert!(raft.state().object_by_id(id).is_none());
    raft.body(first(id)).await.unwrap_err();
    raft.shutdown().await;
}

#[tokio::test]
async fn a_request_sent_twice_is_done_once_even_over_a_restart() {
    let home = Home::new();
    let raft = home.found().await;
    let request = Some(RequestId { client: ClientId::random(), sequence: 1 });
    let once = raft.propose(request, create(1, 10).1).await.unwrap();
    assert_eq!(raft.propose(request, create(1, 10).1).await.unwrap(), once);
    raft.shutdown().await;
    let raft = home.open().await.unwrap();
    assert_eq!(raft.propose(request, create(1, 10).1).await.unwrap(), once);
    raft.shutdown().await;
}

#[tokio::test]
async fn commands_that_wait_together_share_entries_and_keep_their_order() {
    let home = Home::new();
    let raft = home.found().await;
    let before = raft.status().last_index;
    let mut changes = raft.changes();
    let all = (0..500).map(|number| {
        let raft = raft.clone();
        async move { raft.propose(None, create(number, 100).1).await }
    });
    for (number, answer) in futures::future::join_all(all).await.into_iter().enumerate() {
        let Answer::Object { id, .. } = answer.unwrap() else { panic!() };
        assert_eq!(id, create(number as u64, 0).0);
    }
    let entries = raft.status().last_index - before;
    assert!(entries < 20, "500 commands took {entries} entries");
    let mut names = Vec::new();
    while names.len() < 500 {
        for change in &changes.recv().await.unwrap().changes {
            let Change::Put(secretd::store::Entity::Object(object)) = change else { panic!() };
            names.push(object.name.to_string());
        }
    }
    let in_order: Vec<String> = (0..500).map(|number| format!("secret-{number}")).collect();
    assert_eq!(names, in_order);
    raft.shutdown().await;
}

#[tokio::test]
async fn too_much_at_once_is_refused_without_being_done() {
    let home = Home::new();
    let raft = home.found().await;
    let all = (0..5000).map(|number| {
        let raft = raft.clone();
        async move { (number, raft.propose(None, create(number, 10).1).await) }
    });
    let answers = futures::future::join_all(all).await;
    let (mut done, mut busy) = (0, 0);
    for (number, answer) in answers {
        let there = raft.state().object_by_id(create(number, 0).0).is_some();
        assert_eq!(answer.is_ok(), there);
        match answer {
            Ok(_) => done += 1,
            Err(ProposeError::Busy) => busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(done > 3000 && busy > 500, "{done} done, {busy} busy");
    let error = raft.propose(None, create(99, 4_000_000).1).await.unwrap_err();
    assert!(matches!(error, ProposeError::TooLarge { .. }), "{error}");
    raft.shutdown().await;
}

#[tokio::test]
async fn damaged_missing_and_foreign_files_are_named_and_left_alone() {
    let home = Home::new();
    let raft = home.found().await;
    for number in 0..5 {
        raft.propose(None, create(number, 3000).1).await.unwrap();
    }
    raft.shutdown().await;
    let whole = contents(&home.dir());
    let restore = || {
        for (path, bytes) in &whole {
            fs::write(path, bytes).unwrap();
        }
    };
    let log = segments(&home).remove(0);
    let flip = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 4;
        fs::write(path, bytes).unwrap();
    };

    let bytes = fs::read(&log).unwrap();
    let frames: Vec<usize> =
        (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"SFRM")).collect();
    assert!(frames.len() > 5);
    for at in frames.into_iter().map(|at| at + 40) {
        flip(&log, at);
        let error = home.refuses().await;
        assert!(matches!(error, StartError::Log(LogError::Damaged { .. })), "{at}: {error}");
        assert!(error.to_string().contains("0000000000000001.log"), "{error}");
        restore();
    }

    fs::remove_dir_all(home.dir().join("log")).unwrap();
    let error = home.refuses().await;
    assert!(matches!(error, StartError::NoLog(_)), "{error}");
    fs::create_dir(home.dir().join("log")).unwrap();
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StartError::Log(LogError::Missing { .. })), "{error}");
    fs::remove_file(home.dir().join("begun")).unwrap();
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StartError::LogBehind { .. }), "{error}");
    restore();

    let state = home.dir().join("state.redb");
    let size = fs::read(&state).unwrap().len();
    let mut refused = 0;
    for at in (0..size).step_by(size / 31) {
        flip(&state, at);
        match home.open().await {
            Ok(raft) => {
                for number in 0..5 {
                    assert_holds(&raft, number, 3000).await;
                }
                raft.shutdown().await;
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, StartError::StateFile(_)), "{at}: {error}");
            }
        }
        restore();
    }
    assert!(refused > 1, "only {refused} flips were noticed");
    fs::write(&state, b"not a state file").unwrap();
    let error = home.refuses().await;
    assert!(error.to_string().contains("state.redb"), "{error}");
    restore();

    make_keys_anew(home.base.path());
    let error = home.refuses().await;
    assert!(matches!(error, StartError::Log(LogError::Foreign { .. })), "{error}");
    assert!(error.hint().contains("key file"), "{}", error.hint());
}

fn make_keys_anew(base: &Path) {
    fs::remove_file(base.join("key")).unwrap();
    make_keys(base);
}

#[tokio::test]
async fn a_store_is_founded_once_and_opened_only_where_there_is_one() {
    let home = Home::new();
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StartError::Empty(_)), "{error}");
    assert!(!home.dir().exists());
    let raft = home.found().await;
    raft.shutdown().await;
    let options = options(home.base.path());
    let member = Member { node: options.node, addr: "127.0.0.1:2390".into() };
    let error = Raft::found(options, member, Arc::new(Alone)).await.unwrap_err();
    assert!(matches!(error, StartError::Exists(_)), "{error}");
    home.open().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_founding_that_was_cut_off_can_be_taken_up_again() {
    let home = Home::new();
    let begin = || {
        let options = options(home.base.path());
        let member = Member { node: options.node, addr: "127.0.0.1:2390".into() };
        Raft::found(options, member, Arc::new(Alone))
    };
    begin().await.unwrap().shutdown().await;
    let raft = begin().await.unwrap();
    assert_eq!(raft.propose(None, founding()).await.unwrap(), Answer::Done);
    raft.shutdown().await;
}

#[tokio::test]
async fn a_store_is_opened_by_one_process_at_a_time() {
    let home = Home::new();
    let raft = home.found().await;
    let error = home.open().await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    raft.propose(None, create(1, 10).1).await.unwrap();
    raft.shutdown().await;
    assert_holds(&home.open().await.unwrap(), 1, 10).await;
}

/// Not a test of its own: the process that [`what_was_acknowledged_survives_kill_9`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Ok(base) = std::env::var(CHILD) else { return };
    let raft = Raft::open(options(Path::new(&base)), Arc::new(Alone)).await.unwrap();
    let start = raft.state().objects().count() as u64;
    let writer = |lane: u64| {
        let raft = raft.clone();
        async move {
            let mut number = start * 8 + lane;
            loop {
                let bytes = if number.is_multiple_of(50) { 200_000 } else { 300 };
                if raft.propose(None, create(number, bytes).1).await.is_ok() {
                    println!("acked {number} {bytes}");
                }
                number += 8;
            }
        }
    };
    futures::future::join_all((0..8).map(writer)).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let home = Home::new();
    home.found().await.shutdown().await;
    let mut acked = BTreeSet::new();
    for round in 1..=4_usize {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, home.base.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = |acked: &mut BTreeSet<(u64, usize)>| {
            let Some(Ok(line)) = lines.next() else { return false };
            if let Some(rest) = line.split("acked ").nth(1) {
                let (number, bytes) = rest.split_once(' ').unwrap();
                acked.insert((number.parse().unwrap(), bytes.parse().unwrap()));
            }
            true
        };
        let goal = acked.len() + 150 * round;
        while acked.len() < goal {
            assert!(read(&mut acked), "the child ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while read(&mut acked) {}
        let raft = home.open().await.unwrap();
        for (number, bytes) in &acked {
            assert_holds(&raft, *number, *bytes).await;
        }
        raft.shutdown().await;
    }
}

#[tokio::test]
async fn leadership_is_announced_and_its_end_too() {
    let home = Home::new();
    let raft = home.found().await;
    let mut leadership = raft.leadership();
    assert!(matches!(*leadership.borrow_and_update(), Leadership::Leading { term: 1 }));
    raft.shutdown().await;
    assert!(leadership.changed().await.is_err(), "nobody tells any more");
}
