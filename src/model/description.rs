//! What a machine may say of itself. The manager believes none of it, and takes only what is small and plausible.

use super::{Labels, node::NodeDescription};
use crate::kit::limits::NODE_DESCRIPTION_SIZE;

/// Host names have at most this many bytes: what a DNS name may have.
const HOSTNAME: usize = 253;
/// Words like `linux` or `x86_64` have at most this many bytes.
const WORD: usize = 32;
/// Versions have at most this many bytes.
const VERSION: usize = 128;
/// More processors than any machine has; the kernel stops at 8192.
const NANO_CPUS: u64 = (1 << 16) * 1_000_000_000;
/// More memory than any machine has: 1 PiB.
const MEMORY: u64 = 1 << 50;

/// Why a description was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDescription {
    #[error(
        "a host name has 1 to {HOSTNAME} letters, digits, dots, hyphens and underscores, unlike {0:?}"
    )]
    Hostname(String),
    #[error("{field} has at most {most} printable ASCII characters, unlike {value:?}")]
    Text { field: &'static str, most: usize, value: String },
    #[error("an engine label has no control characters, unlike {0:?}")]
    Label(String),
    #[error("no machine has {0} processors")]
    Cpus(u64),
    #[error("no machine has {0} bytes of memory")]
    Memory(u64),
    #[error("a description has at most {NODE_DESCRIPTION_SIZE} bytes, not {0}")]
    Size(usize),
}

/// Checks a host name, whoever gives it.
///
/// # Errors
/// [`BadDescription::Hostname`].
pub fn check_hostname(name: &str) -> Result<(), BadDescription> {
    let good = (1..=HOSTNAME).contains(&name.len()) && name.bytes().all(in_hostname);
    if good { Ok(()) } else { Err(BadDescription::Hostname(short(name))) }
}

fn in_hostname(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// The name of a machine whose kernel calls it `nodename`, which may be anything.
pub fn hostname_from(nodename: &str) -> String {
    let plain = |c: char| match u8::try_from(c) {
        Ok(byte) if in_hostname(byte) => c,
        Ok(_) | Err(_) => '-',
    };
    let name: String = nodename.chars().take(HOSTNAME).map(plain).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Those of an engine's labels that a manager takes: at most half of a description.
pub fn labels_that_fit(labels: Labels) -> Labels {
    let mut left = NODE_DESCRIPTION_SIZE / 2;
    let fits = |(key, value): &(String, String)| {
        // What stands around each label on the wire.
        let size = key.len() + value.len() + 16;
        let fits = is_label(key, value) && size <= left;
        left -= if fits { size } else { 0 };
        fits
    };
    labels.into_iter().filter(fits).collect()
}

fn is_label(key: &str, value: &str) -> bool {
    !key.chars().chain(value.chars()).any(char::is_control)
}

impl NodeDescription {
    /// Checks what a node says of itself; `size` is that of its encoded form.
    ///
    /// # Errors
    /// [`BadDescription`]: it is larger than it need be, not text for people, or says what no machine has.
    pub fn check(&self, size: usize) -> Result<(), BadDescription> {
        let Self {
            hostname,
            os,
            arch,
            nano_cpus,
            memory_bytes,
            runtime,
            engine_version,
            engine_labels,
            version,
            runtime_error,
        } = self;
        if size > NODE_DESCRIPTION_SIZE {
            return Err(BadDescription::Size(size));
        }
        check_hostname(hostname)?;
        for (field, most, value) in [
            ("os", WORD, os),
            ("arch", WORD, arch),
            ("runtime", WORD, runtime),
            ("engine_version", VERSION, engine_version),
            ("version", VERSION, version),
            ("runtime_error", REASON, runtime_error),
        ] {
            if value.len() > most || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
                return Err(BadDescription::Text { field, most, value: short(value) });
            }
        }
        if let Some((key, _)) = engine_labels.iter().find(|(key, value)| !is_label(key, value)) {
            return Err(BadDescription::Label(short(key)));
        }
        if *nano_cpus > NANO_CPUS {
            return Err(BadDescription::Cpus(nano_cpus / 1_000_000_000));
        }
        if *memory_bytes > MEMORY {
            return Err(BadDescription::Memory(*memory_bytes));
        }
        Ok(())
    }
}

/// The longest reason a node gives for a runtime that does not work.
const REASON: usize = 500;

/// As much of a reason as may be told: what is not plain text is shown as `?`.
pub fn reason_that_fits(reason: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    reason.chars().map(plain).take(REASON).collect()
}

/// Enough of a text to know it again.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> NodeDescription {
        NodeDescription { hostname: "db-1.example".into(), ..NodeDescription::default() }
    }

    #[test]
    fn only_what_a_machine_can_have_is_taken() {
        good().check(100).unwrap();
        let bad = [
            NodeDescription { hostname: String::new(), ..good() },
            NodeDescription { hostname: "a\u{1b}[2J".into(), ..good() },
            NodeDescription { hostname: "a".repeat(254), ..good() },
            NodeDescription { os: "linux\n".into(), ..good() },
            NodeDescription { arch: "x".repeat(33), ..good() },
            NodeDescription { version: "é".into(), ..good() },
            NodeDescription { nano_cpus: u64::MAX, ..good() },
            NodeDescription { memory_bytes: u64::MAX, ..good() },
            NodeDescription { engine_labels: Labels::from([("a".into(), "\r".into())]), ..good() },
        ];
        for description in bad {
            description.check(100).unwrap_err();
        }
        assert_eq!(good().check(8193), Err(BadDescription::Size(8193)));
    }

    #[test]
    fn a_kernels_name_becomes_a_host_name_whatever_it_is() {
        for (nodename, name) in
            [("web-1", "web-1"), ("(none)", "-none-"), ("", "localhost"), ("bücher", "b-cher")]
        {
            assert_eq!(hostname_from(nodename), name);
            check_hostname(name).unwrap();
        }
        check_hostname(&hostname_from(&"é".repeat(300))).unwrap();
    }

    #[test]
    fn labels_of_an_engine_are_left_out_where_a_manager_would_refuse_them() {
        let long = "v".repeat(NODE_DESCRIPTION_SIZE);
        let labels = Labels::from([
            ("a".into(), "1".into()),
            ("b\n".into(), "2".into()),
            ("c".into(), long),
            ("d".into(), "4".into()),
        ]);
        let left: Vec<_> = labels_that_fit(labels).into_keys().collect();
        assert_eq!(left, ["a", "d"]);
    }
}
