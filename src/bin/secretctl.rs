//! The operator's hand: everything is in the library.

fn main() -> std::process::ExitCode {
    secretd::ctl::main()
}
