//! The only place with `unsafe`: the mount, namespace and process calls that have no safe wrapper.
//!
//! Everything here is small, blocking and Linux. What needs no `unsafe` but goes with it (pidfds, tmpfs) stands
//! here too, so that its callers read as what they do and not as how the kernel wants it.
#![expect(
    unsafe_code,
    reason = "calls that neither std nor rustix wraps; each block says why it is sound"
)]

pub mod arena;

use rustix::{
    fs::Mode,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create,
        fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
    },
    process::{
        DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, WaitOptions, getrlimit, pidfd_open,
        set_dumpable_behavior, setrlimit, waitpid,
    },
    thread::UnshareFlags,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    sync::OnceLock,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Keeps this process's memory out of core dumps and away from other processes of its user.
///
/// Both hold until the next `execve`, except that children inherit the soft limit of zero: a task that dumps its
/// core would write its secrets to a disk. It may raise the limit again if it must.
///
/// # Errors
/// Whatever the kernel says; on Linux neither call is known to fail.
pub fn harden() -> io::Result<()> {
    let now = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: now.maximum })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// How many descriptors this process could have open before [`raise_descriptors`].
static USUAL_DESCRIPTORS: OnceLock<Option<u64>> = OnceLock::new();

/// Lets this process open as many descriptors as its administrator allows: each connection is one.
///
/// # Errors
/// Whatever the kernel says.
pub fn raise_descriptors() -> io::Result<()> {
    let now = getrlimit(Resource::Nofile);
    USUAL_DESCRIPTORS.get_or_init(|| now.current);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?;
    Ok(())
}

/// How many descriptors this process may have open.
pub fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How many it could before they were raised. Programs that it starts for others get along with that: some close every
/// descriptor that could be open, and some take no larger ones.
pub fn usual_descriptors() -> Option<u64> {
    USUAL_DESCRIPTORS.get().copied().flatten()
}

/// Sets how many descriptors this process may open, and what it executes.
///
/// # Errors
/// It is more than its administrator allows.
pub fn limit_descriptors(count: u64) -> io::Result<()> {
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: now.maximum })?;
    Ok(())
}

/// Fits the system's allocator to a node. To be called before there are other threads.
///
/// It keeps what a few large payloads need: by default glibc gives it back to the kernel at once, and the page faults of the
/// next payload take ten times as long as encrypting it. And it has one arena for all threads: by default each has its own,
/// with holes that the others cannot fill, although what one thread makes here another frees. On two cores, where alone
/// it was measured, the one lock cost no writes.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 4 << 20),
        (libc::M_TRIM_THRESHOLD, 16 << 20),
        (libc::M_ARENA_MAX, 1),
    ] {
        // SAFETY: sets a number of the allocator, which locks it; it is within its bounds.
        let taken = unsafe { libc::mallopt(parameter, value) };
        debug_assert_eq!(taken, 1, "the bounds are glibc's own");
    }
}

/// Gives memory that was freed, in pieces between what is in use too, back to the kernel. It takes some milliseconds for
/// each 100 MB, in which others wait to allocate: for a quiet moment after much work.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and the allocator locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The system's allocator, but that memory is wiped when it is given back: buffers of libraries (HTTP/2, protobuf, TLS)
/// that payloads and keys passed through do not keep them. What is in use is nobody's business here.
///
/// The programs choose it with `#[global_allocator]`. It costs a `memset` for each `free`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wiping;

// SAFETY: every block comes from `System` and goes back to it with the layout it was asked for; in between it is only
// written to by us when its owner has given it up.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is `layout.size()` bytes long and no longer anybody's. Not `write_bytes`: a compiler may
        // leave out what it takes for the last write before a `free`.
        unsafe { libc::explicit_bzero(block.cast(), layout.size()) };
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    // `realloc` is the trait's own: a new block, a copy, and `dealloc`. The system's would leave the old bytes behind.
}

