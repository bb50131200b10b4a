//! What this machine says of itself.

use super::runtime::{EngineInfo, Runtime};
use crate::model::node::NodeDescription;

/// Describes the machine and its runtime. An engine that does not answer leaves its fields empty: the node is there
/// all the same, and its tasks say what they wait for.
pub(super) async fn describe(runtime: &dyn Runtime) -> NodeDescription {
    let EngineInfo { version: engine_version, labels: engine_labels } =
        runtime.info().await.unwrap_or_default();
    let uname = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    NodeDescription {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        os: uname.sysname().to_string_lossy().to_lowercase(),
        arch: uname.machine().to_string_lossy().into_owned(),
        nano_cpus: std::thread::available_parallelism()
            .map_or(1, |cpus| u64::try_from(cpus.get()).expect("CPUs can be counted"))
            .saturating_mul(1_000_000_000),
        memory_bytes: u64::from(memory.totalram).saturating_mul(u64::from(memory.mem_unit)),
        runtime: runtime.name().to_owned(),
        engine_version,
        engine_labels,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
