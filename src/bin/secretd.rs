//! The node: everything is in the library.

#[global_allocator]
static ALLOCATOR: secretd::kit::os::Wiping = secretd::kit::os::Wiping;

fn main() -> std::process::ExitCode {
    // A task's shim is this very program, started again.
    secretd::agent::runtime::process::shim::main_if_asked();
    secretd::node::main(std::env::args_os())
}
