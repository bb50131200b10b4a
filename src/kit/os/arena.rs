//! A small pool of pages for keys: never swapped, never in a core dump, not inherited by a fork, wiped slot by slot.
//!
//! Where the kernel has them (Linux 5.14, on by default since 6.5) the pages come from `memfd_secret(2)`: they are locked as by
//! `mlock(2)` and besides taken out of the kernel's own map, so that `/proc/PID/mem`, ptrace and `process_vm_readv(2)` cannot
//! read them either, not even for root. A machine does not hibernate while they exist, which would write them to its disk.
//! Elsewhere they are anonymous pages under `mlock`. Guard pages stand before and behind.
//!
//! A child of a fork has none of the pages: only programs that hold no keys may fork without `execve`.

use rustix::{
    mm::{
        Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, mprotect,
    },
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    ffi::c_void,
    fmt, io,
    os::fd::{FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    sync::{
        LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Bytes of a slot: one key.
pub const SLOT: usize = 32;
/// Slots of the pool: a node holds a few keys for good and two for each payload it opens at this moment. Together they are 64 KiB,
/// which is as much as kernels before 5.16 let any process lock.
pub const SLOTS: usize = 2048;

/// How the pages of the pool are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Locked, and out of reach of whoever may read this process's memory through the kernel.
    Secret,
    /// Locked.
    Locked,
    /// Neither: the kernel said so (its error number). Still wiped and left out of core dumps.
    Refused(i32),
}

/// The pool as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub guard: Guard,
    /// Keys in the pool.
    pub taken: usize,
    /// Keys that found no room in it and stand on the heap, which is only wiped.
    pub outside: usize,
}

/// Makes the pool if this is the first call, and tells how it is.
pub fn state() -> State {
    POOL.state()
}

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::open(SLOTS, true));

/// Room for one key. It is zero when it is new and wiped when it is dropped.
pub struct Slot {
    pool: &'static Pool,
    place: Place,
}

enum Place {
    Pool(usize),
    Heap(Box<[u8; SLOT]>),
}

impl Slot {
    /// Takes a slot of the pool; if none is free, memory of the heap, which [`state`] then counts.
    pub fn new() -> Self {
        POOL.take()
    }

