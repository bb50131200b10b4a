//! The ways to the cluster's root key, as operators see and change them.

use super::{ControlService, request_id};
use crate::{
    crypto::{
        key::{Key, RootId, Unlock},
        plaintext::Plaintext,
        unlock::{
            Kind, Method, Unlocker, code,
            command::Helper,
            passphrase::{self, Cost},
            shares,
        },
    },
    kit::{chain::chain, id::UnlockerId},
    model::{
        cluster::Cluster,
        command::Command,
        refusal::{Refusal, RefusalKind},
    },
    wire::v1,
};
use std::{path::Path, sync::Arc};
use tonic::Status;

/// Something that an operator can take away.
enum Named {
    /// The key files of all managers.
    KeyFiles,
    One(UnlockerId),
}

/// An unlocker in the making, and what its keeper is to be given.
struct Made {
    method: Method,
    key: Key<Unlock>,
    codes: Vec<Plaintext>,
}

impl ControlService {
    pub(super) async fn unlockers(&self) -> Result<Vec<v1::UnlockerEntry>, Status> {
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
        let files = cluster.key_files.then(key_files);
        Ok(files.into_iter().chain(cluster.unlockers.iter().map(entry)).collect())
    }

    /// Adds one and answers what opens it, this once; the store and the log never see it.
    pub(super) async fn make_unlocker(
        &self,
        request: v1::AddUnlockerRequest,
    ) -> Result<v1::AddUnlockerResponse, Status> {
        let v1::AddUnlockerRequest { request, kind, passphrase, shares, threshold, program } =
            request;
        request_id(request)?;
        let kind = Kind::from_name(&kind).ok_or_else(|| {
            let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            Refusal::invalid(format!("there is no kind of unlocker called {kind:?}"))
                .hint(format!("there are {}", names.join(", ")))
        })?;
        if kind == Kind::File {
            let state = self.newest().await?;
            let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
            self.change_unlockers(Vec::new(), Vec::new(), Some(true), cluster.root.id).await?;
            return Ok(v1::AddUnlockerResponse { unlocker: Some(key_files()), codes: Vec::new() });
        }
        let id = UnlockerId::random();
        let words = passphrase.map(v1::Payload::into_plaintext);
        let make = move || make(kind, id, words, (shares, threshold), &program);
        // Argon2 and commands take their time.
        let made = tokio::task::spawn_blocking(make).await;
        let Made { method, key, codes } =
            made.map_err(|_| Status::internal("the unlocker could not be made"))??;
        let at = self.newest().await?.cluster().map(|cluster| cluster.root.id);
        let root = at.and_then(|at| self.keys.root(at));
        let root = root.ok_or_else(|| Status::unavailable("this manager lacks the root key"))?;
        let unlocker = Unlocker::new(self.cluster(), id, method, &key, &root);
        let shown = entry(&unlocker);
        self.change_unlockers(vec![unlocker], Vec::new(), None, root.id(self.cluster())).await?;
        let codes = codes.iter().map(v1::Payload::carry).collect();
        Ok(v1::AddUnlockerResponse { unlocker: Some(shown), codes })
    }

    pub(super) async fn drop_unlocker(
        &self,
        request: v1::RemoveUnlockerRequest,
    ) -> Result<v1::UnlockerEntry, Status> {
        let v1::RemoveUnlockerRequest { request, unlocker } = request;
        request_id(request)?;
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
        let (shown, remove, files) = match find(cluster, &unlocker)? {
            Named::KeyFiles => (key_files(), Vec::new(), Some(false)),
            Named::One(id) => {
                let found = cluster.unlockers.iter().find(|one| one.id == id);
                (found.map(entry).unwrap_or_default(), vec![id], None)
            }
        };
        self.change_unlockers(Vec::new(), remove, files, cluster.root.id).await?;
        Ok(shown)
    }

    async fn change_unlockers(
        &self,
        add: Vec<Unlocker>,
        remove: Vec<UnlockerId>,
        key_files: Option<bool>,
        root: RootId,
    ) -> Result<(), Status> {
        // Without a request's id: a second answer would show codes of an unlocker that is not the one that was stored.
        self.propose(None, Command::ChangeUnlockers { add, remove, key_files, root }).await?;
        Ok(())
    }
}

