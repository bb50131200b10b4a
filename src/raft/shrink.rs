//! Writes a state file anew when much of it is empty, or when somebody wants what it gave free to be gone: redb reuses
//! what removed rows leave, wipes nothing, and gives back only its end.

use super::{
    handle::Raft,
    snapshot::scratch,
    state_file::{BODIES, BODY_PART, FORMAT_KEY, META, StateFile, StateFileError},
};
use crate::store::State;
use redb::{ReadableDatabase as _, TableDefinition, TableHandle};
use std::{fs, path::Path};

/// What a payload needs beside its own bytes: its envelope, its data key, and the room that rows do not fill in their pages.
const BODY: u64 = 1536;
/// A row with its envelope and its share of a page, if it is not large.
const ROW: u64 = 512;
/// Never less than this is given back.
const WORTHWHILE: u64 = 16 << 20;
/// So many bytes are copied in one transaction.
const STEP: usize = 8 << 20;

/// Why a state file still is the one that it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RewriteError {
    #[error("the state file cannot be written anew: {why}")]
    Failed { why: String },
    #[error("the store has stopped")]
    Stopped,
}

impl Raft {
    /// Bytes of the state file on the disk.
    pub fn state_file_bytes(&self) -> u64 {
        self.core.machine.shared.size()
    }

    /// Puts a copy in the place of the state file, so that it has no trace of what left it before this call; waits for
    /// as long as that takes. Everything is read and written once; what is applied meanwhile waits in memory, and goes on
    /// being read.
    ///
    /// # Errors
    /// [`RewriteError`]: the disk is full or fails, or the store is shut down. The file is as it was then.
    pub async fn rewrite_state_file(&self) -> Result<(), RewriteError> {
        self.core.machine.shared.rewrite().await.unwrap_or(Err(RewriteError::Stopped))
    }
}

/// About how many bytes a file needs for this state.
pub(super) fn needed(state: &State) -> u64 {
    let sizes = state.objects().flat_map(|object| &object.versions).map(|version| version.size);
    // Large payloads lie in pages of their own, of which a sixteenth stays empty.
    let bodies: u64 = sizes.map(|size| size + size / 16 + BODY).sum();
    bodies + state.entities().count() as u64 * ROW
}

/// Whether a file of `size` bytes is to be written anew; `last` is what it came to when that was done last.
pub(super) fn is_due(size: u64, needed: u64, last: u64) -> bool {
    size > needed.max(last) / 2 * 3 + WORTHWHILE
}

/// Copies what the file holds to another beside it, as long as `go_on` says so. Nothing may be written meanwhile.
///
/// # Errors
/// The disk is full or fails; there is no copy then.
pub(super) fn copy(
    file: &StateFile,
    path: &Path,
    go_on: impl Fn() -> bool,
) -> Result<Option<StateFile>, StateFileError> {
    let scratch = scratch(path);
    let copied = file.copy(&scratch, go_on);
    if !matches!(copied, Ok(Some(_)))
        && let Err(error) = fs::remove_file(&scratch)
    {
        tracing::debug!(%error, "there was no unfinished copy of the state file");
    }
    copied
}

impl StateFile {
    fn copy(&self, path: &Path, go_on: impl Fn() -> bool) -> Result<Option<Self>, StateFileError> {
        let copy = Self::create(path, self.identity.clone())?;
        let read = |error: redb::Error| self.error("read", error);
        let txn = self.database.begin_read().map_err(|e| read(e.into()))?;
        // Whatever tables there are; all but this one have bytes for keys.
        let tables = txn.list_tables().map_err(|e| read(e.into()))?;
        for table in tables.filter(|table| table.name() != META.name()) {
            if !self.copy_table(&copy, TableDefinition::new(table.name()), &go_on)? {
                return Ok(None);
            }
        }
        // Last, as it says how far the rest goes.
        let mut failed = None;
        copy.transact(|to| {
            let (from, mut to) =
                (self.database.begin_read()?.open_table(META)?, to.open_table(META)?);
            for row in from.range::<&str>(..)? {
                let (key, value) = row?;
                if key.value() == FORMAT_KEY || !self.identity.key.has_older() {
                    to.insert(key.value(), value.value())?;
                    continue;
                }
                match self.resealed(key.value().as_bytes(), value.value()) {
                    Ok(value) => drop(to.insert(key.value(), value.as_slice())?),
                    Err(error) => failed = Some(error),
                }
            }
            Ok(())
        })?;
        failed.map_or(Ok(Some(copy)), Err)
    }