/// Leaves the parent's namespaces for new ones. Mounts, pids (of children), users and the like.
///
/// # Errors
/// `EPERM` without the right, `ENOSPC` or `EUSERS` over the limits of `/proc/sys/user`, `EINVAL` for a user namespace in a
/// process with several threads.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::Error::other("descriptors are shared by all threads of a Rust program"));
    }
    // SAFETY: the one flag that can pull descriptors away from under another thread was refused above.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}

/// Who came back from [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    Parent { child: Pid },
    Child,
}

/// Splits the process in two. Only a process with a single thread may: the child is then as whole as its parent.
///
/// # Errors
/// Several threads; `EAGAIN` or `ENOMEM` from the kernel.
pub fn fork() -> io::Result<Forked> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("fork in a process with several threads"));
    }
    // SAFETY: this is the only thread, so no lock can be held by a thread that the child does not have.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent { child: Pid::from_raw(pid).expect("not zero, matched above") }),
    }
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
///
/// Call it first thing in `main`, before anything owns a descriptor.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: takes numbers only. Closing descriptors that someone owns would be a bug, not unsoundness of memory;
    // the doc restricts it to the time before anybody does.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0_u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Adds attributes to the mount `fd` stands for, and with `recursive` to all mounts below it.
///
/// # Errors
/// `ENOSYS` before Linux 5.12; `EPERM` without the right; `EINVAL` if `fd` is not the root of a mount.
pub fn add_mount_attributes(fd: impl AsFd, recursive: bool, add: MountAttrFlags) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(add.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant and the struct outlives the call, which only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives up for ever, in this process and its children, every capability whose number `keep` does not want.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn drop_bounding_capabilities(keep: impl Fn(u32) -> bool) -> io::Result<()> {
    for number in (0..64).filter(|number| !keep(*number)) {
        // SAFETY: takes numbers only and changes nothing but this thread's capabilities.
        let result =
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        if result == -1 {
            let error = io::Error::last_os_error();
            // The first number past the last capability the kernel knows.
            if error.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Turns the death of children into something to poll: SIGCHLD is blocked and read from the descriptor instead.
///
/// # Errors
/// `EMFILE` and the like.
pub fn child_events() -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before anything reads it; all pointers are to this frame; signalfd
    // returns a fresh descriptor that nobody else owns.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        let failed = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd == -1 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Sends signal `number` to all processes this one may signal, but itself; in pid 1 of a namespace: all others in it.
///
/// # Errors
/// `EINVAL` for a number that is no signal; `ESRCH` if there is nobody else.
pub fn signal_everyone_else(number: i32) -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::other("only pid 1 of a namespace may signal everyone"));
    }
    // SAFETY: takes numbers only; the check above keeps it inside a pid namespace.
    if unsafe { libc::kill(-1, number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends signal `number`, real-time signals included, to the process `pid`.
///
/// # Errors
/// `ESRCH` if it is gone, `EPERM` without the right, `EINVAL` for a number that is no signal.
pub fn signal_process(pid: Pid, number: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::kill(pid.as_raw_nonzero().get(), number) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// In clock ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// The calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid)?.ok_or_else(|| io::Error::other("/proc does not show this process"))
    }

    /// The living process that has `pid` now; none if there is no such process or only its zombie.
    ///
    /// # Errors
    /// `/proc` is not readable or not understood.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        Ok(stat(pid)?.filter(|(state, _)| *state != State::Dead).map(|(_, id)| id))
    }

    /// Takes the process off the kernel's list if it is dead and a child of ours that nobody waited for.
    ///
    /// # Errors
    /// `/proc` is not readable or not understood.
    pub fn reap(self) -> io::Result<()> {
        // While its zombie is there, no other process gets the pid.
        if stat(self.pid)? == Some((State::Dead, self)) {
            // Others' children are their parents' to wait for.
            let _ = waitpid(Pid::from_raw(self.pid), WaitOptions::NOHANG);
        }
        Ok(())
    }

    /// Opens the process for polling and signals; none if it has ended.
    ///
    /// # Errors
    /// `EMFILE` and the like; `/proc` is not readable.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The descriptor is taken first: if the pid still belongs to the same process now, so does the descriptor.
        Ok((Self::of(self.pid)? == Some(self)).then_some(fd))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Dead,
}

fn stat(pid: i32) -> io::Result<Option<(State, ProcessId)>> {
    let stat = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    let strange = || io::Error::other(format!("/proc/{pid}/stat is not understood"));
    // The name in parentheses may contain anything, so count from its end.
    let end = stat.iter().rposition(|byte| *byte == b')').ok_or_else(strange)?;
    let rest = std::str::from_utf8(&stat[end + 1..]).map_err(|_| strange())?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = match fields.first() {
        Some(&"Z" | &"X") => State::Dead,
        Some(_) => State::Alive,
        None => return Err(strange()),
    };
    let started = fields.get(19).and_then(|field| field.parse().ok()).ok_or_else(strange)?;
    Ok(Some((state, ProcessId { pid, started })))
}

/// Resolves when the process behind a pidfd has ended, whoever its parent is. Dropping the future stops the waiting.
///
/// # Errors
/// The runtime cannot poll the descriptor.
pub async fn ended(process: OwnedFd) -> io::Result<()> {
    // SAFETY: an OwnedFd gives the same open descriptor for as long as it lives, and nothing here closes it early.
    let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
    // Never cleared: once readable, a pidfd stays so.
    process.readable().await?.retain_ready();
    Ok(())
}

/// What a new tmpfs should be like.
#[derive(Debug, Clone)]
pub struct Tmpfs {
    /// As the `size` mount option: `64m`, `25%`, a number of bytes.
    pub size: String,
    /// Files and directories it may hold; the kernel's own bound if none is given.
    pub inodes: Option<u64>,
    pub mode: Mode,
    /// `nosuid`, `nodev` and `noexec` as the caller needs them.
    pub attributes: MountAttrFlags,
    /// Asks the kernel never to swap it out.
    pub noswap: bool,
}

impl Tmpfs {
    /// For payloads: never swapped where the kernel can promise it, no devices, no set-id bits, no programs.
    pub fn for_payloads(bound: Bound) -> Self {
        Self {
            size: bound.bytes.to_string(),
            inodes: Some(bound.inodes),
            mode: Mode::RWXU,
            attributes: MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            noswap: true,
        }
    }

    /// Makes it, attached nowhere. Whether it can be swapped is told beside it: before Linux 6.4 and in user
    /// namespaces `noswap` is unknown.
    ///
    /// # Errors
    /// `EPERM` without the right to mount; `ENOSYS` before Linux 5.2.
    pub fn make(&self) -> io::Result<(OwnedFd, Swap)> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", "secretd")?;
        fsconfig_set_string(&context, "size", &self.size)?;
        if let Some(inodes) = self.inodes {
            fsconfig_set_string(&context, "nr_inodes", inodes.to_string())?;
        }
        fsconfig_set_string(&context, "mode", format!("{:o}", self.mode.bits()))?;
        let swap = match self.noswap.then(|| fsconfig_set_flag(&context, "noswap")) {
            Some(Ok(())) => Swap::Never,
            None | Some(Err(Errno::INVAL)) => Swap::Possible,
            Some(Err(error)) => return Err(error.into()),
        };
        fsconfig_create(&context)?;
        Ok((fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes)?, swap))
    }
}

