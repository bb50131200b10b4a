//! How a node gets into a cluster and stays in it: join with a token, renew, be admitted as a manager, depart.
//!
//! The node's private key is made here and never leaves; what comes back is believed only if it is for that key and
//! signed by the cluster's CA.

use super::error::broken;
use crate::{
    crypto::{
        OpenError,
        key::{Key, Root, RootId},
        unlock::Unlocker,
    },
    kit::{
        backoff::Backoff,
        chain::chain,
        clock::Clock,
        id::{BadId, ClusterId, NodeId},
    },
    model::{
        node::{Availability, NodeDescription, RaftIdentity, Role},
        refusal::{Refusal, RefusalKind},
    },
    pki::{
        self, BadCertificate, ConnectError, Identity, IdentityError, JoinToken, PrivateKey, Tls,
        TlsError, TlsRefusal,
    },
    wire::{
        Malformed,
        convert::Code as _,
        status::{hint, refusal, removed_node},
        v1::{self, ca_client::CaClient},
    },
};
use std::{future::Future, time::Duration};
use tonic::{Code, Response, Status, transport::Channel};

/// How long one call may take: a proposal's own deadline, and a connection.
const ATTEMPT: Duration = Duration::from_secs(20);
/// How long joining is tried while the cluster says "not now": longer than an election.
const PATIENCE: Duration = Duration::from_secs(15);
/// Waits between attempts.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What a node was given.
#[derive(Debug)]
pub struct Enrolled {
    pub node: NodeId,
    pub cluster: ClusterId,
    pub role: Role,
    pub identity: Identity,
    /// The CAs to trust, DER.
    pub roots: Vec<Vec<u8>>,
    /// Where the managers are.
    pub managers: Vec<(NodeId, String)>,
}

/// Why a node was not given what it asked for, shaped by what it would do next.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// Nobody there, or not whom we called.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection to a manager broke, or never came about.
    #[error("cannot reach the manager at {addr}: {why}")]
    Unreachable { addr: String, why: String, refusal: Option<TlsRefusal> },
    /// The cluster's answer is no.
    #[error(transparent)]
    Refused(Refusal),
    /// The node with the certificate that was shown is no member any more.
    #[error(transparent)]
    Removed(Refusal),
    /// The cluster cannot do it now. Trying later makes sense.
    #[error("{message}")]
    NotReady { message: String, hint: Option<String> },
    /// The manager failed.
    #[error("the manager failed: {message}")]
    Failed { message: String, hint: Option<String> },
    /// No manager is known.
    #[error("no manager of the cluster is known")]
    NoManagers,
    /// The answer makes no sense.
    #[error("the manager gave an answer that makes no sense")]
    Malformed(#[from] Malformed),
    #[error("the manager gave a root key that makes no sense")]
    RootKey(#[from] OpenError),
    /// The certificate is not from the cluster we know.
    #[error("the manager gave a certificate that the cluster's CA did not sign")]
    Certificate(#[from] BadCertificate),
    /// The certificate is not ours.
    #[error("the manager gave a certificate that is not for this node")]
    Identity(#[from] IdentityError),
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
}

impl EnrollError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { refusal: Some(refusal), .. } => refusal.hint(),
            Self::Connect(error) => match TlsRefusal::find(error) {
                Some(refusal) => refusal.hint(),
                None => {
                    "is the address right, is secretd running there as a manager, is the port open, is the token of that cluster, and do the clocks agree?"
                }
            },
            Self::Unreachable { .. } => "is secretd running there, and is the port open?",
            Self::Refused(refusal) | Self::Removed(refusal) => return refusal.hint.clone(),
            Self::NotReady { message: _, hint } | Self::Failed { message: _, hint } => {
                return hint.clone();
            }
            Self::NoManagers => "let it leave with `secretctl leave --force` and join again",
            Self::Malformed(_) | Self::RootKey(_) | Self::Certificate(_) | Self::Identity(_) => {
                "the nodes may run different versions of secretd"
            }
            Self::Tls(_) => return None,
        };
        Some(text.to_owned())
    }

    /// Whether the cluster says that this node is no member any more.
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Removed(_))
    }

    /// Whether a manager finds that our certificate is not good at this time, which is for its clock to say.
    pub fn is_about_time(&self) -> bool {
        let refusal = match self {
            Self::Unreachable { refusal, .. } => refusal.as_ref(),
            Self::Connect(error) => TlsRefusal::find(error),
            _ => None,
        };
        refusal == Some(&TlsRefusal::OursExpired)
    }

    /// Whether the same question may find another answer in a moment, perhaps at another manager.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unreachable { .. } | Self::NotReady { .. })
    }

    fn call(addr: &str, status: &Status) -> Self {
        if broken(status) {
            let told = || TlsRefusal::said(&chain(status).to_string());
            let refusal = TlsRefusal::find(status).cloned().or_else(told);
            let why = match &refusal {
                Some(refusal) => refusal.to_string(),
                None => chain(status).to_string(),
            };
            return Self::Unreachable { addr: addr.to_owned(), why, refusal };
        }
        if let Some(refusal) = refusal(status) {
            if removed_node(status).is_some() {
                return Self::Removed(refusal);
            }
            return Self::Refused(refusal);
        }
        let (message, hint) = (status.message().to_owned(), hint(status));
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
                Self::NotReady { message, hint }
            }
            Code::Unauthenticated => Self::Refused(Refusal::new(RefusalKind::Denied, message)),
            code if message.is_empty() => {
                Self::Failed { message: code.description().to_owned(), hint }
            }
            _ => Self::Failed { message, hint },
        }
    }
}

