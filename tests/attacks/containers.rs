//! Containers and images that want more than their own files.
