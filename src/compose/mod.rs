//! Compose files: load, interpolate, merge, validate, convert to service specs. Pure.
