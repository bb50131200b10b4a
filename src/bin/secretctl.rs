//! The operator's hand: everything is in the library.

fn main() -> std::process::ExitCode {
    // The demo's tasks have shims, which are this very program.
    secretd::agent::runtime::process::shim::main_if_asked();
    secretd::ctl::main()
}
