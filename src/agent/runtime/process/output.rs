//! The task's output on its way through two files of bounded size: the shim writes, the agent reads and follows.
//!
//! One line each: milliseconds since 1970, a space, `o` or `e`, a space, the bytes. A line of a task has no line feed in it, so none
//! needs escaping. When `log` is full it becomes `log.1` and a new one is begun.

use crate::{
    agent::runtime::{LogLine, Output},
    kit::clock::Timestamp,
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// One file's size in bytes; a task's output takes at most two of them.
const FILE_SIZE: u64 = 8 * 1024 * 1024;
/// A longer line is cut into several, as the engine does: whoever reads should not need much memory.
const LINE_LEN: usize = 16 * 1024;

const CURRENT: &str = "log";
const OLDER: &str = "log.1";

/// The shim's end.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    file: File,
    written: u64,
    most: u64,
    /// What has come of a line whose end has not, of stdout and stderr.
    begun: [Vec<u8>; 2],
}

impl Writer {
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let file = File::create(dir.join(CURRENT))?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            written: 0,
            most: FILE_SIZE,
            begun: Default::default(),
        })
    }

    /// Takes what the task wrote. Lines are stamped when their end arrives.
    pub(super) fn take(&mut self, output: Output, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let slot = usize::from(output == Output::Stderr);
        let mut begun = std::mem::take(&mut self.begun[slot]);
        let mut records = Vec::with_capacity(bytes.len() + 64);
        for byte in bytes {
            if *byte != b'\n' {
                begun.push(*byte);
            }
            if *byte == b'\n' || begun.len() == LINE_LEN {
                write_record(&mut records, output, &begun, now);
                begun.clear();
            }
        }
        self.begun[slot] = begun;
        self.append(&records)
    }

    /// The task has ended: what was begun counts as a line.
    pub(super) fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        for (slot, output) in [Output::Stdout, Output::Stderr].into_iter().enumerate() {
            if !self.begun[slot].is_empty() {
                let mut record = Vec::new();
                write_record(&mut record, output, &std::mem::take(&mut self.begun[slot]), now);
                self.append(&record)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if self.written + records.len() as u64 > self.most && self.written > 0 {
            std::fs::rename(self.dir.join(CURRENT), self.dir.join(OLDER))?;
            self.file = File::create(self.dir.join(CURRENT))?;
            self.written = 0;
        }
        self.file.write_all(records)?;
        self.written += records.len() as u64;
        Ok(())
    }
}

fn write_record(to: &mut Vec<u8>, output: Output, line: &[u8], now: Timestamp) {
    let letter = match output {
        Output::Stdout => 'o',
        Output::Stderr => 'e',
    };
    to.extend_from_slice(format!("{} {letter} ", now.0).as_bytes());
    to.extend_from_slice(line);
    to.push(b'\n');
}

fn read_record(record: &[u8]) -> Option<LogLine> {
    let mut parts = record.splitn(3, |byte| *byte == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let output = match parts.next()? {
        b"o" => Output::Stdout,
        b"e" => Output::Stderr,
        _ => return None,
    };
    Some(LogLine { at: Timestamp(at), output, line: parts.next()?.to_vec() })
}

/// The agent's end: hands out what is there, again and again.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    /// Oldest first; the last is the one being written, as far as we know.
    files: VecDeque<File>,
    /// Bytes of a record whose end was not yet there.
    rest: Vec<u8>,
}

