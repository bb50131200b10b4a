//! Between model and messages, both ways. Structs are taken apart in full, so a new field stops the build here.

mod malformed;

pub use malformed::Malformed;