/// Joins the cluster whose CA the token pins, as a new node, by the first of the managers at `addrs` (`host:port`) that
/// takes it in.
///
/// # Errors
/// What the last of them said: nobody there or not that cluster; a token that is not good; no leader within 15 s; an
/// answer not to be believed. No address was given.
pub async fn join(
    addrs: &[String],
    token: &JoinToken,
    description: &NodeDescription,
    availability: Availability,
    clock: &Clock,
) -> Result<Enrolled, EnrollError> {
    // One key for all: a manager may have taken us in and its answer be lost, then the next one finds the same node.
    let key = PrivateKey::generate();
    let request = || v1::IssueRequest {
        token: Some(v1::Payload::carry(&token.carry())),
        csr: key.request(),
        description: Some(description.into()),
        availability: availability.code(),
    };
    let mut failure = EnrollError::NoManagers;
    for addr in addrs {
        match ask_in(addr, token, &request, clock).await {
            Ok((response, ca)) => {
                let enrolled = believe(key, response, std::slice::from_ref(&ca))?;
                let known = enrolled.roots.contains(&ca);
                return if known { Ok(enrolled) } else { Err(BadCertificate::Issuer.into()) };
            }
            Err(error) => {
                tracing::warn!(%addr, error = %chain(&error), "cannot join through this manager");
                failure = error;
            }
        }
    }
    Err(failure)
}

/// Asks one manager to be taken in, for as long as it says "not now"; returns its answer, and the CA it has.
async fn ask_in(
    addr: &str,
    token: &JoinToken,
    request: impl Fn() -> v1::IssueRequest,
    clock: &Clock,
) -> Result<(v1::IssueResponse, Vec<u8>), EnrollError> {
    let pki::Contact { channel, ca } = pki::first_contact(addr, token.ca, clock).await?;
    let started = clock.now();
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let status = match attempt(client(&channel).issue(request())).await {
            Ok(response) => return Ok((response, ca)),
            Err(status) => status,
        };
        // Asked again with the same key it is the same node, whether or not the first question was answered.
        let passing = matches!(
            status.code(),
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
        );
        if !(passing || broken(&status)) || clock.now().since(started) >= PATIENCE {
            return Err(EnrollError::call(addr, &status));
        }
        backoff.wait().await;
    }
}

/// Asks for the next certificate with the one that `tls` shows; the first manager that answers decides.
///
/// # Errors
/// [`EnrollError::is_removal`]: this node was removed. Else no manager could be asked, or not now.
pub async fn renew(tls: &Tls, managers: &[(NodeId, String)]) -> Result<Enrolled, EnrollError> {
    let key = PrivateKey::generate();
    let request = v1::RenewRequest { csr: key.request(), ..Default::default() };
    let response = ask(tls, managers, |mut ca| {
        let request = request.clone();
        async move { ca.renew(request).await }
    })
    .await?;
    next(key, response, tls.cluster(), tls.peer().map(|peer| peer.node))
}

