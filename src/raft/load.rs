//! Opens the rows of a state file on several threads, while the state is built of those that are open already.

use super::{digest::Digest, state_file::StateFileError};
use crate::store::{Entity, State};
use std::{
    num::NonZero,
    sync::{Mutex, mpsc},
    thread,
};

/// Rows that a thread takes at a time.
const CHUNK: usize = 256;
/// At most so many threads open rows: one thread reads them and one builds the state, and these do not go faster.
const THREADS: usize = 8;

/// A row as it lies in the file: its key, and its sealed value.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// Builds the state of all rows, and their digest.
///
/// # Errors
/// The first row, or one of the first, that cannot be read or that `open` refuses.
pub(super) fn load(
    rows: impl Iterator<Item = Result<Row, StateFileError>> + Send,
    open: impl Fn(&[u8], &[u8]) -> Result<Entity, StateFileError> + Sync,
) -> Result<(State, Digest), StateFileError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    let (rows, open) = (&Mutex::new(rows.fuse()), &open);
    let (tell, opened) = mpsc::sync_channel(2 * threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let tell = tell.clone();
            scope.spawn(move || {
                loop {
                    let mut taken = Vec::with_capacity(CHUNK);
                    {
                        let mut rows = rows.lock().expect("who panics here ends the whole load");
                        taken.extend(rows.by_ref().take(CHUNK));
                    }
                    if taken.is_empty() {
                        return;
                    }
                    let mut digest = Digest::default();
                    let one = |row: Result<Row, _>| {
                        let (key, value) = row?;
                        let entity = open(&key, &value)?;
                        digest.add(Digest::of(&entity));
                        Ok(entity)
                    };
                    let opened: Result<Vec<Entity>, _> = taken.into_iter().map(one).collect();
                    let opened = opened.map(|rows| (rows, digest));
                    let failed = opened.is_err();
                    // Nobody listens any more once a row was refused.
                    if tell.send(opened).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let (mut refused, mut digest) = (None, Digest::default());
        let good = opened.into_iter().map_while(|chunk| match chunk {
            Ok((chunk, part)) => {
                digest.add(part);
                Some(chunk)
            }
            Err(error) => {
                refused = Some(error);
                None
            }
        });
        let state = State::from_entities(good.flatten());
        refused.map_or(Ok((state, digest)), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        digest::Digest,
        log::LogIdentity,
        state_file::{Changeset, ROWS, StateFile},
        testing::identity,
    };
    use crate::{
        kit::{clock::Timestamp, id::ObjectId},
        model::{
            Labels, Meta,
            object::{Kind, Object, Version, VersionNumber},
        },
        store::{Change, Entity, State},
    };
    use redb::ReadableTable as _;
    use std::{path::Path, sync::Arc};

    fn object(number: u16) -> Entity {
        let mut random = [0; 17];
        random[15..].copy_from_slice(&number.to_be_bytes());
        Entity::Object(Arc::new(Object {
            kind: Kind::Secret,
            id: ObjectId::from_random(random),
            name: format!("secret-{number}").parse().unwrap(),
            labels: Labels::new(),
            meta: Meta::new(Timestamp(1)),
            versions: vec![Version {
                number: VersionNumber::FIRST,
                created_at: Timestamp(1),
                size: 1,
                term: 1,
            }],
        }))
    }

    /// A closed file with more rows than all threads take at a time.
    fn file(path: &Path, identity: &Arc<LogIdentity>) -> State {
        let (file, _) = StateFile::open(path, identity.clone()).unwrap();
        let mut changes = Changeset::default();
        for number in 0..5000 {
            changes.take(Change::Put(object(number)));
        }
        changes.digest = Digest::of_all((0..5000).map(object));
        file.commit(&changes).unwrap();
        State::from_entities((0..5000).map(object))
    }

    #[test]
    fn every_row_comes_back_whichever_thread_opened_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, identity) = (dir.path().join("state.redb"), identity(1));
        let written = file(&path, &identity);
        let (_, loaded) = StateFile::open(&path, identity).unwrap();
        assert!(loaded.state == written);
    }

    #[test]
    fn a_row_that_opens_and_is_not_the_one_that_was_applied_is_found() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, identity) = (dir.path().join("state.redb"), identity(1));
        file(&path, &identity);
        let (file, loaded) = StateFile::open(&path, identity.clone()).unwrap();
        let Entity::Object(row) = object(77) else { panic!() };
        let mut other = Object::clone(&row);
        other.versions[0].size ^= 1;
        let mut changes = Changeset { digest: loaded.digest, ..Changeset::default() };
        changes.take(Change::Put(Entity::Object(Arc::new(other))));
        file.commit(&changes).unwrap();
        drop(file);
        let error = StateFile::open(&path, identity).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains("rows are not those"), "{error}");
    }

    #[test]
    fn a_row_that_does_not_open_is_refused_by_name() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, identity) = (dir.path().join("state.redb"), identity(1));
        file(&path, &identity);
        let Entity::Object(bad) = object(3210) else { panic!() };
        let database = redb::Database::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        {
            let mut rows = txn.open_table(ROWS).unwrap();
            let key = [b"\x03", bad.id.as_str().as_bytes()].concat();
            let mut value = rows.get(key.as_slice()).unwrap().unwrap().value().to_vec();
            *value.last_mut().unwrap() ^= 1;
            rows.insert(key.as_slice(), value.as_slice()).unwrap();
        }
        txn.commit().unwrap();
        drop(database);
        let error = StateFile::open(&path, identity).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains(bad.id.as_str()), "{error}");
    }
}
