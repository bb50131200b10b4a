//! Lets machines in: certificates for join tokens, the next certificate for nodes, admission of managers, farewell.
//!
//! Strangers call here, so little is done before a token was found good: a small message, a look into a list. A token that
//! is not on it costs its network one of a few tries; one that is never fails because others were wrong. What they are told is the same whatever was wrong; the log says more. Who belongs to the cluster and
//! as what is always read from the store, never from a certificate: that may be three days old.

mod rate;

use super::{answers, copies::Copies, descriptions, group::until_nobody_leaves, task_changes};
use crate::{
    client::Book,
    crypto::{key::RootId, keychain::Keychain},
    kit::{chain::chain, clock::Clock, id::NodeId, told::Told},
    model::{
        Meta,
        cluster::{Cluster, FormerManager, Token},
        command::{Answer, Command, TaskChange},
        node::{
            Availability, CertificateStatus, Node, NodeState, NodeStatus, RaftIdentity, Role,
            Standing,
        },
        refusal::{Refusal, RefusalKind},
        sightings::{Sightings, check_age, check_key},
        task::{TaskState, TaskStatus},
    },
    pki::{self, Authority, CaDigest, Conn, IssueError, JoinToken, Office, Peer},
    raft::{ProposeError, Raft},
    store::State,
    wire::{
        convert::Code as _,
        status::{self, status},
        v1::{self, ca_server::CaServer},
    },
};
use rate::Rate;
use sha2::{Digest as _, Sha256};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use tracing::{info, warn};

/// A call has at most this many bytes: a description with its labels is the most of it.
const MESSAGE: usize = 64 * 1024;
/// How often the newest state is looked at for strangers whose tokens nobody knows.
const LOOK: Duration = Duration::from_millis(100);
/// How often a manager that leaves lets others go before it that were quicker.
const TURNS: u32 = 5;

/// Serves `Ca` on any manager. Clones share everything.
#[derive(Debug, Clone)]
pub struct CaService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    raft: Raft,
    keys: Arc<Keychain>,
    clock: Clock,
    rate: Mutex<Rate>,
    told: Told,
    /// When strangers last had the newest state looked at; one at a time.
    looked: tokio::sync::Mutex<Option<Instant>>,
    book: Book,
    copies: Copies,
}

/// A certificate that was signed and not handed out yet.
struct Signed {
    chain: Vec<Vec<u8>>,
    status: CertificateStatus,
}

impl CaService {
    /// Managers that have moved are written into `book` as soon as they say so.
    pub fn new(raft: Raft, keys: Arc<Keychain>, clock: Clock, book: Book) -> Self {
        let rate = Mutex::new(Rate::new());
        let (told, looked) = (Told::new(), Default::default());
        let copies = Copies::new(raft.clone(), clock.clone());
        let shared = Shared { raft, keys, clock, rate, told, looked, book, copies };
        Self { shared: Arc::new(shared) }
    }

    /// The service with its message sizes, for the cluster listener.
    pub fn server(&self) -> CaServer<Self> {
        CaServer::new(self.clone()).max_decoding_message_size(MESSAGE)
    }
}