    /// Values are bound to cluster, node and row, so they are copied as they are, unless they may lie under an older storage
    /// key. Says whether it came to the end.
    fn copy_table(
        &self,
        copy: &Self,
        table: TableDefinition<'_, &'static [u8], &'static [u8]>,
        go_on: impl Fn() -> bool,
    ) -> Result<bool, StateFileError> {
        let read = |error: redb::Error| self.error("read", error);
        let txn = self.database.begin_read().map_err(|e| read(e.into()))?;
        let rows = txn.open_table(table).map_err(|e| read(e.into()))?;
        let mut rows = rows.range::<&[u8]>(..).map_err(|e| read(e.into()))?;
        let mut values = Values::of(self, &table);
        loop {
            if !go_on() {
                return Ok(false);
            }
            let (mut bytes, mut ended, mut failed) = (0, false, None);
            copy.transact(|txn| {
                let mut table = txn.open_table(table)?;
                while bytes < STEP {
                    let taken = match rows.next() {
                        Some(row) => {
                            let (key, value) = row?;
                            bytes += value.value().len();
                            values.take(key.value(), value.value())
                        }
                        None => {
                            ended = true;
                            values.end()
                        }
                    };
                    match taken {
                        Ok(copied) => {
                            for (key, value) in copied {
                                table.insert(key.as_slice(), value.as_slice())?;
                            }
                        }
                        Err(error) => failed = Some(error),
                    }
                    if ended || failed.is_some() {
                        break;
                    }
                }
                Ok(())
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if ended {
                return Ok(true);
            }
        }
    }
}

/// What becomes of the values of a table in a copy.
enum Values<'a> {
    AsTheyAre,
    /// Each under the newest storage key.
    Resealed(&'a StateFile),
    /// The same with what was cut into parts: the key of the whole, and the parts so far.
    Joined(&'a StateFile, Vec<u8>, Vec<u8>),
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl<'a> Values<'a> {
    fn of(file: &'a StateFile, table: &impl TableHandle) -> Self {
        if !file.identity.key.has_older() {
            Self::AsTheyAre
        } else if table.name() == BODIES.name() {
            Self::Joined(file, Vec::new(), Vec::new())
        } else {
            Self::Resealed(file)
        }
    }

    /// Takes the next row, and gives those that are ready.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<Rows, StateFileError> {
        match self {
            Self::AsTheyAre => Ok(vec![(key.to_vec(), value.to_vec())]),
            Self::Resealed(file) => Ok(vec![(key.to_vec(), file.resealed(key, value)?)]),
            Self::Joined(file, whole, parts) => {
                let name = key.get(..key.len().saturating_sub(2)).unwrap_or_default();
                if name == whole.as_slice() {
                    parts.extend_from_slice(value);
                    return Ok(Vec::new());
                }
                let ready = cut(file, whole, parts);
                (*whole, *parts) = (name.to_vec(), value.to_vec());
                ready
            }
        }
    }

    /// The rows that are left.
    fn end(&mut self) -> Result<Rows, StateFileError> {
        match self {
            Self::AsTheyAre | Self::Resealed(_) => Ok(Vec::new()),
            Self::Joined(file, whole, parts) => {
                let ready = cut(file, whole, parts);
                (*whole, *parts) = (Vec::new(), Vec::new());
                ready
            }
        }
    }
}

fn cut(file: &StateFile, whole: &[u8], parts: &[u8]) -> Result<Rows, StateFileError> {
    if whole.is_empty() {
        return Ok(Vec::new());
    }
    let sealed = file.resealed(whole, parts)?;
    let numbered = sealed.chunks(BODY_PART).zip(0_u16..);
    Ok(numbered.map(|(part, n)| ([whole, &n.to_be_bytes()].concat(), part.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{
        machine::Machine,
        state_file::Changeset,
        testing::identity,
        types::{Batch, Entry},
    };
    use crate::{
        crypto::seal::{Sealed, WrappedKey},
        kit::{
            clock::Timestamp,
            id::{ID_LEN, ObjectId},
        },
        model::{
            Labels,
            command::{Command, Stamped},
            object::{Kind, VersionNumber},
            task::ObjectVersion,
        },
        store::Change,
    };
    use openraft::{EntryPayload, LeaderId, LogId, storage::RaftStateMachine as _};
    use redb::{ReadableDatabase as _, TableDefinition};

    const BYTES: usize = 200_000;

    fn entry(index: u64, commands: Vec<Command>) -> Entry {
        let stamp = |command| Stamped { request: None, at: Timestamp(1), command };
        let batch = Batch::new(commands.into_iter().map(stamp).collect(), 1);
        Entry {
            log_id: LogId::new(LeaderId::new(1, 1), index),
            payload: EntryPayload::Normal(batch),
        }
    }

    fn id(number: u8) -> ObjectId {
        ObjectId::from_random([number; 17])
    }

    fn create(number: u8) -> Command {
        Command::CreateObject {
            kind: Kind::Config,
            id: id(number),
            name: format!("config-{number}").parse().unwrap(),
            labels: Labels::new(),
            size: BYTES as u64,
            sealed: Sealed { term: 1, wrapped_key: vec![1], body: vec![number; BYTES] },
        }
    }

    /// The sealed values of these rows, bodies and keys that belong to an object.
    fn sealed_of(machine: &Machine, object: ObjectId, tables: &[&str]) -> Vec<Vec<u8>> {
        let file = machine.shared.lock().file.clone().unwrap();
        let txn = file.database.begin_read().unwrap();
        let mut found = Vec::new();
        for name in tables {
            let table = TableDefinition::<&[u8], &[u8]>::new(name);
            for row in txn.open_table(table).unwrap().range::<&[u8]>(..).unwrap() {
                let (key, value) = row.unwrap();
                if key.value().windows(ID_LEN).any(|part| part == object.as_str().as_bytes()) {
                    found.push(value.value().to_vec());
                }
            }
        }
        found
    }

    #[tokio::test]
    async fn what_left_the_state_is_in_the_file_until_it_is_written_anew_and_then_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("state.redb");
        let identity = identity(1);
        let (mut machine, handle, _) = Machine::open(&path, identity).unwrap();
        let small = |number: u8| match create(number) {
            Command::CreateObject { kind, id, name, labels, size: _, sealed } => {
                let sealed = Sealed { body: vec![number; 300], ..sealed };
                Command::CreateObject { kind, id, name, labels, size: 300, sealed }
            }
            other => panic!("{other:?}"),
        };
        machine.apply((1..4).map(|n| entry(n.into(), vec![small(n)]))).await.unwrap();
        drop(handle.view().await.unwrap());
        // One goes, and the data key of another is wrapped by another term.
        let mut gone = sealed_of(&machine, id(2), &["rows", "bodies", "keys"]);
        gone.extend(sealed_of(&machine, id(3), &["keys"]));
        assert_eq!(gone.len(), 4);
        let kept = sealed_of(&machine, id(1), &["rows", "bodies", "keys"]);
        machine
            .apply([entry(4, vec![Command::RemoveObject { kind: Kind::Config, id: id(2) }])])
            .await
            .unwrap();
        let version = ObjectVersion { object: id(3), version: VersionNumber::FIRST };
        let key = WrappedKey { term: 2, wrapped: vec![2; 40] };
        let mut rewrapped = Changeset::default();
        let ObjectVersion { object, version: number } = version;
        rewrapped.take(Change::PutKey { object, version: number, key: key.clone() });
        rewrapped.applied = machine.applied();
        let state = handle.state();
        machine.shared.add(rewrapped, state).unwrap();
        drop(handle.view().await.unwrap());
        let has = |sealed: &[u8]| {
            let file = std::fs::read(&path).unwrap();
            file.windows(sealed.len()).any(|part| part == sealed)
        };
        assert!(gone.iter().any(|sealed| has(sealed)), "free pages keep what they had");

        machine.shared.rewrite().await.unwrap().unwrap();
        assert!(!gone.iter().any(|sealed| has(sealed)));
        assert!(kept.iter().all(|sealed| has(sealed)));
        assert_eq!(handle.key(&version).unwrap(), key);
        assert_eq!(handle.body(&version).unwrap().body, vec![3; 300]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        handle.close();
        assert!(machine.shared.rewrite().await.is_err(), "nobody waits for what will not be");
    }

    #[tokio::test]
    async fn a_file_that_is_mostly_empty_is_written_anew_and_keeps_what_it_held() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("state.redb");
        let identity = identity(1);
        let (mut machine, handle, _) = Machine::open(&path, identity.clone()).unwrap();
        machine.apply((0..150).map(|n| entry(n.into(), vec![create(n)]))).await.unwrap();
        let view = handle.view().await.unwrap();
        let size = || std::fs::metadata(&path).unwrap().len();
        assert!(size() > 150 * BYTES as u64);
        // The last ones stay too, so that redb can give nothing back.
        let gone = (0..250)
            .filter(|n| n % 10 != 9)
            .map(|n| Command::RemoveObject { kind: Kind::Config, id: id(n) });
        machine.apply([entry(300, gone.collect())]).await.unwrap();
        while size() > 2 * 15 * BYTES as u64 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let check = |handle: &super::super::machine::MachineHandle, number: u8| {
            let version = ObjectVersion { object: id(number), version: VersionNumber::FIRST };
            handle.body(&version).map(|sealed| sealed.body == vec![number; BYTES]).ok()
        };
        machine.apply([entry(301, vec![create(150)])]).await.unwrap();
        for number in [9, 149, 150] {
            assert_eq!(check(&handle, number), Some(true));
        }
        // Who looked at the old file still sees all of it.
        let mut seen = 0;
        view.each::<super::StateFileError>(
            |_| Ok(()),
            |_, _| {
                seen += 1;
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, 150);
        drop(view);
        handle.close();
        let (machine, handle, _) = Machine::open(&path, identity).unwrap();
        assert_eq!(machine.applied().map(|id| id.index), Some(301));
        assert_eq!(handle.state().objects().count(), 16);
        assert_eq!((check(&handle, 149), check(&handle, 0)), (Some(true), None));
        handle.close();
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside the file");
    }
}