/// As [`renew`], with a certificate that is not good at this time, which TLS shows no longer or not yet.
///
/// # Errors
/// As [`renew`].
pub async fn renew_expired(
    identity: &Identity,
    roots: &[Vec<u8>],
    managers: &[(NodeId, String)],
    clock: &Clock,
) -> Result<Enrolled, EnrollError> {
    let peer = identity.peer();
    let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
    let tls = Tls::new(peer.cluster, &roots, clock.clone())?;
    let key = PrivateKey::generate();
    let csr = key.request();
    let request = v1::RenewRequest {
        old_certificate: identity.chain().into_iter().next().unwrap_or_default(),
        old_key_signature: identity.renewal(&csr),
        csr,
    };
    let response = ask(&tls, managers, |mut ca| {
        let request = request.clone();
        async move { ca.renew(request).await }
    })
    .await?;
    next(key, response, peer.cluster, Some(peer.node))
}

/// What a new manager is given.
#[derive(Debug)]
pub struct Admitted {
    pub raft_id: u64,
    /// Its certificate carries the Raft id: the proof of the admission.
    pub identity: Identity,
    /// The CAs to trust, DER.
    pub roots: Vec<Vec<u8>>,
    /// The other managers. Nobody else who was admitted before has a say.
    pub fellows: Vec<RaftIdentity>,
    pub root: Key<Root>,
    /// What opens the root key on every manager.
    pub unlockers: Vec<Unlocker>,
    /// Whether it shall have a key file besides.
    pub key_files: bool,
}

/// Asks to be a manager that others reach at `addr` (`IP:PORT`), with the manager's certificate that `tls` shows.
///
/// Returns this node's Raft id, another each time, with a certificate that carries it, and the cluster's root key with the
/// ways to it.
///
/// # Errors
/// The node shall be no manager, or is no member any more; the manager cannot be asked, or not now.
pub async fn admit(
    tls: &Tls,
    manager: (NodeId, &str),
    addr: &str,
) -> Result<Admitted, EnrollError> {
    let (node, at) = manager;
    let managers = [(node, at.to_owned())];
    let key = PrivateKey::generate();
    let request = v1::AdmitRequest { addr: addr.to_owned(), csr: key.request() };
    let response = ask(tls, &managers, |mut ca| {
        let request = request.clone();
        async move { ca.admit(request).await }
    })
    .await?;
    let v1::AdmitResponse {
        raft_id,
        root_key,
        unlockers,
        key_files,
        certificates,
        ca_certificates: roots,
        managers: fellows,
    } = response;
    let leaf = certificates.first().ok_or(BadCertificate::Unreadable)?;
    let trusted: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
    let peer = pki::signed(tls.cluster(), &trusted, leaf)?;
    let ours = tls.peer().map(|peer| peer.node);
    if (Some(peer.node), peer.raft_id) != (ours, Some(raft_id)) {
        return Err(IdentityError::Mismatch.into());
    }
    let identity = Identity::new(key, certificates)?;
    let fellows = fellows.into_iter().map(TryInto::try_into);
    let fellows = fellows.collect::<Result<_, Malformed>>().map_err(EnrollError::Malformed)?;
    let root_key = root_key.ok_or(OpenError::Short)?.into_plaintext();
    let root = Key::import(&root_key)?;
    let unlockers = unlockers.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>();
    let unlockers = unlockers.map_err(EnrollError::Malformed)?;
    Ok(Admitted { raft_id, identity, roots, fellows, root, unlockers, key_files })
}