impl Shared {
    /// Lets a stranger try, unless there were too many tries.
    fn take_try(&self, addr: SocketAddr) -> Result<(), Status> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.take(addr.ip(), self.clock.now()) {
            return Ok(());
        }
        drop(rate);
        if let Some(left_out) = self.told.may(pki::network(addr.ip())) {
            warn!(%addr, left_out, "refused a call without a certificate: too many tries");
        }
        Err(status(Code::ResourceExhausted, "too many tries", Some("try again in a moment".into())))
    }

    fn give_try_back(&self, addr: SocketAddr) {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).give_back(addr.ip());
    }

    /// The newest state, for a caller who is nobody yet: where the leader is stays with us.
    async fn state_for_stranger(&self) -> Result<Arc<State>, Status> {
        let linear = self.raft.linear().await.map_err(|error| {
            warn!(%error, "cannot judge a call without a certificate");
            Status::unavailable("the cluster is not ready: it has no leader at the moment")
        })?;
        Ok(Arc::clone(linear.state()))
    }

    /// The newest state, for one who shows this token. Only a token that is not known here yet, or no more, costs a try, and
    /// those that have none left share one look at the cluster every now and then.
    async fn state_with(&self, token: &[u8; 32], addr: SocketAddr) -> Result<Arc<State>, Status> {
        let has = |state: &State| {
            state.cluster().is_some_and(|cluster| find(&cluster.tokens, token).is_some())
        };
        if has(&self.raft.state()) {
            return self.state_for_stranger().await;
        }
        let tried = self.take_try(addr);
        if tried.is_err() {
            let mut looked = self.looked.lock().await;
            if !looked.is_some_and(|at| at.elapsed() < LOOK) {
                self.state_for_stranger().await?;
                *looked = Some(Instant::now());
            }
            drop(looked);
            let state = self.raft.state();
            return if has(&state) { Ok(state) } else { tried.map(|()| state) };
        }
        let state = self.state_for_stranger().await?;
        if has(&state) {
            self.give_try_back(addr);
        }
        Ok(state)
    }

    /// The caller's row in the newest state; the certificate it shows is one that counts.
    async fn member(
        &self,
        peer: &Peer,
        addr: SocketAddr,
    ) -> Result<(Arc<State>, Arc<Node>), Status> {
        if peer.cluster != self.keys.cluster() {
            return Err(Status::permission_denied("the certificate is of another cluster"));
        }
        let linear = self.raft.linear().await.map_err(|error| answers::read(&error))?;
        let state = Arc::clone(linear.state());
        let node = row(&state, peer.node, addr)?;
        self.check(&node, peer, addr, |node| check_key(node, &peer.shown(), None)).await?;
        Ok((state, node))
    }

    /// Refuses a certificate that a judge finds to count no longer, and tells of it.
    async fn check(
        &self,
        node: &Node,
        peer: &Peer,
        addr: SocketAddr,
        judge: impl FnOnce(&Node) -> Result<(), Refusal>,
    ) -> Result<(), Status> {
        match judge(node) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.copies.refuse(node, peer, &place(addr), refusal).await),
        }
    }

    /// Signs with the CA, whose key is open only here.
    fn sign(
        &self,
        cluster: &Cluster,
        request: &[u8],
        node: NodeId,
        office: Office,
    ) -> Result<Signed, Status> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            warn!(error = %chain(error), "cannot use the cluster's CA");
            Status::internal("the manager cannot use the cluster's CA")
        };
        let id = self.keys.cluster();
        let keyring = self.keys.keyring(&cluster.keyring).map_err(|error| failed(&error))?;
        let key = keyring.open_authority_key(&cluster.ca_key);
        let key = key.map_err(|error| failed(&error))?;
        let authority = Authority::open(id, &cluster.ca_certificate, key);
        let authority = authority.map_err(|error| failed(&error))?;
        let authority = match &cluster.rotation {
            Some(rotation) => authority.crossing(rotation.cross_signed.clone()),
            None => authority,
        };
        let (now, life) = (self.clock.now(), cluster.settings.certificate_life);
        let chain =
            authority.issue(request, node, office, now, life).map_err(|error| match error {
                IssueError::BadRequest | IssueError::BadKey => {
                    Status::from(Refusal::invalid(error.to_string()))
                }
                IssueError::BadLife => failed(&error),
            })?;
        let leaf = chain.first().and_then(|leaf| Peer::parse(leaf).ok());
        let leaf = leaf.ok_or_else(|| Status::internal("the CA's certificate cannot be read"))?;
        let status = CertificateStatus::new(authority.digest().0, office.role(), &leaf.shown());
        Ok(Signed { chain, status })
    }

    async fn join(
        &self,
        addr: SocketAddr,
        request: v1::IssueRequest,
    ) -> Result<v1::IssueResponse, Status> {
        let v1::IssueRequest { token, csr, description, availability } = request;
        let refused = |why: &str| {
            if let Some(left_out) = self.told.may(pki::network(addr.ip())) {
                warn!(%addr, why, left_out, "refused a machine that wants to join");
            }
            Status::from(no_token())
        };
        let token = token.and_then(|token| JoinToken::read(&token.into_plaintext()).ok());
        let Some(token) = token else {
            self.take_try(addr)?;
            return Err(refused("what it sent is no join token"));
        };
        let hash = token.hash().0;
        let state = self.state_with(&hash, addr).await?;
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let known = find(&cluster.tokens, &hash).ok_or_else(|| {
            refused(if token.ca == CaDigest::of(&cluster.ca_certificate) {
                "its join token is revoked, forgotten or made up"
            } else {
                "its join token is one of another cluster or CA"
            })
        })?;
        // The same machine asks again with the same key when the answer was lost; it is the same node then.
        let key = pki::requested_key(&csr).map_err(|error| {
            warn!(%addr, %error, "refused a machine that wants to join");
            Refusal::invalid(error.to_string())
        })?;
        let id = node_of(&hash, &key);
        if let Some(node) = state.node_by_id(id) {
            // Only until it has been here: who was removed or has left does not come back so.
            if node.status.dispatcher.is_some() || node.has_left() {
                return Err(refused("a node has joined with this very key and token already"));
            }
            info!(node = %id, %addr, "a node that joined asks again");
            return self.next_certificate(&state, node, &csr, (addr, None)).await;
        }
        if !known.is_valid(self.clock.now()) {
            return Err(refused("its join token has expired or is used up"));
        }

        let role = known.role;
        let availability = Availability::from_code(availability);
        let availability = availability.map_err(|fault| fault.within("availability"))?;
        let description = descriptions::read(description).inspect_err(|error| {
            warn!(%addr, %error, "refused what a machine that wants to join says of itself");
        })?;
        let now = self.clock.now();
        // Signed first: a request that cannot be signed then leaves no row and uses nothing up. Nobody has the
        // certificate before the store has the node.
        let signed = self.sign(cluster, &csr, id, role.into())?;
        let node = Node {
            id,
            meta: Meta::default(),
            role,
            availability,
            labels: Default::default(),
            description,
            renamed: None,
            standing: Standing::Member,
            status: NodeStatus {
                state: NodeState::Unknown,
                message: "joined".to_owned(),
                addr: place(addr),
                at: now,
                dispatcher: None,
            },
            manager: None,
            certificate: Some(signed.status),
            runtime_failed_at: None,
            sightings: Sightings::default(),
        };
        let hostname = node.description.hostname.clone();
        // Needs no request's id: the node's own is the same when it is asked for twice.
        let joined =
            self.raft.propose(None, Command::JoinNode { token: hash, node: Box::new(node) });
        joined.await.map_err(|error| match error {
            ProposeError::Refused(refusal) if refusal.kind == RefusalKind::Denied => {
                refused("its join token was revoked or used up meanwhile")
            }
            error => {
                warn!(%addr, %error, "a machine that wants to join could not be entered");
                answers::proposed(error)
            }
        })?;
        info!(node = %id, %role, %addr, hostname, "a node joined");
        Ok(response(&state, cluster, id, role, signed.chain))
    }

    async fn next_certificate(
        &self,
        state: &State,
        node: &Node,
        csr: &[u8],
        (addr, by): (SocketAddr, Option<&Peer>),
    ) -> Result<v1::IssueResponse, Status> {
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let (id, role) = (node.id, node.role);
        let signed = self.sign(cluster, csr, id, office(node))?;
        self.note(node, signed.status, (addr, by)).await?;
        info!(node = %id, %role, %addr, "renewed a node's certificate");
        Ok(response(state, cluster, id, role, signed.chain))
    }

    async fn renew_expired(
        &self,
        addr: SocketAddr,
        request: v1::RenewRequest,
    ) -> Result<v1::IssueResponse, Status> {
        let v1::RenewRequest { csr, old_certificate, old_key_signature } = request;
        self.take_try(addr)?;
        let state = self.state_for_stranger().await?;
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let roots = cluster.roots();
        let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        let id = self.keys.cluster();
        let peer = pki::former(id, &roots, &old_certificate, &csr, &old_key_signature);
        let peer = peer.map_err(|error| {
            warn!(%addr, error = %chain(&error), "refused to renew a certificate");
            Status::permission_denied("a certificate of this cluster and its key are required")
        })?;
        self.give_try_back(addr);
        let node = row(&state, peer.node, addr)?;
        let (shown, now) = (peer.shown(), self.clock.now());
        self.check(&node, &peer, addr, |node| check_key(node, &shown, None)).await?;
        if let Err(refusal) = check_age(&node, &shown, cluster.settings.come_back, now) {
            warn!(node = %node.id, %addr, %refusal, "refused to renew a certificate");
            return Err(refusal.into());
        }
        self.next_certificate(&state, &node, &csr, (addr, Some(&peer))).await
    }

    async fn admit(
        &self,
        addr: SocketAddr,
        peer: &Peer,
        request: v1::AdmitRequest,
    ) -> Result<v1::AdmitResponse, Status> {
        let v1::AdmitRequest { addr: at, csr } = request;
        // Known without a leader, too: what ended once stays so.
        let cluster = self.raft.state().cluster().cloned();
        let former = peer.raft_id.and_then(|id| cluster.as_ref()?.former_manager(id));
        if let Some(FormerManager { departure, raft_id, .. }) = former {
            warn!(node = %peer.node, raft_id, %addr, %departure, "refused to admit a former manager by its old certificate");
            return Err(stale(peer.node).into());
        }
        let (_, node) = self.member(peer, addr).await?;
        // Both: a certificate from before a demotion, and a worker's that was promoted and must renew first.
        if peer.role != Role::Manager || node.role != Role::Manager {
            warn!(node = %peer.node, %addr, "refused to admit a node that is no manager");
            let message = format!("node {} is no manager of the cluster", peer.node);
            return Err(Refusal::new(RefusalKind::Denied, message)
                .hint("promote it on a manager with `secretctl node promote`")
                .into());
        }
        // One from an admission before: the cluster has let that manager go, whatever the node is to be now.
        let present = node.manager.as_ref().map(|manager| manager.raft_id);
        if peer.raft_id.is_some() && peer.raft_id != present {
            let raft_id = peer.raft_id;
            warn!(node = %peer.node, raft_id, %addr, "refused to admit a node by the certificate of an admission before");
            return Err(stale(peer.node).into());
        }
        // Before an id is used up for it.
        pki::requested_key(&csr).map_err(|error| Refusal::invalid(error.to_string()))?;
        check_reachable(&at)?;
        let command = Command::AdmitManager { id: peer.node, addr: at.clone() };
        let answer = self.raft.propose(None, command).await.map_err(answers::proposed)?;
        let Answer::Manager { raft_id } = answer else {
            return Err(Status::internal("the store answered to another question"));
        };
        info!(node = %peer.node, raft_id, addr = at, "admitted a manager");
        // Later than its admission: until this root key is replaced, it is one of those that must have the next one first.
        let linear = self.raft.linear().await.map_err(|error| answers::read(&error))?;
        let state = linear.state();
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let root_key = Some(self.export_root(cluster.root.id)?);
        // The proof goes to whoever was admitted just now, not to what another call has made of the row since.
        let signed = self.sign(cluster, &csr, peer.node, Office::Manager { raft_id })?;
        self.note(&node, signed.status, (addr, Some(peer))).await?;
        Ok(v1::AdmitResponse {
            raft_id,
            root_key,
            unlockers: cluster.unlockers.iter().map(Into::into).collect(),
            key_files: cluster.key_files,
            certificates: signed.chain,
            ca_certificates: cluster.roots(),
            managers: fellows(state, peer.node),
        })
    }

    /// Stores a certificate before it is handed out, beside the one that was shown: the answer may be lost.
    async fn note(
        &self,
        node: &Node,
        certificate: CertificateStatus,
        (addr, by): (SocketAddr, Option<&Peer>),
    ) -> Result<(), Status> {
        let (id, shown) = (node.id, by.map(Peer::shown));
        let noted = self.raft.propose(None, Command::NoteCertificate { id, certificate, shown });
        match noted.await {
            Ok(_) => Ok(()),
            Err(ProposeError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
                Err(removed(id, addr))
            }
            // Another was quicker.
            Err(ProposeError::Refused(refusal)) => Err(match by {
                Some(peer) => self.copies.refuse(node, peer, &place(addr), refusal).await,
                None => refusal.into(),
            }),
            Err(error) => Err(answers::proposed(error)),
        }
    }

    fn export_root(&self, id: RootId) -> Result<v1::Payload, Status> {
        let root = self.keys.root(id);
        let root = root.ok_or_else(|| Status::unavailable("this manager lacks that root key"))?;
        Ok(v1::Payload::carry(&root.dangerous_export()))
    }

    /// Gives a manager the root key that is offered. One that shall be a manager no more is not given it.
    async fn offered_root(
        &self,
        addr: SocketAddr,
        peer: &Peer,
        id: &[u8],
    ) -> Result<v1::RootResponse, Status> {
        let (state, node) = self.member(peer, addr).await?;
        if peer.role != Role::Manager || node.role != Role::Manager || node.manager.is_none() {
            warn!(node = %peer.node, %addr, "refused the next root key to a node that is no manager");
            let message = format!("node {} is no manager of the cluster", peer.node);
            return Err(Refusal::new(RefusalKind::Denied, message).into());
        }
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let offered = cluster.root.offered().filter(|offer| offer.id.0 == id);
        let offered =
            offered.ok_or_else(|| Status::unavailable("another root key is offered by now"))?;
        let root_key = Some(self.export_root(offered.id)?);
        info!(node = %peer.node, %addr, "gave a manager the next root key");
        Ok(v1::RootResponse { root_key })
    }

    /// A manager says where it is reached. This manager goes by it at once: without the other one there may be nobody
    /// who could write it down.
    async fn relocate(&self, addr: SocketAddr, peer: &Peer, at: &str) -> Result<(), Status> {
        if peer.cluster != self.keys.cluster() {
            return Err(Status::permission_denied("the certificate is of another cluster"));
        }
        let state = self.raft.state();
        // By its present Raft id only: a certificate from an admission before moves nobody.
        let is_manager = |node: &Arc<Node>| {
            let raft_id = node.manager.as_ref().map(|manager| manager.raft_id);
            node.role == Role::Manager && raft_id.is_some() && raft_id == peer.raft_id
        };
        if peer.role != Role::Manager || !state.member(peer.node).is_some_and(is_manager) {
            warn!(node = %peer.node, %addr, "refused the address of a node that is no manager");
            let message = format!("node {} is no manager of the cluster", peer.node);
            return Err(Refusal::new(RefusalKind::Denied, message).into());
        }
        check_reachable(at)?;
        if self.book.find(peer.node).as_deref() != Some(at) {
            info!(node = %peer.node, %addr, at, "a manager has moved");
            self.book.hear(peer.node, at);
        }
        let command = Command::MoveManager { id: peer.node, addr: at.to_owned() };
        self.raft.propose(None, command).await.map_err(answers::proposed)?;
        Ok(())
    }

    async fn depart(&self, addr: SocketAddr, peer: &Peer) -> Result<(), Status> {
        let (_, node) = self.member(peer, addr).await?;
        let id = node.id;
        if node.role == Role::Manager {
            self.demote(id).await?;
        }
        let command = Command::LeaveNode { id, wiped: false };
        self.raft.propose(None, command).await.map_err(answers::proposed)?;
        info!(node = %id, %addr, "a node left");
        Ok(())
    }

    /// A node that has left says that it has ended its tasks and wiped all they were given. Nobody gives it tasks any more
    /// but who has not heard of its leaving; those do not count as wiped.
    async fn wiped(&self, addr: SocketAddr, peer: &Peer) -> Result<(), Status> {
        if peer.cluster != self.keys.cluster() {
            return Err(Status::permission_denied("the certificate is of another cluster"));
        }
        let linear = self.raft.linear().await.map_err(|error| answers::read(&error))?;
        let (state, id) = (linear.state(), peer.node);
        match state.node_by_id(id) {
            // Its word was heard before, or it was removed.
            None => return Ok(()),
            Some(node) if node.has_left() => {
                self.check(node, peer, addr, |node| check_key(node, &peer.shown(), None)).await?;
            }
            Some(_) => {
                warn!(node = %id, %addr, "refused the last word of a node that has not left");
                return Err(Status::failed_precondition("the node has not left"));
            }
        }
        let status = TaskStatus::new(TaskState::Orphaned, self.clock.now(), "the node has left");
        let mut changes = Vec::new();
        for task in state.tasks_on(id).filter(|task| task.status.state >= TaskState::Assigned) {
            if !task.status.state.is_terminal() {
                changes.push(TaskChange::Note { id: task.id, status: status.clone() });
            }
            changes.push(TaskChange::Wiped { id: task.id, node: id });
        }
        let remnants = state.remnants_on(id);
        changes.extend(remnants.map(|it| TaskChange::Wiped { id: it.task, node: id }));
        task_changes::propose(&self.raft, changes).await.map_err(answers::proposed)?;
        let command = Command::LeaveNode { id, wiped: true };
        self.raft.propose(None, command).await.map_err(answers::proposed)?;
        info!(node = %id, "a node that left has wiped what it had");
        Ok(())
    }

    async fn demote(&self, id: NodeId) -> Result<(), Status> {
        let mut tries = 0..TURNS;
        loop {
            until_nobody_leaves(&self.raft, id).await;
            let command = Command::SetRole { id, index: None, role: Role::Worker };
            match self.raft.propose(None, command).await {
                // Another was quicker.
                Err(ProposeError::Refused(_))
                    if self.raft.state().leaving_manager(id).is_some()
                        && tries.next().is_some() => {}
                done => return done.map(drop).map_err(answers::proposed),
            }
        }
    }
}

