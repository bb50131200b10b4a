//! What this machine says of itself, and whether it could start a task.

use super::runtime::{EngineInfo, Runtime};
use crate::model::{
    description::{hostname_from, labels_that_fit, reason_that_fits},
    node::NodeDescription,
};
use std::time::Duration;

/// How long the engine may take to tell its version: an engine that hangs must not keep the node from its manager.
const ANSWER: Duration = Duration::from_secs(5);

/// Describes the machine and its runtime. With an engine that does not answer the node is there all the same and says
/// why it cannot work: it gets no new tasks, and loses those it has if that lasts.
pub(super) async fn describe(runtime: &dyn Runtime) -> NodeDescription {
    let asked = tokio::time::timeout(ANSWER, runtime.info()).await;
    let (info, runtime_error) = match asked {
        Ok(Ok(info)) => (info, String::new()),
        Ok(Err(error)) => (EngineInfo::default(), error.to_string()),
        Err(_) => (EngineInfo::default(), format!("it did not answer within {ANSWER:?}")),
    };
    let EngineInfo { version: engine_version, labels: engine_labels } = info;
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
        runtime_error: reason_that_fits(&runtime_error),
    }
}

/// Whether the managers must hear of it. Not of another reason why the runtime does not work: it may be worded anew each
/// time.
pub(super) fn has_changed(told: &NodeDescription, now: &NodeDescription) -> bool {
    let works = |it: &NodeDescription| it.runtime_error.is_empty();
    match (works(told), works(now)) {
        (true, true) => told != now,
        (false, false) => false,
        (true, false) | (false, true) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_comes_or_goes_is_told_and_another_reason_is_not() {
        let up = NodeDescription { hostname: "a".into(), ..NodeDescription::default() };
        let down = NodeDescription { runtime_error: "refused".into(), ..up.clone() };
        let hung = NodeDescription { runtime_error: "hung".into(), ..up.clone() };
        assert!(has_changed(&up, &down) && has_changed(&down, &up));
        assert!(!has_changed(&down, &hung) && !has_changed(&up, &up));
        let renamed = NodeDescription { hostname: "b".into(), ..up.clone() };
        assert!(has_changed(&up, &renamed));
    }
}
