//! Backups as operators order them: made from this manager's store, verified to the end, restored into a node that belongs
//! to no cluster.

use super::{
    active::{self, Active, ActiveError, Resumed, Surroundings},
    address,
    daemon::hostname,
    keystore::{self, Locked, Progress, UnlockError, Unlocked, Ways},
    managing::Dial,
    member::{Member, MemberError},
    renewal, unlocking,
};
use crate::{
    agent::Manager,
    crypto::{
        OpenError,
        key::{Key, Root, Storage},
        keyring::Keyring,
        plaintext::Plaintext,
        unlock::{
            Method, Unlocker,
            code::{self, BadCode, Given},
            passphrase::{self, Cost},
        },
    },
    kit::{
        chain::chain,
        failpoint::failpoint,
        id::{NodeId, UnlockerId},
        task,
    },
    model::{
        Meta,
        command::Command,
        node::{
            Availability, ManagerStatus, Node, NodeDescription, NodeState, NodeStatus, Role,
            Standing,
        },
    },
    pki::Tls,
    raft::{
        self, ProposeError, Raft, ReadError, StartError,
        backup::{BackupError, Header, Reader, Summary},
    },
    wire::{
        status::status,
        v1::{BackupOpening, BackupSummary},
    },
};
use std::{
    fs::File,
    io::{self, BufReader, Seek as _, Write as _},
    path::Path,
    sync::Arc,
};
use tokio::sync::mpsc;
use tonic::{Code, Status};

/// Pieces of a backup that wait for their reader; each is about a mebibyte.
const PIECES: usize = 4;

