//! The only place with `unsafe`: the mount, namespace and process calls that have no safe wrapper.