/// Tells one manager that this one is reached at `addr` (`IP:PORT`) from now on.
///
/// # Errors
/// The manager cannot be asked, or has nobody to write it down now; it keeps in mind what it heard all the same. This node
/// is no manager.
pub async fn relocate(tls: &Tls, manager: (NodeId, &str), addr: &str) -> Result<(), EnrollError> {
    let (node, at) = manager;
    let managers = [(node, at.to_owned())];
    let request = v1::MoveRequest { addr: addr.to_owned() };
    ask(tls, &managers, |mut ca| {
        let request = request.clone();
        async move { ca.r#move(request).await }
    })
    .await?;
    Ok(())
}

/// Asks one manager after the other for the root key that is offered to replace the present one.
///
/// # Errors
/// This node is no manager; none of them has it, or can be asked now; what was answered is another key.
pub async fn next_root(
    tls: &Tls,
    managers: &[(NodeId, String)],
    id: RootId,
) -> Result<Key<Root>, EnrollError> {
    let response =
        ask(
            tls,
            managers,
            |mut ca| async move { ca.root(v1::RootRequest { id: id.0.to_vec() }).await },
        )
        .await?;
    let v1::RootResponse { root_key } = response;
    let root = Key::<Root>::import(&root_key.ok_or(OpenError::Short)?.into_plaintext())?;
    if root.id(tls.cluster()) != id {
        return Err(OpenError::Mismatch.into());
    }
    Ok(root)
}

/// Says goodbye for this node: a manager is demoted, the node reported down.
///
/// # Errors
/// It is the last manager; no manager could be asked, or not now. [`EnrollError::is_removal`]: it is gone already.
pub async fn depart(tls: &Tls, managers: &[(NodeId, String)]) -> Result<(), EnrollError> {
    ask(tls, managers, |mut ca| async move { ca.depart(v1::DepartRequest { wiped: false }).await })
        .await?;
    Ok(())
}

/// Says, after the goodbye, that nothing of this node's tasks and of their payloads is left here.
///
/// # Errors
/// No manager could be asked, or not now; the node's row is gone.
pub async fn confirm_wiped(tls: &Tls, managers: &[(NodeId, String)]) -> Result<(), EnrollError> {
    ask(tls, managers, |mut ca| async move { ca.depart(v1::DepartRequest { wiped: true }).await })
        .await?;
    Ok(())
}

/// Asks one manager after the other until one answers yes or no.
// A plain closure: the future of an async one is not `Send` for every lifetime.
async fn ask<R, A>(
    tls: &Tls,
    managers: &[(NodeId, String)],
    call: impl Fn(CaClient<Channel>) -> A,
) -> Result<R, EnrollError>
where
    A: Future<Output = Result<Response<R>, Status>>,
{
    let mut last = EnrollError::NoManagers;
    for (node, addr) in managers {
        let channel = match pki::connect(tls, addr, *node).await {
            Ok(channel) => channel,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        match attempt(call(client(&channel))).await {
            Ok(response) => return Ok(response),
            Err(status) => match EnrollError::call(addr, &status) {
                refused @ (EnrollError::Refused(_) | EnrollError::Removed(_)) => {
                    return Err(refused);
                }
                other => last = other,
            },
        }
    }
    Err(last)
}

fn client(channel: &Channel) -> CaClient<Channel> {
    CaClient::new(channel.clone())
}

async fn attempt<R>(call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, Status> {
    match tokio::time::timeout(ATTEMPT, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the manager did not answer in time")),
    }
}

/// Takes a renewed certificate, which must be one of the same node.
fn next(
    key: PrivateKey,
    response: v1::IssueResponse,
    cluster: ClusterId,
    node: Option<NodeId>,
) -> Result<Enrolled, EnrollError> {
    // The manager was judged by TLS under the CAs we trust, so it may say which are to be trusted from now on.
    let roots = response.ca_certificates.clone();
    let enrolled = believe(key, response, &roots)?;
    if enrolled.cluster != cluster {
        return Err(BadCertificate::Cluster(enrolled.cluster).into());
    }
    match node {
        Some(node) if node != enrolled.node => Err(IdentityError::Mismatch.into()),
        _ => Ok(enrolled),
    }
}

/// Takes an answer if its certificate is for our key, says the same as the answer, and is signed by one of `roots`.
fn believe(
    key: PrivateKey,
    response: v1::IssueResponse,
    roots: &[Vec<u8>],
) -> Result<Enrolled, EnrollError> {
    let v1::IssueResponse { node_id, role, certificates, ca_certificates, cluster_id, managers } =
        response;
    let bad = |field: &'static str| move |fault: BadId| Malformed::new(fault).within(field);
    let node: NodeId = node_id.parse().map_err(bad("node_id"))?;
    let cluster: ClusterId = cluster_id.parse().map_err(bad("cluster_id"))?;
    let role = Role::from_code(role).map_err(|fault| fault.within("role"))?;
    let managers = managers
        .into_iter()
        .map(|v1::ManagerAddr { node_id, addr }| {
            Ok((node_id.parse().map_err(bad("managers"))?, addr))
        })
        .collect::<Result<_, Malformed>>()?;
    let leaf = certificates.first().ok_or(BadCertificate::Unreadable)?;
    let trusted: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
    let peer = pki::signed(cluster, &trusted, leaf)?;
    if (peer.node, peer.role) != (node, role) {
        return Err(IdentityError::Mismatch.into());
    }
    let identity = Identity::new(key, certificates)?;
    Ok(Enrolled { node, cluster, role, identity, roots: ca_certificates, managers })
}
