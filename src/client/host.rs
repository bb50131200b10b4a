//! Where the daemon listens, as `-H` and `SECRETD_HOST` name it.

use std::{fmt, path::PathBuf, str::FromStr};

/// The daemon's address: `unix:///run/secretd/secretd.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub socket: PathBuf,
}

/// A text that is no address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid host {0:?}: must be unix:// and an absolute path, as unix:///run/secretd/secretd.sock"
)]
pub struct BadHost(pub String);

/// # Errors
/// [`BadHost`]: another scheme, or a relative path.
impl FromStr for Host {
    type Err = BadHost;
    fn from_str(text: &str) -> Result<Self, BadHost> {
        match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self { socket: path.into() })
            }
            _ => Err(BadHost(text.to_owned())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.socket.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_unix_addresses_are_hosts() {
        let host: Host = "unix:///run/secretd/secretd.sock".parse().unwrap();
        assert_eq!(host.to_string(), "unix:///run/secretd/secretd.sock");
        for bad in ["", "/run/x", "unix://", "unix://x.sock", "tcp://1.2.3.4:1", "http://x"] {
            bad.parse::<Host>().unwrap_err();
        }
    }
}
