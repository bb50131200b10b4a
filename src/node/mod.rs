//! One process, start to drain.
