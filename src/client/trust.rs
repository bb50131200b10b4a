//! Whom a client takes for its daemon: the kernel says who listens on a socket, and a path does not.

use std::fs;
use tokio::net::UnixStream;

/// The account that may run the daemon where root does not, as [`crate::node`]'s group of that name are its operators.
const ACCOUNT: &str = "secretd";

/// Who may serve the socket: root, this process's own user, the account `secretd`, and whom the caller names beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trust {
    /// One more user, by number.
    pub beside: Option<u32>,
}

/// Somebody else listens there, and would be told what is for the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the socket is served by user {uid}, not by secretd")]
pub(super) struct Impostor {
    pub(super) uid: u32,
}

impl Trust {
    /// Asks the kernel who listens at the other end.
    pub(super) fn check(self, stream: &UnixStream) -> Result<(), Impostor> {
        // Of a listener the kernel gives who called listen(2). If it does not say, it is nobody we know.
        let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
        let own = rustix::process::geteuid().as_raw();
        let account = || {
            // Only root can write there, which is what makes the name worth anything.
            account(&fs::read_to_string("/etc/passwd").unwrap_or_default())
        };
        let trusted = self.accepts(uid, own, account);
        if trusted { Ok(()) } else { Err(Impostor { uid }) }
    }

    fn accepts(self, uid: u32, own: u32, account: impl FnOnce() -> Option<u32>) -> bool {
        uid == 0 || uid == own || self.beside == Some(uid) || account() == Some(uid)
    }
}

fn account(passwd: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != ACCOUNT {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_oneself_the_account_and_who_was_named_are_believed_and_nobody_else() {
        let passwd = "root:x:0:0::/:/bin/sh\nsecretd2:x:7:7::/:\nsecretd:x:998:997::/:\n";
        let accepts = |beside, uid| Trust { beside }.accepts(uid, 1000, || account(passwd));
        for uid in [0, 1000, 998] {
            assert!(accepts(None, uid), "{uid}");
        }
        for uid in [7, 997, 1001, u32::MAX] {
            assert!(!accepts(None, uid), "{uid}");
        }
        assert!(accepts(Some(7), 7));
        assert!(!Trust::default().accepts(998, 1000, || account("x")));
    }
}
