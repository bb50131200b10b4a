//! What this machine says of itself.

use super::runtime::{EngineInfo, Runtime};
use crate::model::{
    description::{hostname_from, labels_that_fit},
    node::NodeDescription,
};
use std::time::Duration;

/// How long the engine may take to tell its version: an engine that hangs must not keep the node from its manager.
const ANSWER: Duration = Duration::from_secs(5);

/// Describes the machine and its runtime. An engine that does not answer leaves its fields empty: the node is there
/// all the same, and its tasks say what they wait for.
pub(super) async fn describe(runtime: &dyn Runtime) -> NodeDescription {
    let EngineInfo { version: engine_version, labels: engine_labels } =
        match tokio::time::timeout(ANSWER, runtime.info()).await {
            Ok(Ok(info)) => info,
            Ok(Err(_)) | Err(_) => EngineInfo::default(),
        };
    let uname = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    NodeDescription {
        hostname: hostname_from(&uname.nodename().to_string_lossy()),
        os: uname.sysname().to_string_lossy().to_lowercase(),
        arch: uname.machine().to_string_lossy().into_owned(),
        nano_cpus: std::thread::available_parallelism()
            .map_or(1, |cpus| u64::try_from(cpus.get()).expect("CPUs can be counted"))
            .saturating_mul(1_000_000_000),
        memory_bytes: memory.totalram.saturating_mul(u64::from(memory.mem_unit)),
        runtime: runtime.name().to_owned(),
        engine_version,
        engine_labels: labels_that_fit(engine_labels),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
