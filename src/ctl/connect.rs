//! What every command is given: where the daemon is, and what time it is.

use crate::kit::clock::Clock;

#[derive(Debug)]
pub(crate) struct Context {
    /// `unix:///path`, as given by `-H`.
    pub(crate) host: String,
    pub(crate) clock: Clock,
}