/// The id of the node that joins with this token and key: another for each key, and nobody can choose it.
fn node_of(token: &[u8; 32], key: &[u8; 32]) -> NodeId {
    let hash = Sha256::new().chain_update("secretd/node/1").chain_update(token).chain_update(key);
    let mut id = [0; 17];
    id.copy_from_slice(&hash.finalize()[..17]);
    NodeId::from_random(id)
}

/// Looks at every token, so that the time taken does not say how near a guess came.
fn find<'a>(tokens: &'a [Token], hash: &[u8; 32]) -> Option<&'a Token> {
    tokens.iter().fold(
        None,
        |found, token| {
            if bool::from(token.hash.ct_eq(hash)) { Some(token) } else { found }
        },
    )
}

/// Refuses an address at which nobody could be reached.
fn check_reachable(at: &str) -> Result<(), Status> {
    let reachable = at.parse().is_ok_and(|at: SocketAddr| {
        at.port() != 0 && !at.ip().is_unspecified() && !at.ip().is_multicast()
    });
    if reachable {
        return Ok(());
    }
    let message = format!("{at:?} is no address at which other nodes reach a manager");
    Err(Refusal::invalid(message).hint("an address looks like 10.0.0.7:2390").into())
}

/// Where somebody calls from, without the port.
fn place(addr: SocketAddr) -> String {
    addr.ip().to_canonical().to_string()
}

