//! What there is and the rules each thing obeys by itself: plain values, no I/O, no clock.
//!
//! Rules that need more than one thing (uniqueness, in-use, look-up) belong to `store`.

pub mod assignment;
pub mod cluster;
pub mod command;
pub mod constraint;
pub mod description;
pub mod destroyed;
pub mod filter;
pub mod node;
pub mod object;
pub mod reference;
pub mod refusal;
mod rules;
pub mod service;
pub mod sightings;
pub mod task;

use crate::kit::{clock::Timestamp, limits::LABELS_SIZE};
use std::collections::BTreeMap;

/// Labels: any keys and values, together at most `kit::limits::LABELS_SIZE` bytes.
pub type Labels = BTreeMap<String, String>;

/// The labels of one thing are too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("labels must be at most {LABELS_SIZE} bytes together")]
pub struct BadLabels;

/// Checks the labels of one thing against `LABELS_SIZE`.
///
/// # Errors
/// [`BadLabels`]: they are larger.
pub fn check_labels(labels: &Labels) -> Result<(), BadLabels> {
    let size: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size <= LABELS_SIZE { Ok(()) } else { Err(BadLabels) }
}

/// What the store keeps about every stored thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Grows with each change to the thing; an update names the one it saw.
    pub index: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Meta {
    /// A thing made at `at`; its index is 1.
    pub fn new(at: Timestamp) -> Self {
        Self { index: 1, created_at: at, updated_at: at }
    }

    /// The same thing after a change at `at`.
    #[must_use]
    pub fn changed(self, at: Timestamp) -> Self {
        Self { index: self.index + 1, updated_at: at, ..self }
    }
}
