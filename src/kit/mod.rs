//! Small things every floor needs: ids, names, time, limits, back-off, tasks. Knows nothing of secrets.

pub mod backoff;
pub mod chain;
pub mod clock;
pub mod duration;
pub mod failpoint;
pub mod hex;
pub mod id;
pub mod limits;
pub mod name;
pub mod os;
pub mod owner;
pub mod prompt;
pub mod source;
pub mod task;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod told;
#[cfg(test)]
pub(crate) mod vectors;
