//! The users and groups of an image: what `/etc/passwd` and `/etc/group` in it say.

/// A process's or a file's user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    ids: Ids,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
}

/// Users and groups by name. Lines that make no sense are passed over, as libc does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Users {
    pub(super) fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let users = lines(passwd)
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|n| !n.is_empty())?.to_owned();
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                Some(User { name, ids: Ids { uid, gid } })
            })
            .collect();
        let groups = lines(group)
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|n| !n.is_empty())?.to_owned();
                Some(Group { name, gid: fields.nth(1)?.parse().ok()? })
            })
            .collect();
        Self { users, groups }
    }

    pub(super) fn user(&self, name: &str) -> Option<Ids> {
        self.users.iter().find(|u| u.name == name).map(|u| u.ids)
    }

    pub(super) fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|g| g.name == name).map(|g| g.gid)
    }

    /// The ids a container runs under, found as the engine finds them: `user[:group]`, names before numbers,
    /// nothing for root, and group 0 for a number that is no user's.
    pub(super) fn running_as(&self, user: &str) -> Option<Ids> {
        let (user, group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
            None => (user, None),
        };
        let mut ids = if user.is_empty() {
            Ids { uid: 0, gid: 0 }
        } else if let Some(ids) = self.user(user) {
            ids
        } else {
            let uid = user.parse().ok()?;
            let gid = self.users.iter().find(|u| u.ids.uid == uid).map_or(0, |u| u.ids.gid);
            Ids { uid, gid }
        };
        if let Some(group) = group {
            ids.gid = self.group(group).or_else(|| group.parse().ok())?;
        }
        Some(ids)
    }
}

/// The ids of `user[:group]` where no look into the image is needed: root, or two numbers.
pub(super) fn plain_ids(user: &str) -> Option<Ids> {
    if user.is_empty() {
        return Some(Ids { uid: 0, gid: 0 });
    }
    let (uid, gid) = user.split_once(':')?;
    Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users::parse(
            b"root:x:0:0:root:/:/bin/sh\n# no\n\nbroken:x\napp:x:1000:1001::/home/app:\n\xff:x:1:1\n12:x:77:78:::\n",
            b"root:x:0:\nreaders:x:2000:app,root\nbad:x:many:\n",
        )
    }

    #[test]
    fn a_user_comes_with_its_first_group() {
        assert_eq!(users().running_as("app"), Some(Ids { uid: 1000, gid: 1001 }));
        assert_eq!(users().running_as("1000"), Some(Ids { uid: 1000, gid: 1001 }));
        assert_eq!(users().running_as("4711"), Some(Ids { uid: 4711, gid: 0 }));
        assert_eq!(users().running_as(""), Some(Ids { uid: 0, gid: 0 }));
    }

    #[test]
    fn a_group_may_be_named_or_numbered() {
        assert_eq!(users().running_as("app:readers"), Some(Ids { uid: 1000, gid: 2000 }));
        assert_eq!(users().running_as("app:5"), Some(Ids { uid: 1000, gid: 5 }));
        assert_eq!(users().running_as("app:"), Some(Ids { uid: 1000, gid: 1001 }));
        assert_eq!(users().running_as("app:nobody"), None);
    }

    #[test]
    fn a_name_of_digits_is_a_name_first() {
        assert_eq!(users().running_as("12"), Some(Ids { uid: 77, gid: 78 }));
    }

    #[test]
    fn an_unknown_name_is_nobody() {
        assert_eq!(users().running_as("ghost"), None);
        assert_eq!(users().running_as("broken"), None);
        assert_eq!(Users::default().running_as("root"), None);
    }

    #[test]
    fn only_root_and_two_numbers_are_plain() {
        assert_eq!(plain_ids(""), Some(Ids { uid: 0, gid: 0 }));
        assert_eq!(plain_ids("5:6"), Some(Ids { uid: 5, gid: 6 }));
        assert_eq!(plain_ids("5"), None);
        assert_eq!(plain_ids("app:6"), None);
    }
}
