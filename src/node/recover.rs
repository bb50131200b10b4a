//! `secretd recover --from-this-node`: when most managers are lost for ever, this one becomes the whole group.
//!
//! It works on the files of a stopped daemon and asks back before it changes anything. What only the lost managers had
//! acknowledged is lost with them.

use super::{
    active::{self, ActiveError, Surroundings},
    data_dir::{DataDir, DataDirError, InsecurePlace, refuse_insecure},
    keystore::{self, KeyStoreError, Locked, Opened, Progress, UnlockError, Unlocked},
    managing::Dial,
    member::{Member, MemberError},
    moving,
    settings::Settings,
    unlocking,
};
use crate::{
    client::Book,
    crypto::{
        plaintext::Plaintext,
        unlock::code::{BadCode, Given},
    },
    kit::{
        clock::Clock,
        failpoint::failpoint,
        id::{ClusterId, NodeId},
        prompt::{self, Asked},
        task::Stop,
    },
    model::{
        command::Command,
        node::{Node, Role},
    },
    pki::{self, Tls},
    raft::{self, ProposeError, Raft, StartError},
};
use clap::Args;
use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    os::fd::AsFd as _,
    sync::Arc,
};
use zeroize::Zeroizing;

/// How to recover.
#[derive(Debug, Args)]
pub struct RecoverFlags {
    /// Make this manager the only one, with all it has stored
    #[arg(long, required = true)]
    from_this_node: bool,

