//! The operator's hand: everything is in the library.

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    // The demo's node is this very program, and so are the shims of its tasks.
    secretd::agent::runtime::process::shim::main_if_asked();
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| OsString::from("secretctl"));
    if words.next().is_some_and(|word| word == "__daemon") {
        return secretd::node::main([program].into_iter().chain(words));
    }
    secretd::ctl::main()
}
