//! What the present set-up protects against and what it does not, in plain words.

use super::{keystore::Ways, unlocking::name};
use crate::{
    crypto::unlock::{Kind, Method, Unlocker},
    kit::os::{
        self,
        arena::{Guard, State},
    },
};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Where a node's key file is, as seen from its data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPlace {
    path: PathBuf,
    disk: Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Same,
    Another,
    /// The file is not there, or cannot be looked at.
    Gone,
}

impl KeyPlace {
    /// Looks where the two are.
    pub(super) fn of(data: &Path, key_file: &Path) -> Self {
        let disk = |path: &Path| -> io::Result<u64> { Ok(fs::metadata(path)?.dev()) };
        let disk = match (disk(data), disk(key_file)) {
            (Ok(one), Ok(other)) if one == other => Disk::Same,
            (Ok(_), Ok(_)) => Disk::Another,
            (_, Err(_)) | (Err(_), _) => Disk::Gone,
        };
        Self { path: key_file.to_owned(), disk }
    }
}

/// What somebody has who has a copy of this node's disk, and what else opens it; a sentence a line.
pub(super) fn at_rest(ways: &Ways, place: &KeyPlace) -> String {
    let Ways { key_file, shared } = ways;
    let (mut lines, KeyPlace { path, disk }) = (Vec::new(), place);
    let path = path.display();
    let named = |wanted: fn(Kind) -> bool| -> Vec<String> {
        let these = shared.iter().filter(|unlocker: &&Unlocker| wanted(unlocker.kind()));
        these.map(name).collect()
    };
    let commands = named(|kind| kind == Kind::Command);
    let tpms = named(|kind| kind == Kind::Tpm2);
    let by_hand = named(|kind| !kind.is_automatic());
    match (key_file, disk) {
        (true, Disk::Same) => lines.push(format!(
            "a copy of the data directory alone reveals nothing; a copy of the whole disk reveals everything, for the key file {path} is on it"
        )),
        (true, Disk::Another) => lines.push(format!(
            "a copy of the data directory or of its disk reveals nothing; together with the key file {path}, which is on another disk, it reveals everything"
        )),
        (true, Disk::Gone) => lines.push(format!(
            "a copy of this machine's disks reveals nothing without the key file, which is not at {path} now"
        )),
        (false, _) => lines.push("a copy of this machine's disks reveals nothing".to_owned()),
    }
    if !commands.is_empty() {
        lines.push(format!(
            "{} opens the keys at each start: so can whoever may ask it what this machine may",
            listed(&commands)
        ));
    }
    if !tpms.is_empty() {
        let measured = |unlocker: &Unlocker| matches!(&unlocker.method, Method::Tpm2(tpm) if !tpm.pcrs.is_empty());
        let system = if shared.iter().filter(|one| one.kind() == Kind::Tpm2).all(measured) {
            "as it was measured"
        } else {
            "with any system"
        };
        lines.push(format!(
            "{} opens the keys at each start, on this machine alone: whoever has the whole machine and starts it {system} has them too",
            listed(&tpms)
        ));
    }
    if !key_file && commands.is_empty() && tpms.is_empty() {
        lines.push(format!(
            "nothing on this machine opens the keys, so neither does stealing it switched off; after each start somebody must, with {}",
            listed(&by_hand)
        ));
    } else if !by_hand.is_empty() {
        let opens = if by_hand.len() == 1 { "opens" } else { "each open" };
        lines.push(format!("beside that, {} {opens} such a copy", listed(&by_hand)));
    }
    if shared.iter().any(|unlocker| unlocker.kind() == Kind::Passphrase) {
        lines.push(
            "whoever has a copy can try passphrases, each try takes a core a good part of a second: it is worth as much as its words".to_owned(),
        );
    }
    lines.push("root on this machine reads everything while secretd runs".to_owned());
    lines.join("\n")
}

/// How keys are kept in the memory of this process, and what becomes of payloads there; a sentence a line.
pub(super) fn in_memory(state: State, may_swap: bool) -> String {
    let State { guard, taken: _, outside } = state;
    let mut lines = vec![match guard {
        Guard::Secret => {
            "keys are locked: never swapped, never in a core dump, out of reach of debuggers"
                .to_owned()
        }
        Guard::Locked => "keys are locked: never swapped, never in a core dump".to_owned(),
        Guard::Refused(error) => format!(
            "keys are NOT locked ({}){}",
            io::Error::from_raw_os_error(error),
            if may_swap {
                " and may be written to swap: let secretd lock 64 KiB (LimitMEMLOCK=), or switch swap off"
            } else {
                ", but they cannot be swapped either"
            }
        ),
    }];
    if outside > 0 {
        lines.push(format!("{outside} keys found no room there and stand in ordinary memory"));
    }
    if may_swap {
        lines.push(
            "payloads in passing are not locked and may be written to swap: set MemorySwapMax=0 in secretd's unit, or switch swap off".to_owned(),
        );
    }
    lines.join("\n")
}