fn row(state: &State, id: NodeId, addr: SocketAddr) -> Result<Arc<Node>, Status> {
    state.member(id).cloned().ok_or_else(|| removed(id, addr))
}

fn response(
    state: &State,
    cluster: &Cluster,
    node: NodeId,
    role: Role,
    certificates: Vec<Vec<u8>>,
) -> v1::IssueResponse {
    v1::IssueResponse {
        node_id: node.to_string(),
        role: role.code(),
        certificates,
        ca_certificates: cluster.roots(),
        cluster_id: cluster.id.to_string(),
        managers: managers(state),
    }
}

/// What the row says that the node is: its certificate says the same.
fn office(node: &Node) -> Office {
    match (node.role, &node.manager) {
        (Role::Manager, Some(manager)) => Office::Manager { raft_id: manager.raft_id },
        (role, _) => role.into(),
    }
}

/// The managers that stay, but for one: who leaves the Raft group is no company for somebody new.
fn fellows(state: &State, except: NodeId) -> Vec<v1::RaftIdentity> {
    let identity = |node: &Arc<Node>| {
        let raft_id = node.manager.as_ref()?.raft_id;
        Some((&RaftIdentity { node: node.id, raft_id }).into())
    };
    let stays = |node: &&Arc<Node>| node.id != except && node.role == Role::Manager;
    state.nodes().filter(stays).filter_map(identity).collect()
}