/// Why there is no backup, or nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("this node is no manager: it does not hold the cluster's store")]
    NoStore,
    #[error("the store cannot be read now")]
    Read(#[from] ReadError),
    #[error("nothing but the managers' key files would open this backup")]
    NoRecipient,
    #[error("a passphrase must have at least {} characters", passphrase::SHORTEST)]
    ShortPassphrase,
    #[error("the passphrase cannot be used")]
    Cost(#[from] passphrase::BadCost),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("cannot keep the backup in the data directory while it is read")]
    Keep(#[source] io::Error),
    #[error(transparent)]
    Code(#[from] BadCode),
    #[error("the backup does not open: {0}")]
    Unlock(#[from] UnlockError),
    #[error("the backup is locked")]
    Locked { ways: Vec<String> },
    #[error(transparent)]
    Active(#[from] ActiveError),
    #[error(transparent)]
    Store(#[from] StartError),
    #[error("cannot record this manager in the restored store")]
    Reestablish(#[from] ProposeError),
    #[error("the work broke off: {0}")]
    Broken(String),
}

impl From<MemberError> for Failure {
    fn from(error: MemberError) -> Self {
        Self::Active(error.into())
    }
}

impl Failure {
    /// The failure as an operator's call gets it.
    pub(super) fn status(&self) -> Status {
        let code = match self {
            Self::Active(error) => return error.status(),
            Self::Read(_) => Code::Unavailable,
            Self::ShortPassphrase | Self::Code(_) | Self::Unlock(_) => Code::InvalidArgument,
            Self::NoStore
            | Self::NoRecipient
            | Self::Locked { .. }
            | Self::Backup(_)
            | Self::Store(_)
            | Self::Keep(_) => Code::FailedPrecondition,
            Self::Cost(_) | Self::Reestablish(_) | Self::Broken(_) => Code::Internal,
        };
        let hint = match self {
            Self::NoStore => Some("use the socket of a manager".to_owned()),
            Self::NoRecipient => Some(
                "make a recovery key with `secretctl unlocker add recovery`, or say --recipient passphrase or --recipient recovery".to_owned(),
            ),
            Self::Locked { ways } => Some(format!("what opens it: {}", ways.join(", "))),
            Self::Backup(error) => error.hint().map(str::to_owned),
            Self::Unlock(error) => error.hint().map(str::to_owned),
            Self::Store(error) => Some(error.hint().to_owned()),
            Self::Keep(_) => Some("check the disk of the data directory".to_owned()),
            Self::Read(_)
            | Self::ShortPassphrase
            | Self::Cost(_)
            | Self::Code(_)
            | Self::Active(_)
            | Self::Reestablish(_)
            | Self::Broken(_) => None,
        };
        status(code, chain(self).to_string(), hint)
    }
}

/// The pieces of a backup, and the key that opens it, if one was asked for.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) pieces: mpsc::Receiver<Result<Vec<u8>, Status>>,
    pub(super) recovery_key: Option<Plaintext>,
}

/// Begins a backup of everything acknowledged until now. What opens the cluster's keys opens it, but for the key files,
/// and besides a passphrase and a key of its own if they are asked for.
///
/// # Errors
/// No leader, nothing that could open it. Later failures come with the pieces.
pub(super) async fn create(
    (raft, root): (Raft, Arc<Key<Root>>),
    words: Option<Plaintext>,
    recovery_key: bool,
) -> Result<Making, Failure> {
    let state = Arc::clone(raft.linear().await?.state());
    let cluster = state.cluster().ok_or(Failure::NoStore)?;
    let mut unlockers = cluster.unlockers.clone();
    let add = |method, key: &Key<_>, id| Unlocker::new(cluster.id, id, method, key, &root);
    if let Some(words) = words {
        if words.len() < passphrase::SHORTEST {
            return Err(Failure::ShortPassphrase);
        }
        let cost = Cost::new();
        let costs = cost.clone();
        let key = tokio::task::spawn_blocking(move || costs.key(&words))
            .await
            .map_err(|error| Failure::Broken(error.to_string()))??;
        unlockers.push(add(Method::Passphrase(cost), &key, UnlockerId::random()));
    }
    let mut code = None;
    if recovery_key {
        let (id, key) = (UnlockerId::random(), Key::random());
        unlockers.push(add(Method::Recovery, &key, id));
        code = Some(code::print_key(id, &key));
    }
    if unlockers.is_empty() {
        return Err(Failure::NoRecipient);
    }
    let (id, key) = (NodeId::random(), Key::<Storage>::random());
    let header = Header {
        id,
        cluster: cluster.id,
        created_at: raft.clock().now(),
        index: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unlockers,
        wrapped_key: key.wrapped(&root, cluster.id, id),
    };
    let root_id = cluster.root.id;
    failpoint("backup.create.begun");
    let (tx, pieces) = mpsc::channel(PIECES);
    let sender = tx.clone();
    let work = async move {
        let send = move |bytes| sender.blocking_send(Ok(bytes)).is_ok();
        if let Err(error) = raft.backup(header, key, root_id, send).await {
            // Whoever asked may have gone.
            tx.send(Err(Failure::from(error).status())).await.ok();
        }
        failpoint("backup.create.sent");
    };
    // Nobody waits for it but whoever takes the pieces: without a taker the next one is the last.
    task::leave("backup", work);
    Ok(Making { pieces, recovery_key: code })
}

/// Opens everything in a backup; a manager of its cluster needs nobody's key, and notes that it was done.
///
/// # Errors
/// [`Failure`]
pub(super) async fn verify(
    own: Option<(Raft, Arc<Key<Root>>)>,
    file: File,
    opening: BackupOpening,
) -> Result<BackupSummary, Failure> {
    let root = own.as_ref().map(|(_, root)| Arc::clone(root));
    let (summary, _) = blocking(move || judge(&file, opening, root)).await?;
    failpoint("backup.verify.judged");
    if let Some((raft, _)) = own
        && raft.state().cluster().is_some_and(|cluster| cluster.id == summary.header.cluster)
    {
        let backup = crate::model::cluster::BackupStatus {
            created_at: summary.header.created_at,
            verified_at: raft.clock().now(),
            index: summary.header.index,
        };
        if let Err(error) = raft.propose(None, Command::NoteBackup { backup }).await {
            tracing::warn!(error = %chain(&error), "cannot note that a backup was verified");
        }
    }
    Ok(told(&summary))
}

/// Founds the cluster of a backup anew with this node as its only manager.
///
/// # Errors
/// [`Failure`]; then this node belongs to no cluster, as before.
pub(super) async fn restore(
    around: &Surroundings,
    file: File,
    opening: BackupOpening,
) -> Result<(Box<Active>, BackupSummary), Failure> {
    let (listen, advertise) = (opening.listen_addr.clone(), opening.advertise_addr.clone());
    let listen = address::listen(&listen).map_err(ActiveError::from)?;
    // Only to see that it is free; taken up again with all the rest.
    let (listener, bound) = active::bind(listen).await?;
    drop(listener);
    let advertise = address::told(&advertise, bound, &[]).await.map_err(ActiveError::from)?;
    let (file, summary, keys) = blocking(move || {
        let (summary, keys) = judge(&file, opening, None)?;
        Ok((file, summary, keys))
    })
    .await?;
    failpoint("restore.judged");
    active::clear(around)?;
    let addresses = (bound.to_string(), advertise.to_string());
    let taken = take_over(around, file, &summary, keys, addresses).await;
    if taken.is_err() {
        active::wipe(around)?;
    }
    taken.map(|active| (active, told(&summary)))
}

async fn take_over(
    around: &Surroundings,
    file: File,
    summary: &Summary,
    keys: Unlocked,
    (listen_addr, addr): (String, String),
) -> Result<Box<Active>, Failure> {
    let cluster = &summary.restored;
    let (node, now) = (NodeId::random(), around.clock.now());
    let Unlocked { root, storage, .. } = keys;
    let key = storage.newest();
    let keyring = Keyring::open(&root, cluster.id, &cluster.keyring);
    let keyring = keyring.map_err(ActiveError::Keyring)?;
    let raft_id = cluster.next_raft_id;
    let (identity, certificate) = renewal::sign(cluster, &keyring, (node, raft_id), now)?;
    let roots = cluster.roots();
    let shown: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
    let tls = Tls::new(cluster.id, &shown, around.clock.clone()).map_err(ActiveError::from)?;
    tls.set_identity(&identity).map_err(ActiveError::from)?;
    let (key_file, ways) = (&around.settings.key_file, Ways::of(cluster));
    let keys = keystore::create(&around.data, key_file, (cluster.id, node), root, &ways)
        .map_err(ActiveError::from)?;
    failpoint("restore.keys");
    let member = Member {
        identity,
        roots,
        raft_id: Some(raft_id),
        listen_addr,
        advertise_addr: addr.clone(),
        managers: vec![Manager { node, addr: addr.clone() }],
        fellows: None,
    };
    let reader = Reader::begin(BufReader::new(rewound(&file)?))?;
    let this = raft::Member { node, addr: addr.clone() };
    let options = active::options(around, &keys, raft_id, None);
    let raft = Raft::restore(options, this, reader, key, Arc::new(Dial::new(&tls, around))).await?;
    failpoint("restore.store");
    let row = Node {
        id: node,
        meta: Meta { index: 0, created_at: now, updated_at: now },
        role: Role::Manager,
        availability: Availability::Active,
        labels: Default::default(),
        description: NodeDescription { hostname: hostname(), ..NodeDescription::default() },
        renamed: None,
        standing: Standing::Member,
        status: NodeStatus {
            state: NodeState::Unknown,
            message: String::new(),
            addr: addr.rsplit_once(':').map_or(addr.as_str(), |(ip, _)| ip).to_owned(),
            at: now,
            dispatcher: None,
        },
        manager: Some(ManagerStatus::new(raft_id, addr)),
        certificate: Some(certificate),
        runtime_failed_at: None,
        sightings: Default::default(),
    };
    let noted = raft.propose(None, Command::Reestablish { node: Box::new(row) }).await;
    failpoint("restore.noted");
    let saved = member.save(&around.data, &keys);
    failpoint("restore.saved");
    raft.shutdown().await;
    noted?;
    saved?;
    match Active::unlocked(around, keys).await? {
        Resumed::Active(active) => Ok(active),
        Resumed::Nothing | Resumed::Locked(_) => {
            Err(Failure::Broken("the membership was not kept".to_owned()))
        }
    }
}

/// Reads a backup to its end.
fn judge(
    file: &File,
    opening: BackupOpening,
    own: Option<Arc<Key<Root>>>,
) -> Result<(Summary, Unlocked), Failure> {
    let reader = Reader::begin(BufReader::new(rewound(file)?))?;
    let keys = open(reader.header(), opening, own)?;
    let summary = reader.verify(&keys.storage.newest(), &keys.root)?;
    Ok((summary, keys))
}

fn rewound(file: &File) -> Result<File, Failure> {
    let mut file = file.try_clone().map_err(Failure::Keep)?;
    file.rewind().map_err(Failure::Keep)?;
    Ok(file)
}

/// Opens a backup's keys: with the root key of its cluster, a command, or what an operator gave.
fn open(
    header: &Header,
    opening: BackupOpening,
    own: Option<Arc<Key<Root>>>,
) -> Result<Unlocked, Failure> {
    let BackupOpening { keys, unlocker_id, listen_addr: _, advertise_addr: _ } = opening;
    if let Some(root) = own {
        match Key::<Storage>::open(&root, header.cluster, header.id, &header.wrapped_key) {
            Ok(storage) => {
                let (cluster, node) = (header.cluster, header.id);
                let storage = Arc::new(storage.into());
                return Ok(Unlocked { cluster, node, root, next: Vec::new(), storage });
            }
            // Another cluster's, or from before its root key was replaced.
            Err(OpenError::Mismatch) => {}
            Err(source) => {
                return Err(BackupError::Open { what: "key".to_owned(), source }.into());
            }
        }
    }
    let mut locked = keystore::of_backup(header);
    if keys.is_empty()
        && let Some(keys) = by_command(&mut locked)
    {
        return Ok(keys);
    }
    let which = match unlocker_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|_| BadCode::Malformed)?),
    };
    for typed in keys {
        match locked.unlock(Given::read(typed.into_plaintext())?, which)? {
            Progress::Open(keys) => return Ok(keys),
            Progress::Shares { .. } => {}
        }
    }
    Err(Failure::Locked { ways: locked.unlockers().iter().map(unlocking::name).collect() })
}

fn by_command(locked: &mut Locked) -> Option<Unlocked> {
    for unlocker in locked.unlockers().to_vec() {
        let Method::Command(helper) = &unlocker.method else { continue };
        let opened = match helper.key() {
            Ok(key) => locked.unlock(Given::Key { id: unlocker.id, key }, None).ok(),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a command does not open the backup");
                None
            }
        };
        if let Some(Progress::Open(keys)) = opened {
            return Some(keys);
        }
    }
    None
}

fn told(summary: &Summary) -> BackupSummary {
    let Summary { header, restored: _, secrets, configs, services, nodes } = summary;
    BackupSummary {
        cluster_id: header.cluster.to_string(),
        created_at_ms: header.created_at.0,
        index: header.index,
        version: header.version.clone(),
        secrets: *secrets,
        configs: *configs,
        services: *services,
        nodes: *nodes,
    }
}

/// A file without a name for what comes over the wire; it is gone when it is closed. What it holds is sealed.
///
/// # Errors
/// The disk fails.
pub(super) fn scratch(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(format!("incoming-backup-{}", UnlockerId::random()));
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(Failure::Keep)?;
    std::fs::remove_file(&path).map_err(Failure::Keep)?;
    Ok(file)
}

/// Appends a piece.
///
/// # Errors
/// The disk fails, or is full.
pub(super) fn keep(file: &mut File, piece: &[u8]) -> Result<(), Failure> {
    file.write_all(piece).map_err(Failure::Keep)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::Broken(error.to_string()))?
}
