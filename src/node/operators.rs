//! Who may speak to the daemon on its socket: root, the daemon's own user, and members of the group `secretd`.

use std::fs;
use tokio::net::unix::UCred;

/// The group whose members are operators.
pub const GROUP: &str = "secretd";

/// Proof that the caller on this very connection may operate the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    pub uid: u32,
}

/// Judges a caller by the credentials the kernel vouches for.
pub fn authorise(caller: &UCred, own_uid: u32) -> Option<Operator> {
    let uid = caller.uid();
    // Every call passes here; the accounts are read only for those whom they could help.
    let allowed = uid == 0 || uid == own_uid || {
        let accounts = Accounts {
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
            group: fs::read_to_string("/etc/group").unwrap_or_default(),
        };
        is_member(uid, caller.gid(), &accounts)
    };
    allowed.then_some(Operator { uid })
}

/// The id of the operators' group, if this machine has it.
pub fn group_id() -> Option<u32> {
    let group = fs::read_to_string("/etc/group").ok()?;
    group_line(&group)?.1
}

struct Accounts {
    passwd: String,
    group: String,
}

fn is_member(uid: u32, gid: u32, accounts: &Accounts) -> bool {
    let Some((members, group)) = group_line(&accounts.group) else { return false };
    if group == Some(gid) {
        return true;
    }
    let user = accounts.passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    });
    user.is_some_and(|name| members.split(',').any(|member| member == name))
}

fn group_line(group: &str) -> Option<(&str, Option<u32>)> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != GROUP {
            return None;
        }
        let id = fields.nth(1)?.parse().ok();
        Some((fields.next().unwrap_or_default(), id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/:/bin/sh\nbob:x:1002:1002::/:/bin/sh\n".into(),
            group: "root:x:0:\nsecretd:x:990:ann\nsecretd2:x:991:bob\n".into(),
        }
    }

    #[test]
    fn members_by_name_or_by_primary_group_are_operators() {
        let accounts = accounts();
        assert!(is_member(1001, 1001, &accounts));
        assert!(is_member(1002, 990, &accounts));
    }

    #[test]
    fn everybody_else_is_not() {
        let accounts = accounts();
        let nobody = Accounts { passwd: String::new(), group: String::new() };
        assert!(!is_member(1002, 1002, &accounts));
        assert!(!is_member(4242, 4242, &accounts));
        assert!(!is_member(1001, 1001, &nobody));
    }
}
