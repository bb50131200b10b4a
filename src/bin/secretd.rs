fn main() {
    secretd::agent::runtime::process::shim::main_if_asked();
}