/// Where the managers are, as others reach them.
pub(super) fn managers(state: &State) -> Vec<v1::ManagerAddr> {
    let addr = |node: &Arc<Node>| {
        let manager = node.manager.as_ref()?;
        Some(v1::ManagerAddr { node_id: node.id.to_string(), addr: manager.addr.clone() })
    };
    state.nodes().filter_map(addr).collect()
}

fn stale(node: NodeId) -> Refusal {
    let message = format!("the certificate of node {node} is from an admission before");
    Refusal::new(RefusalKind::Denied, message).hint("let the node renew its certificate first")
}

fn no_token() -> Refusal {
    Refusal::new(RefusalKind::Denied, "a valid join token is necessary to join this cluster")
        .hint("make one with `secretctl join-token worker` (or manager) on a manager; tokens expire and may be revoked")
}

fn no_cluster() -> Status {
    Status::unavailable("no cluster has been founded")
}

fn removed(node: NodeId, addr: SocketAddr) -> Status {
    warn!(%node, %addr, "refused a node that is not a member of the cluster");
    status::removed(node)
}

/// Where a call comes from.
fn from<T>(request: &Request<T>) -> Result<SocketAddr, Status> {
    let conn = request.extensions().get::<Conn>();
    conn.map(|conn| conn.addr).ok_or_else(|| Status::internal("a call from nowhere"))
}

