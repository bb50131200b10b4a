//! The checks that give payloads away. A check that passed is a value, and opening the payload consumes it.

use super::State;
use crate::{
    crypto::{
        OpenError,
        context::Context,
        keyring::Keyring,
        plaintext::Plaintext,
        proof::{Gate, Proof, Proofs},
        seal::Sealed,
    },
    kit::id::NodeId,
    model::{
        object::{Kind, Object},
        task::ObjectVersion,
    },
};
use std::sync::Arc;

/// A state that was confirmed to be the newest when it was read; only such a one may decide who gets what.
#[derive(Debug, Clone)]
pub struct Linear(Arc<State>);

/// The state was confirmed by a quorum after the question was asked. One place of the code can make the proof.
pub trait Confirms {
    type Proof;
}

/// Who confirms. [`Confirms`] is implemented for it once, where the majority is asked.
#[derive(Debug)]
pub enum Quorum {}

/// Proof that a payload may be opened, whoever it is for; what the keyring asks for.
#[derive(Debug)]
#[must_use = "an opening that is not used should not have been asked for"]
pub struct Opening {
    context: Context,
}

/// Proof that a node may have a version now. Opening the payload uses it up.
#[derive(Debug)]
#[must_use = "a release that is not used should not have been asked for"]
pub struct Release {
    opening: Opening,
}

/// Proof that a config's version may be shown to an operator. There is none for secrets.
#[derive(Debug)]
#[must_use = "a disclosure that is not used should not have been asked for"]
pub struct Disclosure {
    opening: Opening,
}

/// Proof that there is a version to compare with. Tells an operator whether a payload at hand is the stored one.
#[derive(Debug)]
#[must_use = "a comparison that is not used should not have been asked for"]
pub struct Comparison {
    context: Context,
}

/// The one answer to what the keyring asks for.
impl Proofs for Gate {
    type Opening = Opening;
    type Comparing = Comparison;
}

impl Proof for Opening {
    fn into_context(self) -> Context {
        self.context
    }
}

impl Proof for Comparison {
    fn into_context(self) -> Context {
        self.context
    }
}

impl Release {
    /// Opens the payload that was released.
    ///
    /// # Errors
    /// [`OpenError`]: the body is not the one that was sealed for this version, or its term is not in the keyring.
    pub fn open(self, keyring: &Keyring, sealed: &Sealed) -> Result<Plaintext, OpenError> {
        keyring.open_sealed(self.opening, sealed)
    }
}

impl Disclosure {
    /// Opens the config's payload.
    ///
    /// # Errors
    /// [`OpenError`]: the body is not the one that was sealed for this version, or its term is not in the keyring.
    pub fn open(self, keyring: &Keyring, sealed: &Sealed) -> Result<Plaintext, OpenError> {
        keyring.open_sealed(self.opening, sealed)
    }
}

impl Comparison {
    /// Tells whether the stored payload is `plain`; nothing of it comes out.
    ///
    /// # Errors
    /// [`OpenError`]: the body is not the one that was sealed for this version, or its term is not in the keyring.
    pub fn is_same(
        self,
        keyring: &Keyring,
        sealed: &Sealed,
        plain: &Plaintext,
    ) -> Result<bool, OpenError> {
        keyring.is_same(self, sealed, plain)
    }
}

/// Which rule forbids to give a payload away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("node {0} is not a member of the cluster")]
    UnknownNode(NodeId),
    #[error("there is no {} {}", .0.object, .0.version)]
    UnknownVersion(ObjectVersion),
    #[error("node {node} runs no task that refers to {} {}", what.object, what.version)]
    NoLiveTask { node: NodeId, what: ObjectVersion },
    #[error("secret {0} is never shown, only delivered")]
    Secret(crate::kit::id::ObjectId),
}

impl Linear {
    /// Takes a state that was confirmed.
    pub fn new(state: Arc<State>, _confirmed: <Quorum as Confirms>::Proof) -> Self {
        Self(state)
    }

    pub fn state(&self) -> &Arc<State> {
        &self.0
    }

    /// Checks that `node` is a member and has a live task that was given `what`.
    ///
    /// # Errors
    /// [`Denied`] names the rule that failed.
    pub fn release(&self, node: NodeId, what: &ObjectVersion) -> Result<Release, Denied> {
        if self.0.member(node).is_none() {
            return Err(Denied::UnknownNode(node));
        }
        let (_, context) = self.find(what)?;
        let live =
            self.0.tasks_on(node).any(|task| task.holds_payloads() && task.versions.contains(what));
        if !live {
            return Err(Denied::NoLiveTask { node, what: *what });
        }
        Ok(Release { opening: Opening { context } })
    }

    /// Checks that `what` is a config, which operators may see.
    ///
    /// # Errors
    /// [`Denied`] names the rule that failed.
    pub fn disclose(&self, what: &ObjectVersion) -> Result<Disclosure, Denied> {
        let (object, context) = self.find(what)?;
        match object.kind {
            Kind::Config => Ok(Disclosure { opening: Opening { context } }),
            Kind::Secret => Err(Denied::Secret(what.object)),
        }
    }

    /// Checks that there is `what`, to compare its payload with one at hand. Secrets too: it gives away no more than
    /// a refused update does.
    ///
    /// # Errors
    /// [`Denied`] names the rule that failed.
    pub fn compare(&self, what: &ObjectVersion) -> Result<Comparison, Denied> {
        let (_, context) = self.find(what)?;
        Ok(Comparison { context })
    }

    /// Finds a version and what its payload is sealed to.
    fn find(&self, what: &ObjectVersion) -> Result<(&Arc<Object>, Context), Denied> {
        let unknown = Denied::UnknownVersion(*what);
        let cluster = self.0.cluster().ok_or(unknown)?;
        let object = self.0.object_by_id(what.object).ok_or(unknown)?;
        let version = object.version(what.version).ok_or(unknown)?;
        Ok((object, object.context(cluster.id, version.number)))
    }
}

#[cfg(test)]
impl Linear {
    /// Takes it on trust that `state` was confirmed.
    pub(crate) fn assume(state: Arc<State>) -> Self {
        Self(state)
    }
}