/// How much a tmpfs for payloads may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub bytes: u64,
    pub inodes: u64,
}

impl Bound {
    /// Fits files of these lengths, with room for a second version of each.
    pub fn for_files(lengths: impl IntoIterator<Item = u64>) -> Self {
        let page = rustix::param::page_size() as u64;
        let (mut pages, mut files) = (0_u64, 0_u64);
        for length in lengths {
            pages = pages.saturating_add(length.div_ceil(page) + 1);
            files += 1;
        }
        Self {
            bytes: pages.saturating_mul(2).saturating_add(16).saturating_mul(page),
            inodes: 2 * files + 8,
        }
    }

    /// Whether the tmpfs with this root may hold no more. Without any bound the kernel says zero.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn holds(self, root: impl AsFd) -> io::Result<bool> {
        let stat = rustix::fs::fstatvfs(root)?;
        let bytes = stat.f_blocks.saturating_mul(stat.f_frsize);
        Ok((1..=self.bytes).contains(&bytes) && (1..=self.inodes).contains(&stat.f_files))
    }

    /// Bounds the tmpfs with this root, whatever its bounds were.
    ///
    /// # Errors
    /// `EINVAL` if it holds more already; `EPERM` without the right.
    pub fn impose(self, root: impl AsFd) -> io::Result<()> {
        let context = pick(root)?;
        fsconfig_set_string(&context, "size", self.bytes.to_string())?;
        fsconfig_set_string(&context, "nr_inodes", self.inodes.to_string())?;
        Ok(fsconfig_reconfigure(&context)?)
    }
}