impl Reader {
    /// Begins with the oldest line there is. A task without output yet is an empty reader.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let current = open(&dir.join(CURRENT))?;
        // In this order: if the files are turned over in between, we get one twice and miss none.
        let older = open(&dir.join(OLDER))?;
        let mut files = VecDeque::from_iter(older);
        if let Some(current) = current
            && !files.back().is_some_and(|older| is_same(older, &current))
        {
            files.push_back(current);
        }
        Ok(Self { dir: dir.to_owned(), files, rest: Vec::new() })
    }

    /// The next lines, a bounded number of them; none if there are no more for now.
    pub(super) fn next(&mut self) -> io::Result<Vec<LogLine>> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if self.files.is_empty() {
                let Some(begun) = open(&self.dir.join(CURRENT))? else { return Ok(vec![]) };
                self.files.push_back(begun);
            }
            // Asked before reading: what is written to a file before it is turned over must not be missed.
            let follower = match self.files.len() {
                1 => open(&self.dir.join(CURRENT))?.filter(|new| !is_same(new, &self.files[0])),
                _ => None,
            };
            let file = self.files.front_mut().expect("filled above");
            let got = file.read(&mut chunk)?;
            if got > 0 {
                let lines = self.lines(&chunk[..got]);
                self.files.extend(follower);
                if lines.is_empty() {
                    continue;
                }
                return Ok(lines);
            }
            self.files.extend(follower);
            if self.files.len() == 1 {
                return Ok(vec![]);
            }
            self.files.pop_front();
            self.rest.clear();
        }
    }

    fn lines(&mut self, bytes: &[u8]) -> Vec<LogLine> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return vec![] };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        whole[..end].split(|byte| *byte == b'\n').filter_map(read_record).collect()
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Two open files are never the same inode number for different files: an open file keeps its own.
fn is_same(a: &File, b: &File) -> bool {
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_damaged_record_is_passed_over_and_a_whole_one_reads_back(
            damaged in proptest::collection::vec(any::<u8>(), 0..40),
            line in "[^\n]{0,30}",
            at in any::<i64>(),
        ) {
            drop(read_record(&damaged));
            let mut record = Vec::new();
            write_record(&mut record, Output::Stderr, line.as_bytes(), Timestamp(at));
            let read = read_record(record.strip_suffix(b"\n").unwrap());
            let whole =
                LogLine { at: Timestamp(at), output: Output::Stderr, line: line.into_bytes() };
            prop_assert_eq!(read, Some(whole));
        }
    }

    fn all(reader: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let lines = reader.next().unwrap();
            if lines.is_empty() {
                return found;
            }
            found.extend(lines.into_iter().map(|line| {
                let output = if line.output == Output::Stdout { "o" } else { "e" };
                format!("{}{output}:{}", line.at.0, String::from_utf8_lossy(&line.line))
            }));
        }
    }

    #[test]
    fn lines_come_back_with_their_time_and_stream() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(dir.path()).unwrap();
        writer.take(Output::Stdout, b"one\ntw", Timestamp(5)).unwrap();
        writer.take(Output::Stderr, b"bad 1 o \n\n", Timestamp(6)).unwrap();
        let mut reader = Reader::new(dir.path()).unwrap();
        assert_eq!(all(&mut reader), ["5o:one", "6e:bad 1 o ", "6e:"]);
        writer.take(Output::Stdout, b"o\nend", Timestamp(7)).unwrap();
        writer.finish(Timestamp(8)).unwrap();
        assert_eq!(all(&mut reader), ["7o:two", "8o:end"]);
    }

    #[test]
    fn a_reader_may_come_before_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(dir.path()).unwrap();
        assert_eq!(all(&mut reader), [""; 0]);
        let mut writer = Writer::new(dir.path()).unwrap();
        writer.take(Output::Stdout, b"hello\n", Timestamp(1)).unwrap();
        assert_eq!(all(&mut reader), ["1o:hello"]);
    }

    #[test]
    fn a_long_line_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(dir.path()).unwrap();
        writer.take(Output::Stdout, &[b'x'; LINE_LEN + 5], Timestamp(1)).unwrap();
        writer.finish(Timestamp(2)).unwrap();
        let lines = all(&mut Reader::new(dir.path()).unwrap());
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_LEN + 3, 8]);
    }

    #[test]
    fn a_follower_misses_nothing_when_the_files_are_turned_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(dir.path()).unwrap();
        writer.most = 100;
        let mut reader = Reader::new(dir.path()).unwrap();
        let mut seen = Vec::new();
        for number in 0..200 {
            writer.take(Output::Stdout, format!("{number}\n").as_bytes(), Timestamp(1)).unwrap();
            // Reads at odd moments, but before the same file is turned over twice.
            if number % 7 == 0 {
                seen.extend(all(&mut reader));
            }
        }
        seen.extend(all(&mut reader));
        let want: Vec<_> = (0..200).map(|number| format!("1o:{number}")).collect();
        assert_eq!(seen, want);
        let sizes = [CURRENT, OLDER].map(|name| dir.path().join(name).metadata().unwrap().len());
        assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
        let late = all(&mut Reader::new(dir.path()).unwrap());
        assert_eq!(late, want[want.len() - late.len()..], "the newest lines are kept");
        assert!(late.len() > 10);
    }
}