/// As [`in_memory`], of this process now.
pub(super) fn in_memory_now() -> String {
    in_memory(os::arena::state(), os::may_swap())
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{
            key::Key,
            unlock::{
                command::Helper,
                passphrase::Cost,
                tpm::{Pcrs, Tpm2},
            },
        },
        kit::id::{ClusterId, UnlockerId},
    };

    fn unlocker(method: Method) -> Unlocker {
        let key = Key::random();
        Unlocker::new(ClusterId::random(), UnlockerId::random(), method, &key, &Key::random())
    }

    fn said(key_file: bool, shared: &[&Unlocker], disk: Disk) -> String {
        let shared = shared.iter().map(|unlocker| (*unlocker).clone()).collect();
        at_rest(&Ways { key_file, shared }, &KeyPlace { path: "/etc/sd.key".into(), disk })
    }

    #[test]
    fn a_key_file_is_worth_what_its_place_is() {
        let same = said(true, &[], Disk::Same);
        assert!(
            same.contains("whole disk reveals everything, for the key file /etc/sd.key is on it")
        );
        let another = said(true, &[], Disk::Another);
        assert!(
            another.contains("its disk reveals nothing; together with the key file /etc/sd.key")
        );
        assert!(said(true, &[], Disk::Gone).contains("which is not at /etc/sd.key now"));
        for text in [same, another] {
            assert!(text.ends_with("root on this machine reads everything while secretd runs"));
            assert_eq!(text.lines().count(), 2, "{text}");
        }
    }

    #[test]
    fn without_anything_automatic_somebody_must_come() {
        let shamir = unlocker(Method::Shamir { shares: 5, threshold: 3 });
        let lock = unlocker(Method::Autolock);
        let text = said(false, &[&lock, &shamir], Disk::Gone);
        let by = format!("with autolock {} and shamir {} (3 of 5 shares)", lock.id, shamir.id);
        assert!(text.contains(&by), "{text}");
        assert!(!text.contains("key file"), "{text}");
    }

    #[test]
    fn a_command_is_named_and_what_opens_beside_it() {
        let program = Helper { program: "/opt/kms".into(), wrapped_key: vec![1] };
        let command = unlocker(Method::Command(program));
        let (paper, words) = (
            unlocker(Method::Recovery),
            unlocker(Method::Passphrase(Cost {
                salt: [0; 16],
                memory_kib: 8,
                passes: 1,
                lanes: 1,
            })),
        );
        let text = said(false, &[&command, &paper], Disk::Gone);
        assert!(
            text.contains(&format!(
                "command {} (/opt/kms) opens the keys at each start",
                command.id
            ))
        );
        assert!(text.contains(&format!("beside that, recovery {} opens such a copy", paper.id)));
        assert!(!text.contains("somebody must") && !text.contains("passphrase"), "{text}");
        let text = said(true, &[&paper, &words], Disk::Same);
        assert!(text.contains("each open such a copy") && text.contains("can try passphrases"));
    }

    #[test]
    fn a_tpm_is_worth_what_it_measures() {
        let tpm = |pcrs: u32| {
            unlocker(Method::Tpm2(Tpm2 {
                device: "/dev/tpmrm0".into(),
                pcrs: Pcrs::from_bits(pcrs).unwrap(),
                parent: [0; 32],
                public: vec![1],
                private: vec![2],
            }))
        };
        let paper = unlocker(Method::Recovery);
        let (any, measured) = (tpm(0), tpm(1 << 7));
        let text = said(false, &[&measured, &paper], Disk::Gone);
        let named = format!("tpm2 {} (/dev/tpmrm0, PCRs 7) opens the keys", measured.id);
        assert!(text.contains(&named) && text.contains("starts it as it was measured"), "{text}");
        assert!(text.contains("beside that, recovery") && !text.contains("somebody must"));
        assert!(said(false, &[&any, &paper], Disk::Gone).contains("starts it with any system"));
    }

    #[test]
    fn swap_counts_only_for_what_is_not_locked() {
        let state = |guard| State { guard, taken: 3, outside: 0 };
        let refused = Guard::Refused(libc::EPERM);
        assert_eq!(in_memory(state(Guard::Locked), false).lines().count(), 1);
        let text = in_memory(state(Guard::Secret), true);
        assert!(text.contains("keys are locked") && text.contains("payloads in passing are not"));
        let text = in_memory(state(refused), true);
        assert!(
            text.contains("NOT locked (Operation not permitted") && text.contains("LimitMEMLOCK")
        );
        assert!(in_memory(state(refused), false).contains("cannot be swapped either"));
        let full = State { outside: 2, ..state(Guard::Locked) };
        assert!(in_memory(full, false).contains("2 keys found no room"));
    }

    #[test]
    fn the_place_of_a_key_file_is_looked_up() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        assert_eq!(KeyPlace::of(dir.path(), &key).disk, Disk::Gone);
        fs::write(&key, "").unwrap();
        assert_eq!(KeyPlace::of(dir.path(), &key).disk, Disk::Same);
        assert_eq!(KeyPlace::of(dir.path(), Path::new("/proc/self/stat")).disk, Disk::Another);
    }
}