    pub fn bytes(&self) -> &[u8; SLOT] {
        match &self.place {
            // SAFETY: the slot is ours until we are dropped: `SLOT` bytes of a mapping that is never undone.
            Place::Pool(index) => unsafe { &*self.pool.at(*index) },
            Place::Heap(bytes) => bytes,
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8; SLOT] {
        match &mut self.place {
            // SAFETY: as above; and nobody else has a reference, for this one is exclusive.
            Place::Pool(index) => unsafe { &mut *self.pool.at(*index) },
            Place::Heap(bytes) => bytes,
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot(..)")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: `SLOT` bytes that are ours.
        unsafe { libc::explicit_bzero(self.bytes_mut().as_mut_ptr().cast(), SLOT) };
        match self.place {
            Place::Pool(index) => self.pool.give_back(index),
            Place::Heap(_) => {
                self.pool.outside.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// The mapping, and which of its slots are free.
struct Pool {
    start: NonNull<[u8; SLOT]>,
    slots: usize,
    /// One bit for each slot, set while it is free.
    free: Box<[AtomicU64]>,
    outside: AtomicUsize,
    guard: Guard,
}

// SAFETY: the mapping is never undone, and an atomic change of its bit gives each slot to one owner at a time.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes a pool of so many slots, of secret memory if it may; of none if there is no memory at all.
    fn open(slots: usize, may_be_secret: bool) -> Self {
        // SAFETY: takes a number and returns one.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let bytes = (slots * SLOT).next_multiple_of(page);
        match pages(bytes, page, may_be_secret) {
            Ok((start, guard)) => Self::of(start.cast(), slots, guard),
            Err(error) => {
                let guard = Guard::Refused(error.raw_os_error().unwrap_or(libc::ENOMEM));
                Self::of(NonNull::dangling(), 0, guard)
            }
        }
    }

    fn of(start: NonNull<[u8; SLOT]>, slots: usize, guard: Guard) -> Self {
        let word = |at: usize| match slots - at * 64 {
            64.. => u64::MAX,
            rest => (1 << rest) - 1,
        };
        let free = (0..slots.div_ceil(64)).map(|at| AtomicU64::new(word(at))).collect();
        Self { start, slots, free, outside: AtomicUsize::new(0), guard }
    }

    fn state(&self) -> State {
        let free =
            self.free.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum::<u32>();
        State {
            guard: self.guard,
            taken: self.slots - free as usize,
            outside: self.outside.load(Ordering::Relaxed),
        }
    }

    fn take(&'static self) -> Slot {
        for (at, word) in self.free.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                // Acquire: the wiping by the last owner happened before.
                let taken = word.compare_exchange_weak(
                    bits,
                    bits & !(1 << bit),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                match taken {
                    Ok(_) => {
                        return Slot { pool: self, place: Place::Pool(at * 64 + bit as usize) };
                    }
                    Err(now) => bits = now,
                }
            }
        }
        self.outside.fetch_add(1, Ordering::Relaxed);
        Slot { pool: self, place: Place::Heap(Box::new([0; SLOT])) }
    }

    fn give_back(&self, index: usize) {
        self.free[index / 64].fetch_or(1 << (index % 64), Ordering::Release);
    }

    fn at(&self, index: usize) -> *mut [u8; SLOT] {
        debug_assert!(index < self.slots, "a slot knows a place of its own pool");
        self.start.as_ptr().wrapping_add(index)
    }
}

/// Maps so many bytes between two guard pages, kept as well as the kernel lets us.
fn pages(bytes: usize, page: usize, may_be_secret: bool) -> io::Result<(NonNull<c_void>, Guard)> {
    let secret = may_be_secret.then(|| with_room(bytes, || secret(bytes, page)));
    let (start, guard) = match secret {
        Some(Ok(start)) => (start, Guard::Secret),
        None | Some(Err(_)) => {
            let start = reserve(bytes, page)?;
            // SAFETY: the middle of a mapping that nobody has used yet.
            unsafe { mprotect(start, bytes, MprotectFlags::READ | MprotectFlags::WRITE) }?;
            // SAFETY: locks the same pages; what they hold does not change.
            match with_room(bytes, || Ok(unsafe { mlock(start, bytes) }?)) {
                Ok(()) => (start, Guard::Locked),
                Err(error) => (start, Guard::Refused(error.raw_os_error().unwrap_or(libc::EPERM))),
            }
        }
    };
    for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
        // SAFETY: neither advice changes what this process sees in the pages.
        unsafe { madvise(start, bytes, advice) }?;
    }
    // The pages come to be now: without memory for them this program ends here and not when it holds keys.
    for at in (0..bytes).step_by(page) {
        // SAFETY: inside the mapping, which is writable and zero and not yet anybody's.
        unsafe { start.cast::<u8>().add(at).write_volatile(0) };
    }
    Ok((NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?, guard))
}

/// Finds room for so many bytes with a page before and behind, all of it out of bounds; gives where the bytes start.
fn reserve(bytes: usize, page: usize) -> io::Result<*mut c_void> {
    // SAFETY: a new mapping at a place of the kernel's choice, which nothing else refers to.
    let all = unsafe {
        mmap_anonymous(ptr::null_mut(), bytes + 2 * page, ProtFlags::empty(), MapFlags::PRIVATE)
    }?;
    Ok(all.wrapping_byte_add(page))
}

/// Maps secret memory. If that fails, the room that was reserved for it is not used again: a kernel may have freed a part of it,
/// and another thread may be there by now.
fn secret(bytes: usize, page: usize) -> io::Result<*mut c_void> {
    // SAFETY: takes a number and returns a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: a descriptor that was made just now and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::fs::ftruncate(&fd, bytes as u64)?;
    let start = reserve(bytes, page)?;
    let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
    // SAFETY: takes the place of the middle of a mapping that nobody has used yet.
    unsafe { mmap(start, bytes, rights, flags, &fd, 0) }?;
    Ok(start)
}

/// Tries to lock memory, and if the limit forbids it once more with a higher one, for this moment only: what this process starts
/// has the limit it was given.
fn with_room<T>(bytes: usize, lock: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let first = match lock() {
        Err(error) => error,
        locked => return locked,
    };
    if !matches!(first.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EPERM)) {
        return Err(first);
    }
    let before = getrlimit(Resource::Memlock);
    let enough = |limit: Option<u64>| limit.map(|limit| limit.max(bytes as u64));
    let raised = Rlimit { current: enough(before.current), maximum: enough(before.maximum) };
    if raised == before || setrlimit(Resource::Memlock, raised).is_err() {
        return Err(first);
    }
    let second = lock();
    setrlimit(Resource::Memlock, before)?;
    second
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    fn pool(slots: usize) -> &'static Pool {
        Box::leak(Box::new(Pool::open(slots, true)))
    }

    fn address(slot: &Slot) -> usize {
        slot.bytes().as_ptr().addr()
    }

    #[test]
    fn a_freed_slot_is_wiped_and_given_to_the_next() {
        let pool = pool(3);
        let mut slots: Vec<Slot> = (0..3).map(|_| pool.take()).collect();
        for slot in &mut slots {
            assert_eq!(*slot.bytes(), [0; SLOT]);
            slot.bytes_mut().fill(0xAA);
        }
        let freed = slots.remove(1);
        let (place, index) = (address(&freed), freed.place.index());
        drop(freed);
        // SAFETY: inside the mapping, and nobody's at this moment.
        assert_eq!(unsafe { *pool.at(index) }, [0; SLOT], "wiped when it was dropped");
        let again = pool.take();
        assert_eq!(address(&again), place);
        assert_eq!(*slots[0].bytes(), [0xAA; SLOT], "the neighbours are as they were");
        assert_eq!(*slots[1].bytes(), [0xAA; SLOT]);
    }

    impl Place {
        fn index(&self) -> usize {
            match self {
                Self::Pool(index) => *index,
                Self::Heap(_) => panic!("on the heap"),
            }
        }
    }

    #[test]
    fn a_thousand_keys_fit_and_each_has_a_place_of_its_own() {
        let pool = pool(SLOTS);
        let slots: Vec<Slot> = (0..1000).map(|_| pool.take()).collect();
        assert_eq!(pool.state(), State { guard: pool.guard, taken: 1000, outside: 0 });
        let places: BTreeSet<usize> = slots.iter().map(address).collect();
        assert_eq!(places.len(), 1000);
        assert!(places.iter().zip(places.iter().skip(1)).all(|(a, b)| b - a >= SLOT));
        drop(slots);
        assert_eq!(pool.state().taken, 0);
    }

    #[test]
    fn what_finds_no_room_stands_on_the_heap_and_is_counted() {
        let pool = pool(65);
        let mut slots: Vec<Slot> = (0..70).map(|_| pool.take()).collect();
        assert_eq!(pool.state(), State { guard: pool.guard, taken: 65, outside: 5 });
        for (slot, n) in slots.iter_mut().zip(0..) {
            slot.bytes_mut().fill(n);
        }
        assert!(slots.iter().zip(0..).all(|(slot, n)| *slot.bytes() == [n; SLOT]));
        drop(slots);
        assert_eq!(pool.state(), State { guard: pool.guard, taken: 0, outside: 0 });
        let none = self::pool(0);
        drop(none.take());
    }

    #[test]
    fn threads_never_share_a_slot() {
        let pool = pool(100);
        std::thread::scope(|scope| {
            for n in 1..=8 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let mut slots: Vec<Slot> = (0..15).map(|_| pool.take()).collect();
                        for slot in &mut slots {
                            assert_eq!(*slot.bytes(), [0; SLOT]);
                            slot.bytes_mut().fill(n);
                        }
                        assert!(slots.iter().all(|slot| *slot.bytes() == [n; SLOT]));
                    }
                });
            }
        });
        assert_eq!(pool.state(), State { guard: pool.guard, taken: 0, outside: 0 });
    }

    /// The flags of the mapping at `address`, as the kernel abbreviates them.
    fn flags_at(address: usize) -> Vec<String> {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((from, to)) = range
                && let Ok(from) = usize::from_str_radix(from, 16)
                && let Ok(to) = usize::from_str_radix(to, 16)
            {
                inside = (from..to).contains(&address);
            }
            if let Some(flags) = line.strip_prefix("VmFlags: ").filter(|_| inside) {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("no mapping at {address:x}");
    }

    #[test]
    fn either_kind_of_pages_is_locked_left_out_of_dumps_and_not_inherited() {
        for may_be_secret in [true, false] {
            let pool = Box::leak(Box::new(Pool::open(3, may_be_secret)));
            assert!(may_be_secret || pool.guard != Guard::Secret);
            let flags = flags_at(pool.start.as_ptr().addr());
            let has = |flag: &str| flags.iter().any(|one| one == flag);
            assert!(has("dd") && has("dc"), "{flags:?}");
            assert_eq!(has("lo"), !matches!(pool.guard, Guard::Refused(_)), "{flags:?}");
        }
    }

    #[test]
    fn guard_pages_stand_before_and_behind() {
        let pool = pool(SLOTS);
        let (start, end) = (pool.start.as_ptr().addr(), pool.at(SLOTS - 1).addr() + SLOT);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let rights_at = |address: usize| {
            maps.lines()
                .find_map(|line| {
                    let (range, rest) = line.split_once(' ')?;
                    let (from, to) = range.split_once('-')?;
                    let number = |text| usize::from_str_radix(text, 16).ok();
                    (number(from)?..number(to)?).contains(&address).then(|| &rest[..3])
                })
                .map(str::to_owned)
        };
        assert_eq!(rights_at(start).as_deref(), Some("rw-"));
        assert_eq!(rights_at(start - 1).as_deref(), Some("---"));
        assert_eq!(rights_at(end).as_deref(), Some("---"));
    }
}
