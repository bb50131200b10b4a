//! The book: how the house hangs together, for those who work in it and those who must trust it.
//!
//! - [`life_of_a_secret`]: from `secretctl create` to a file in a container, and out again.
//! - [`identity`]: how nodes join, prove themselves, change their CA, and go.
//! - [`keys`]: the keyring and its terms, and how they are rotated.
//! - [`threat_model`]: what is promised, against whom, and what is not.
//! - [`disks`]: how we try that nothing is lost, whatever the disk does.
//! - [`recovering`]: what to do when something is damaged, lost, or lost for ever.
//! - [`formats`]: what lies on disk, byte by byte.
//! - [`decisions`]: choices that are expensive to change, with their price.
//! - [`glossary`]: one word for each idea.

pub mod decisions;
pub mod disks;
pub mod formats;
pub mod glossary;
pub mod identity;
pub mod keys;
pub mod life_of_a_secret;
pub mod recovering;
pub mod threat_model;