/// Makes the filesystem with this root writable, whoever made it read-only; mounts of it may still be.
///
/// # Errors
/// `EPERM` without the right; before Linux 5.2 `ENOSYS`.
pub fn make_writable(root: impl AsFd) -> io::Result<()> {
    let context = pick(root)?;
    fsconfig_set_flag(&context, "rw")?;
    Ok(fsconfig_reconfigure(&context)?)
}

fn pick(root: impl AsFd) -> Result<OwnedFd, Errno> {
    fspick(root, "", FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC)
}

/// Whether the kernel may write a tmpfs's pages to a swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    Never,
    Possible,
}

/// Whether this machine has anywhere to swap to. If that cannot be told, it has.
pub fn swap_is_on() -> bool {
    // A heading, then a line for each device.
    fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}

/// Whether this process's memory may be written to a swap device: the machine has one, and its control group does not forbid it.
pub fn may_swap() -> bool {
    swap_is_on() && !group_forbids_swap().unwrap_or(false)
}

fn group_forbids_swap() -> Option<bool> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let most = fs::read_to_string(format!("/sys/fs/cgroup/{group}/memory.swap.max")).ok()?;
    Some(most.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_found_again_and_an_ended_one_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let id = ProcessId::of(pid).unwrap().unwrap();
        assert!(id.open().unwrap().is_some());
        let another = ProcessId { started: id.started + 1, ..id };
        assert!(another.open().unwrap().is_none(), "the same pid, but not the same process");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ProcessId::of(pid).unwrap(), None);
        assert!(id.open().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_zombie_counts_as_ended_and_can_be_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let id = ProcessId::of(pid).unwrap().unwrap();
        let watch = id.open().unwrap().unwrap();
        signal_process(Pid::from_raw(pid).unwrap(), libc::SIGKILL).unwrap();
        ended(watch).await.unwrap();
        assert_eq!(ProcessId::of(pid).unwrap(), None);
        assert_eq!(stat(pid).unwrap(), Some((State::Dead, id)));
        ProcessId { started: id.started + 1, ..id }.reap().unwrap();
        assert!(stat(pid).unwrap().is_some(), "another process that had the pid is not meant");
        id.reap().unwrap();
        assert_eq!(stat(pid).unwrap(), None);
        child.wait().unwrap_err();
    }

    #[test]
    fn this_process_knows_itself() {
        let id = ProcessId::current().unwrap();
        assert_eq!(u32::try_from(id.pid).unwrap(), std::process::id());
    }

    #[test]
    fn a_process_with_threads_does_not_fork() {
        // The test harness runs each test on a thread of its own.
        let error = std::thread::spawn(fork).join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "fork in a process with several threads");
    }

    #[test]
    fn nobody_but_pid_1_signals_everyone() {
        signal_everyone_else(0).unwrap_err();
    }
}
