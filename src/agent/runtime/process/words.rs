//! The names users give to signals and capabilities, as numbers.

/// Signals as `kill -l` numbers them on Linux; 0 and those without a portable number are left out.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The largest signal number; those from 34 on are the real-time ones.
const LAST_SIGNAL: i32 = 64;

/// Reads `SIGTERM`, `term`, `15`, `SIGRTMIN+3`; nothing is SIGTERM.
pub(super) fn signal(text: &str) -> Option<i32> {
    if text.is_empty() {
        return Some(libc::SIGTERM);
    }
    if let Ok(number) = text.parse::<i32>() {
        return (1..=LAST_SIGNAL).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse().ok()? };
        return (0..=30).contains(&offset).then_some(34 + offset);
    }
    let at = SIGNALS.iter().position(|known| *known == name)?;
    i32::try_from(at + 1).ok()
}

/// Capabilities in the kernel's order.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a task keeps if nothing is said: what Docker gives, less `MKNOD` (there is no device cgroup here that would
/// take the sting out of it) and `NET_RAW` (the network is the node's own).
const DEFAULT_CAPABILITIES: [&str; 12] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// The capabilities a task keeps, one bit each: the default, with `add` and without `drop`; `ALL` means all.
///
/// # Errors
/// The name that is no capability.
pub(super) fn capabilities(add: &[String], drop: &[String]) -> Result<u64, String> {
    let mut kept = 0;
    for name in DEFAULT_CAPABILITIES {
        kept |= bits(name)?;
    }
    if drop.iter().any(|name| bits(name) == Ok(ALL)) {
        kept = 0;
    }
    for name in add {
        kept |= bits(name)?;
    }
    for name in drop {
        let bits = bits(name)?;
        if bits != ALL {
            kept &= !bits;
        }
    }
    Ok(kept)
}

const ALL: u64 = u64::MAX;

fn bits(name: &str) -> Result<u64, String> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if plain == "ALL" {
        return Ok(ALL);
    }
    let at =
        CAPABILITIES.iter().position(|known| *known == plain).ok_or_else(|| name.to_owned())?;
    Ok(1 << at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("", 15),
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGQUIT", 3),
            ("SIGRTMIN+3", 37),
            ("SIGSYS", 31),
        ] {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for text in ["SIGNOPE", "0", "65", "-1", "SIGRTMIN+99", "SIG"] {
            assert_eq!(signal(text), None, "{text}");
        }
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let default = capabilities(&[], &[]).unwrap();
        assert_eq!(default & (1 << 21), 0, "never SYS_ADMIN");
        let with = capabilities(&list(&["SYS_ADMIN"]), &list(&["cap_chown"])).unwrap();
        assert_eq!(with, (default | 1 << 21) & !1);
        assert_eq!(capabilities(&list(&["NET_RAW"]), &list(&["all"])), Ok(1 << 13));
        assert_eq!(capabilities(&list(&["FLY"]), &[]), Err("FLY".to_owned()));
    }
}