#[tonic::async_trait]
impl v1::ca_server::Ca for CaService {
    async fn issue(
        &self,
        request: Request<v1::IssueRequest>,
    ) -> Result<Response<v1::IssueResponse>, Status> {
        let addr = from(&request)?;
        self.shared.join(addr, request.into_inner()).await.map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::IssueResponse>, Status> {
        let addr = from(&request)?;
        let Ok(peer) = Conn::peer(&request).cloned() else {
            return self.shared.renew_expired(addr, request.into_inner()).await.map(Response::new);
        };
        let (state, node) = self.shared.member(&peer, addr).await?;
        let v1::RenewRequest { csr, old_certificate: _, old_key_signature: _ } =
            request.into_inner();
        let by = (addr, Some(&*peer));
        self.shared.next_certificate(&state, &node, &csr, by).await.map(Response::new)
    }

    async fn admit(
        &self,
        request: Request<v1::AdmitRequest>,
    ) -> Result<Response<v1::AdmitResponse>, Status> {
        let (addr, peer) = (from(&request)?, Arc::clone(Conn::peer(&request)?));
        self.shared.admit(addr, &peer, request.into_inner()).await.map(Response::new)
    }

    async fn r#move(
        &self,
        request: Request<v1::MoveRequest>,
    ) -> Result<Response<v1::MoveResponse>, Status> {
        let (addr, peer) = (from(&request)?, Arc::clone(Conn::peer(&request)?));
        let v1::MoveRequest { addr: at } = request.into_inner();
        self.shared.relocate(addr, &peer, &at).await?;
        Ok(Response::new(v1::MoveResponse {}))
    }

    async fn root(
        &self,
        request: Request<v1::RootRequest>,
    ) -> Result<Response<v1::RootResponse>, Status> {
        let (addr, peer) = (from(&request)?, Arc::clone(Conn::peer(&request)?));
        let v1::RootRequest { id } = request.into_inner();
        self.shared.offered_root(addr, &peer, &id).await.map(Response::new)
    }

    async fn depart(
        &self,
        request: Request<v1::DepartRequest>,
    ) -> Result<Response<v1::DepartResponse>, Status> {
        let (addr, peer) = (from(&request)?, Arc::clone(Conn::peer(&request)?));
        let v1::DepartRequest { wiped } = request.into_inner();
        if wiped {
            self.shared.wiped(addr, &peer).await?;
        } else {
            self.shared.depart(addr, &peer).await?;
        }
        Ok(Response::new(v1::DepartResponse {}))
    }
}

#[cfg(test)]
mod tests;
