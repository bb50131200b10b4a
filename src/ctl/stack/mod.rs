//! The commands on stacks.

pub(crate) mod args;

use super::{connect::Context, exit::Failure};
use args::StackCommand;

/// Carries out one `secretctl stack …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(_command: StackCommand, _context: &Context) -> Result<(), Failure> {
    Err(Failure::usage("stacks are not there yet"))
}