fn make(
    kind: Kind,
    id: UnlockerId,
    words: Option<Plaintext>,
    (shares, threshold): (u32, u32),
    program: &str,
) -> Result<Made, Refusal> {
    let coded = |method| {
        let key = Key::random();
        let codes = vec![code::print_key(id, &key)];
        Made { method, key, codes }
    };
    match kind {
        // Made on each manager, not here.
        Kind::File => Err(Refusal::invalid("key files are not made one by one")),
        Kind::Tpm2 => Err(Refusal::invalid("a TPM belongs to one machine, and its node keeps it")
            .hint("say `secretctl unlocker add tpm2` on that node")),
        Kind::Autolock => Ok(coded(Method::Autolock)),
        Kind::Recovery => Ok(coded(Method::Recovery)),
        Kind::Passphrase => {
            let words = words.unwrap_or_else(|| Plaintext::new(Vec::new()));
            if words.len() < passphrase::SHORTEST {
                let text =
                    format!("a passphrase must have at least {} characters", passphrase::SHORTEST);
                return Err(Refusal::invalid(text).hint("four or five words that do not belong together are easy to remember and hard to guess"));
            }
            let cost = Cost::new();
            let key = cost.key(&words).map_err(|bad| Refusal::invalid(bad.to_string()))?;
            Ok(Made { method: Method::Passphrase(cost), key, codes: Vec::new() })
        }
        Kind::Shamir => {
            let fits = |count: u32| u8::try_from(count).ok().filter(|n| *n >= shares::FEWEST);
            let (Some(shares), Some(threshold)) = (fits(shares), fits(threshold)) else {
                let text = format!("a key has {} to {} shares", shares::FEWEST, shares::MOST);
                return Err(Refusal::invalid(text).hint("say --shares N and --threshold K"));
            };
            if threshold > shares {
                let text = format!("{threshold} shares cannot be needed where there are {shares}");
                return Err(Refusal::invalid(text));
            }
            let key = Key::random();
            let dealt = shares::split(&key, shares, threshold);
            let codes = dealt.iter().map(|share| code::print_share(id, share)).collect();
            Ok(Made { method: Method::Shamir { shares, threshold }, key, codes })
        }
        Kind::Command => {
            let key = Key::random();
            let helper = Helper::wrap(Path::new(program), &key).map_err(|error| {
                Refusal::new(RefusalKind::Precondition, chain(&error).to_string())
                    .hint("every manager needs the program at this path; the manual says what it is asked")
            })?;
            Ok(Made { method: Method::Command(helper), key, codes: Vec::new() })
        }
    }
}

/// Looks one up by id, by the start of its id, or by a kind of which there is only one.
fn find(cluster: &Arc<Cluster>, text: &str) -> Result<Named, Refusal> {
    if text == Kind::File.as_str() {
        return match cluster.key_files {
            true => Ok(Named::KeyFiles),
            false => Err(Refusal::not_found("there are no key files")),
        };
    }
    let fits = |unlocker: &&Unlocker| {
        unlocker.kind().as_str() == text
            || (!text.is_empty() && unlocker.id.as_str().starts_with(text))
    };
    let mut found = cluster.unlockers.iter().filter(fits);
    match (found.next(), found.count()) {
        (None, _) => Err(Refusal::not_found(format!("unlocker {text} not found"))
            .hint("see them with `secretctl unlocker ls`")),
        (Some(one), 0) => Ok(Named::One(one.id)),
        (Some(_), more) => Err(Refusal::invalid(format!(
            "unlocker {text} is ambiguous ({} matches found)",
            more + 1
        ))
        .hint("give the whole id")),
    }
}

fn key_files() -> v1::UnlockerEntry {
    v1::UnlockerEntry { kind: Kind::File.to_string(), ..v1::UnlockerEntry::default() }
}

fn entry(unlocker: &Unlocker) -> v1::UnlockerEntry {
    let mut entry = v1::UnlockerEntry {
        id: unlocker.id.to_string(),
        kind: unlocker.kind().to_string(),
        ..v1::UnlockerEntry::default()
    };
    match &unlocker.method {
        Method::File
        | Method::Autolock
        | Method::Recovery
        | Method::Passphrase(_)
        | Method::Tpm2(_) => {}
        Method::Shamir { shares, threshold } => {
            entry.shares = u32::from(*shares);
            entry.threshold = u32::from(*threshold);
        }
        Method::Command(helper) => entry.program = helper.program.display().to_string(),
    }
    entry
}
