//! openraft's own storage suite, run against our log and state machine.

use super::{
    log::{LogIdentity, LogSizes, LogStore},
    machine::{Machine, MachineHandle},
    testing::identity,
    types::{StorageError, TypeConfig},
};
use openraft::testing::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

struct Builder(Arc<LogIdentity>);

/// Closes what one case used.
struct Guard(
    LogStore,
    MachineHandle,
    #[expect(dead_code, reason = "removed when dropped")] TempDir,
);

impl Drop for Guard {
    fn drop(&mut self) {
        self.1.close();
        self.0.close();
    }
}

impl StoreBuilder<TypeConfig, LogStore, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, Machine), StorageError> {
        let dir = TempDir::new().unwrap();
        // Small sizes, so that the suite crosses segments and reads back from the disk.
        let sizes = LogSizes {
            segment: 8 << 10,
            first_segment: 4 << 10,
            cache: 512,
            read: 1 << 10,
            reserve: 0,
            margin: 0,
        };
        let log = LogStore::open(&dir.path().join("log"), self.0.clone(), sizes).unwrap();
        let (machine, handle, _) =
            Machine::open(&dir.path().join("state.redb"), self.0.clone()).unwrap();
        Ok((Guard(log.clone(), handle, dir), log, machine))
    }
}

#[test]
fn the_log_and_the_state_machine_pass_openrafts_suite() {
    Suite::test_all(Builder(identity(1))).unwrap();
}
