//! A filesystem that the kernel makes read-only under a daemon at work, as it does where a disk damages it: the daemon
//! says so and ends, and when the filesystem is repaired everything acknowledged is there.
//!
//! It is an ext4 in a file of the test's own, mounted where no other process looks. Nobody can ask for such a remount
//! while files are open for writing (`EBUSY`), so the kernel is told that it found an error
//! (`/sys/fs/ext4/…/trigger_fs_error`); `errors=remount-ro` says what it does then.

use crate::{
    kept::{Kept, state},
    world::{World, until},
};
use rustix::{
    mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount},
    thread::UnshareFlags,
};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// The log's segments, a spare and the state file have room in it; what is not written takes none.
const BYTES: u64 = 256 << 20;
const WRITERS: usize = 3;

/// An ext4 that is mounted for this thread and its children alone, and gone when the value or the thread is.
struct Ext4 {
    image: PathBuf,
    at: PathBuf,
}

#[track_caller]
fn run(program: &str, args: &[&Path], code: i32) {
    let said = Command::new(program).args(args).output();
    let said = said
        .unwrap_or_else(|error| panic!("this needs {program} of e2fsprogs or util-linux: {error}"));
    assert_eq!(said.status.code(), Some(code), "{program} {args:?}: {said:?}");
}

impl Ext4 {
    fn new(image: PathBuf, at: PathBuf) -> Self {
        secretd::kit::os::unshare(UnshareFlags::NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        fs::File::create(&image).unwrap().set_len(BYTES).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), &image], 0);
        fs::create_dir(&at).unwrap();
        let ext4 = Self { image, at };
        ext4.mount();
        ext4
    }

    /// The loop device goes with the mount.
    fn mount(&self) {
        let how = ["-t", "ext4", "-o", "loop,errors=remount-ro"].map(Path::new);
        let args = [&how[..], &[&self.image, &self.at]].concat();
        run("mount", &args, 0);
    }

    /// Makes the kernel find an error in this filesystem.
    fn fail(&self) {
        let device = fs::metadata(&self.at).unwrap().dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let device = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).unwrap();
        let name = device.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("loop"), "{name} is not the test's own");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "the disk is bad").unwrap();
    }

    /// What an operator does about it: nobody may mount such a filesystem writable before.
    fn repair(&self) {
        unmount(&self.at, UnmountFlags::empty()).unwrap();
        // There was something to repair.
        run("e2fsck", &["-p".as_ref(), &self.image], 1);
        self.mount();
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Of a failed test it may be gone, or still in use: then it goes with its last user.
        unmount(&self.at, UnmountFlags::DETACH).ok();
    }
}

#[test]
fn a_filesystem_that_turns_read_only_under_writes_is_told_and_loses_nothing() {
    let mut world = World::new();
    let ext4 = Ext4::new(world.path("image"), world.data_dir());
    world.start();
    world.init();
    let mut kept = Kept::default();
    kept.fill(&world, 3);
    let done = AtomicUsize::new(0);
    let writers = thread::scope(|scope| {
        let write = |lane: usize| {
            let (world, done) = (&world, &done);
            let mut kept = Kept::default();
            let refused =
                (0..).map(|n| kept.create(world, &format!("writer-{lane}-{n}"))).find(|said| {
                    done.fetch_add(1, Ordering::SeqCst);
                    said.code != 0
                });
            (kept, refused.unwrap())
        };
        let writers: Vec<_> = (0..WRITERS).map(|lane| scope.spawn(move || write(lane))).collect();
        until("some writes", || (done.load(Ordering::SeqCst) > 3 * WRITERS).then_some(()));
        ext4.fail();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    for (theirs, refused) in writers {
        let err = &refused.err;
        assert!(err.contains("error: ") && err.contains("hint: "), "{err}");
        assert!(!err.contains("panicked"), "{err}");
        kept = kept.with(theirs);
    }
    // A manager that cannot write must not look alive.
    let ended = world.ended();
    assert!(ended.code().is_some_and(|code| code != 0), "{ended}");
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains("Read-only file system") && !log.contains("panicked"), "{log}");
    assert!(log.contains("hint: see the log for the cause"), "{log}");
    let again = world.start_fails();
    assert!(again.err.contains("Read-only file system"), "{}", again.err);
    assert!(again.err.contains("hint: "), "{}", again.err);
    ext4.repair();
    world.start();
    assert_eq!(state(&world), "active");
    kept.check(&world, "repaired");
    kept.create(&world, "after").ok();
}
