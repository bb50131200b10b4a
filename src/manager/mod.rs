//! What a manager does: the control API, the dispatcher, the CA service, the scheduler, the orchestrator.

pub mod control;
pub mod dispatcher;

mod answers;

#[cfg(test)]
pub(crate) mod testing;
