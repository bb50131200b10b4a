//! The commands of secretctl.