    /// The cluster's id, so that nobody does this by mistake; without it you are asked
    #[arg(long, value_name = "CLUSTER-ID")]
    confirm: Option<String>,
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    #[error("there is no node in {0}")]
    NoNode(String),
    #[error(transparent)]
    Insecure(#[from] InsecurePlace),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error("cannot read what opens the keys")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Code(#[from] BadCode),
    #[error("the keys stay locked")]
    Locked(#[from] UnlockError),
    #[error("the keys stay locked: {0}")]
    Shut(String),
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error("this node is a worker: it does not hold the cluster's store")]
    Worker,
    #[error("{answering} of {managers} managers answer: the quorum is not lost")]
    Quorum { answering: usize, managers: usize },
    #[error("nothing was changed: the cluster's id is {cluster}, which is not what was given")]
    Unconfirmed { cluster: ClusterId },
    #[error(transparent)]
    Active(#[from] ActiveError),
    #[error(transparent)]
    Store(#[from] StartError),
    #[error("cannot record that this manager is the only one")]
    Reestablish(#[source] ProposeError),
}

impl RecoverError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoNode(_) => "check --data-dir",
            Self::DataDir(error @ DataDirError::Taken { .. }) => {
                return Some(format!("stop the daemon first ({error})"));
            }
            Self::Insecure(error) => return Some(error.hint()),
            Self::DataDir(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::Shut(_) => "nothing else opens this node: see that it works, then run this again",
            Self::Locked(error) => return error.hint().map(str::to_owned),
            Self::Member(error) => error.hint(),
            Self::Worker => "run this on the manager that was up last",
            Self::Quorum { .. } => {
                "start secretd here and let it join the others; `secretctl node demote` takes a lost manager out"
            }
            Self::Unconfirmed { .. } => {
                "give it with --confirm, after you have made sure that the other managers never start again with what they have stored"
            }
            Self::Active(error) => return error.hint(),
            Self::Store(error) => error.hint(),
            Self::Reestablish(_) => "run this again: what was done stays done",
            Self::Read(_) | Self::Code(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// Makes this manager the only one of its cluster, and says what it did on standard error.
///
/// # Errors
/// [`RecoverError`]; unless it says otherwise nothing was changed.
pub(super) async fn run(settings: Settings, flags: RecoverFlags) -> Result<(), RecoverError> {
    let RecoverFlags { from_this_node: _, confirm } = flags;
    if !keystore::exists(&settings.data_dir) {
        return Err(RecoverError::NoNode(settings.data_dir.display().to_string()));
    }
    refuse_insecure(&settings)?;
    let data = DataDir::open(&settings.data_dir)?;
    let keys = match keystore::open(&settings.data_dir, &settings.key_file)? {
        Opened::Open(keys) => keys,
        Opened::Locked(locked) if !locked.can_ask() => {
            return Err(RecoverError::Shut(locked.why().join("; ")));
        }
        Opened::Locked(locked) => unlock(locked)?,
    };
    let mut member = Member::load(data.path(), &keys)?.ok_or(RecoverError::Worker)?;
    let raft_id = member.raft_id.ok_or(RecoverError::Worker)?;
    let clock = Clock::system();
    let tls = active::tls(&keys, &member, &clock)?;
    refuse_quorum(&tls, &keys, &member).await?;
    confirm_cluster(keys.cluster, confirm)?;

    let around = Surroundings {
        data: data.path().to_owned(),
        settings,
        clock,
        fatal: Stop::new(),
        filling: Stop::new(),
        book: Book::default(),
    };
    moving::note_address(&around, &keys, &mut member).await?;
    let this = raft::Member { node: keys.node, addr: member.advertise_addr.clone() };
    let options = active::options(&around, &keys, raft_id, member.fellows.clone());
    let raft = Raft::recover(options, this, Arc::new(Dial::new(&tls, &around))).await?;
    let demoted = reestablish(&raft, keys.node, &member.advertise_addr).await;
    let state = raft.state();
    raft.shutdown().await;
    let demoted = demoted?;
    say(&format!(
        "This manager is the only one of cluster {} now. It has {} secrets and configs and {} services.",
        keys.cluster,
        state.objects().count(),
        state.services().count()
    ));
    for node in demoted {
        say(&format!(
            "Node {node} was a manager and is a worker that is down; remove it with `secretctl node rm {node}`."
        ));
    }
    say(
        "Start secretd here, then let new managers join with new tokens. The lost ones must never start again with what they have stored.",
    );
    Ok(())
}

/// Asks for what opens the keys until it is enough.
fn unlock(mut locked: Locked) -> Result<Unlocked, RecoverError> {
    let ways: Vec<String> = locked.unlockers().iter().map(unlocking::name).collect();
    say(&format!("The keys are locked. What opens them: {}", ways.join(", ")));
    loop {
        let typed = read_line("Unlock key, share or passphrase (not shown): ")?;
        match locked.unlock(Given::read(typed)?, None)? {
            Progress::Open(keys) => return Ok(keys),
            Progress::Shares { given, needed } => {
                say(&format!("{given} of {needed} shares are here."));
            }
        }
    }
}

/// A quorum that can be had makes all this wrong: two groups would go on from one past.
async fn refuse_quorum(tls: &Tls, keys: &Unlocked, member: &Member) -> Result<(), RecoverError> {
    let others: Vec<_> = member.managers.iter().filter(|one| one.node != keys.node).collect();
    let calls = others.iter().map(|one| pki::connect(tls, &one.addr, one.node));
    let answers = futures::future::join_all(calls).await;
    let answering = answers.iter().filter(|answer| answer.is_ok()).count();
    for (one, answer) in others.iter().zip(&answers) {
        let how = if answer.is_ok() { "answers" } else { "does not answer" };
        say(&format!("Manager {} at {} {how}.", one.node, one.addr));
    }
    let managers = others.len() + 1;
    // This one counts too: with it they would be enough.
    if answering > 0 && answering + 1 > managers / 2 {
        return Err(RecoverError::Quorum { answering, managers });
    }
    Ok(())
}

fn confirm_cluster(cluster: ClusterId, confirm: Option<String>) -> Result<(), RecoverError> {
    let given = match confirm {
        Some(given) => given,
        None if io::stdin().is_terminal() => {
            say(&format!("This makes this manager the only one of cluster {cluster}."));
            say("What only the others had acknowledged is lost, and they must never start again.");
            print("Type the cluster's id to go on: ");
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map_err(RecoverError::Read)?;
            line
        }
        None => String::new(),
    };
    if given.trim() == cluster.as_str() {
        Ok(())
    } else {
        Err(RecoverError::Unconfirmed { cluster })
    }
}

/// Lets the store know who is left, and says who is not.
async fn reestablish(raft: &Raft, this: NodeId, addr: &str) -> Result<Vec<NodeId>, RecoverError> {
    let state = raft.state();
    let node = state.node_by_id(this).ok_or(RecoverError::Worker)?;
    let was_manager = |node: &&Arc<Node>| node.role == Role::Manager || node.manager.is_some();
    let others = state.nodes().filter(|node| node.id != this).filter(was_manager);
    let demoted = others.map(|node| node.id).collect();
    let mut node = Node::clone(node);
    if let Some(manager) = &mut node.manager {
        addr.clone_into(&mut manager.addr);
    }
    let command = Command::Reestablish { node: Box::new(node) };
    raft.propose(None, command).await.map_err(RecoverError::Reestablish)?;
    failpoint("recover.noted");
    Ok(demoted)
}

/// One line from standard input; at a terminal it is not shown.
fn read_line(question: &str) -> Result<Plaintext, RecoverError> {
    const LINE: usize = 4096;
    let stdin = io::stdin();
    let mut line = if stdin.is_terminal() {
        match prompt::hidden(stdin.as_fd(), question, LINE, b'\n').map_err(RecoverError::Read)? {
            Asked::Typed(line) => line,
            Asked::Interrupted => {
                return Err(RecoverError::Read(io::ErrorKind::Interrupted.into()));
            }
        }
    } else {
        let mut line = Zeroizing::new(Vec::with_capacity(LINE));
        let mut bounded = stdin.lock().take(LINE as u64);
        if bounded.read_until(b'\n', &mut line).map_err(RecoverError::Read)? == 0 {
            return Err(RecoverError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        line
    };
    let length = line.trim_ascii_end().len();
    line.truncate(length);
    Ok(Plaintext::new(std::mem::take(&mut *line)))
}

fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    // Nobody there to read it is no reason to stop.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).ok();
}

fn say(text: &str) {
    print(&format!("{text}\n"));
}
