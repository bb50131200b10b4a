//! What lies on disk, byte by byte.
