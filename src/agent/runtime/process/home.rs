//! A task's directory: what its shim writes down so that any later run of the agent can find the task again.
//!
//! `<run-dir>/process/<task id>/`, 0700: `record` (who supervises it, how far it is), `exit` (how it ended), `log` and
//! `log.1` (its output), `control` (the shim's socket). No payload is ever written here.

use crate::{
    agent::runtime::{ContainerState, Exit},
    kit::{id::TaskId, os::ProcessId},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

/// The shim's note on itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Pids and start times mean nothing after another boot.
    pub(super) boot: String,
    pub(super) shim: ProcessId,
    /// Pid 1 of the sandbox, seen from here.
    pub(super) init: ProcessId,
    pub(super) running: bool,
}

/// How the task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) note: String,
}

impl From<Ended> for Exit {
    fn from(Ended { code, note }: Ended) -> Self {
        Self { code, note }
    }
}

/// What a directory says of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is no directory.
    Nothing,
    /// A directory without a record: a creation that is going on, or one that was cut off.
    Unfinished,
    Alive(Record),
    Ended(Exit),
}

/// A living shim, held by a descriptor so that it cannot be mistaken.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) shim: OwnedFd,
    pub(super) init: ProcessId,
}

/// The directory of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    task: TaskId,
    path: PathBuf,
}

impl Home {
    pub(super) fn new(root: &Path, task: TaskId) -> Self {
        Self { task, path: root.join(task.as_str()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory; false if it is there already.
    pub(super) fn make(&self) -> io::Result<bool> {
        match fs::DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads what the shim wrote, and looks whether it still lives.
    pub(super) fn look(&self) -> io::Result<Seen> {
        if let Some(ended) = read::<Ended>(&self.path.join(EXIT))? {
            return Ok(Seen::Ended(ended.into()));
        }
        let Some(record) = read::<Record>(&self.path.join(RECORD))? else {
            let there = self.path.try_exists()?;
            return Ok(if there { Seen::Unfinished } else { Seen::Nothing });
        };
        if record.boot == boot()? && record.shim.open()?.is_some() {
            return Ok(Seen::Alive(record));
        }
        // It may have ended between the two looks, and then it has left its word.
        if let Some(ended) = read::<Ended>(&self.path.join(EXIT))? {
            return Ok(Seen::Ended(ended.into()));
        }
        // With its supervisor gone the kernel has killed the task (PDEATHSIG), if the machine itself did not stop.
        let note = "killed: the process that supervised it is gone".to_owned();
        Ok(Seen::Ended(Exit { code: 137, note }))
    }

    /// The shim, if it still lives; it may have noted the task's exit already.
    pub(super) fn supervisor(&self) -> io::Result<Option<Supervisor>> {
        match read::<Record>(&self.path.join(RECORD))? {
            Some(record) if record.boot == boot()? => {
                Ok(record.shim.open()?.map(|shim| Supervisor { shim, init: record.init }))
            }
            _ => Ok(None),
        }
    }

    /// Waits for a shim of ours that has ended, or nobody would: it is our child unless the agent was restarted since.
    pub(super) fn reap(&self) -> io::Result<()> {
        match read::<Record>(&self.path.join(RECORD))? {
            Some(record) if record.boot == boot()? => record.shim.reap(),
            _ => Ok(()),
        }
    }

    /// The state in the words of the trait; none if there is no container.
    pub(super) fn state(&self) -> io::Result<Option<ContainerState>> {
        Ok(match self.look()? {
            Seen::Nothing | Seen::Unfinished => None,
            Seen::Alive(record) => Some(self.running(&record)),
            Seen::Ended(exit) => Some(ContainerState::Ended(exit)),
        })
    }

    fn running(&self, record: &Record) -> ContainerState {
        if record.running {
            ContainerState::Running {
                container_id: self.task.to_string(),
                pid: u32::try_from(record.init.pid).unwrap_or(0),
            }
        } else {
            ContainerState::Created
        }
    }
}

const RECORD: &str = "record";
const EXIT: &str = "exit";

/// The shim's side: it lives in the directory, so the names are enough, and a directory that was taken away stays so.
pub(super) fn note_record(record: &Record) -> io::Result<()> {
    write(RECORD, record)
}

/// As [`note_record`].
pub(super) fn note_exit(ended: &Ended) -> io::Result<()> {
    write(EXIT, ended)
}

/// Names this boot of the machine.
pub(super) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A reader sees the old content or the new, never a part. No fsync: after a crash of the machine the task is gone too.
fn write(name: &str, value: &impl Serialize) -> io::Result<()> {
    let fresh = format!("{name}.new");
    fs::write(&fresh, serde_json::to_vec(value)?)?;
    fs::rename(&fresh, name)
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_with(record: Option<&Record>, ended: Option<&Ended>) -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path(), TaskId::random());
        assert!(home.make().unwrap());
        if let Some(record) = record {
            fs::write(home.path.join(RECORD), serde_json::to_vec(record).unwrap()).unwrap();
        }
        if let Some(ended) = ended {
            fs::write(home.path.join(EXIT), serde_json::to_vec(ended).unwrap()).unwrap();
        }
        (dir, home)
    }

    fn record(shim: ProcessId) -> Record {
        Record { boot: boot().unwrap(), shim, init: shim, running: false }
    }

    #[test]
    fn a_living_shim_holds_its_task() {
        let record = record(ProcessId::current().unwrap());
        let (_dir, home) = home_with(Some(&record), None);
        assert_eq!(home.state().unwrap(), Some(ContainerState::Created));
        let (_dir, home) = home_with(Some(&Record { running: true, ..record }), None);
        assert!(matches!(home.state().unwrap(), Some(ContainerState::Running { .. })));
    }

    #[test]
    fn a_pid_that_went_to_another_process_does_not_count_nor_one_of_another_boot() {
        let me = ProcessId::current().unwrap();
        let stranger = record(ProcessId { started: me.started + 1, ..me });
        let rebooted = Record { boot: "another".into(), ..record(me) };
        for record in [stranger, rebooted] {
            let (_dir, home) = home_with(Some(&record), None);
            let Some(ContainerState::Ended(exit)) = home.state().unwrap() else { panic!("alive") };
            assert_eq!(exit.code, 137);
        }
    }

    #[test]
    fn the_exit_note_has_the_last_word() {
        let record = record(ProcessId::current().unwrap());
        let ended = Ended { code: 3, note: String::new() };
        let (_dir, home) = home_with(Some(&record), Some(&ended));
        assert_eq!(home.look().unwrap(), Seen::Ended(Exit { code: 3, note: String::new() }));
    }

    #[test]
    fn a_directory_without_a_record_is_unfinished_and_one_that_is_not_there_is_nothing() {
        let (_dir, home) = home_with(None, None);
        assert_eq!(home.look().unwrap(), Seen::Unfinished);
        assert!(!home.make().unwrap());
        home.remove().unwrap();
        home.remove().unwrap();
        assert_eq!(home.look().unwrap(), Seen::Nothing);
    }
}
