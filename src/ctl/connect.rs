//! What every command is given: where the daemon is, and what time it is; and how its refusals become failures.

use super::exit::{Code, Failure};
use crate::{
    client::{Client, ClientError, Trust},
    kit::{chain::chain, clock::Clock},
    model::refusal::RefusalKind,
    wire::v1::LocalState,
};

#[derive(Debug)]
pub(crate) struct Context {
    /// `unix:///path`, as given by `-H`.
    pub(crate) host: String,
    /// Who may serve it.
    pub(crate) trust: Trust,
    pub(crate) clock: Clock,
}

impl Context {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// No address, nobody there, not let in.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect_to(&self.host, self.trust).await?)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = error.hint();
        let code = match &error {
            ClientError::Host(_) => Code::Usage,
            ClientError::Unreachable { .. } => Code::Unreachable,
            ClientError::Impostor { .. } | ClientError::Denied { .. } => Code::Denied,
            ClientError::NotReady { .. } => Code::NotReady,
            ClientError::Failed { .. } => Code::Other,
            ClientError::Refused(refusal) => return refusal.clone().into(),
        };
        let failure = Self::new(code, chain(&error).to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Turns an error of a call into a failure; where the node itself is the reason (in no cluster, locked), says that
/// instead of what followed from it.
pub(crate) async fn explain(client: &Client, error: ClientError) -> Failure {
    let node_may_be_the_reason = match &error {
        ClientError::NotReady { .. } | ClientError::Failed { .. } => true,
        ClientError::Refused(refusal) => refusal.kind == RefusalKind::Precondition,
        ClientError::Host(_)
        | ClientError::Unreachable { .. }
        | ClientError::Impostor { .. }
        | ClientError::Denied { .. } => false,
    };
    if node_may_be_the_reason && let Ok(status) = client.status().await {
        let not_ready = |text: &str| Failure::new(Code::NotReady, text);
        match status.state() {
            LocalState::Inactive => {
                return not_ready("this node belongs to no cluster")
                    .hint("found one here with: secretctl init");
            }
            LocalState::Locked => {
                return not_ready("this node is locked: nobody has opened its keys yet").hint(
                    "open them with `secretctl unlock`; `secretctl status` lists what opens them",
                );
            }
            LocalState::Error => {
                return not_ready(&format!("this node could not come up: {}", status.error))
                    .hint("the daemon's log says more");
            }
            LocalState::Damaged => {
                return not_ready(&format!("this manager's store is damaged: {}", status.error))
                    .hint("fill it from the other managers with: secretctl refill");
            }
            LocalState::Unspecified | LocalState::Pending | LocalState::Active => {}
        }
    }
    error.into()
}
