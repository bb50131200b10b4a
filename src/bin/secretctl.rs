//! The operator's hand: everything is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: secretd::kit::os::Wiping = secretd::kit::os::Wiping;

fn main() -> ExitCode {
    // `demo` runs a node by starting this very program again, and that node's tasks are started the same way.
    secretd::agent::runtime::process::shim::main_if_asked();
    let mut args = std::env::args_os();
    let program = args.next();
    if args.next().is_some_and(|first| first == secretd::ctl::DAEMON) {
        return secretd::node::main(program.into_iter().chain(args));
    }
    secretd::ctl::main()
}
