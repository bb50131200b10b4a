//! Looks up users and groups in the node's `/etc/passwd` and `/etc/group`.

use crate::model::reference::Owner;
use std::{fs, io};

/// What the two files say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Whom a task runs as.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary ones.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// A user or group that is not there, in the engine's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    #[error("unable to find user {0}: no matching entries in this node's /etc/passwd")]
    User(String),
    #[error("unable to find group {0}: no matching entries in this node's /etc/group")]
    Group(String),
    #[error("user '{0}' is not of the form user[:group], with names or numbers")]
    Malformed(String),
}

impl Users {
    /// Reads the node's files. A file that is missing has no entries.
    pub(super) fn read() -> io::Result<Self> {
        let text = |path| match fs::read(path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        };
        Ok(Self::parse(&text("/etc/passwd")?, &text("/etc/group")?))
    }

    /// Lines that are not understood are passed over, as libc does.
    fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let home = fields.nth(1)?.to_owned();
            Some(User { name, uid, gid, home })
        };
        let group_of = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let gid = fields.nth(1)?.parse().ok()?;
            let members = fields.next()?.split(',').map(str::to_owned).collect();
            Some(Group { name, gid, members })
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    pub(super) fn uid(&self, owner: &Owner) -> Result<u32, Unknown> {
        match owner {
            Owner::Id(id) => Ok(*id),
            Owner::Name(name) => self
                .users
                .iter()
                .find(|user| user.name == *name)
                .map(|user| user.uid)
                .ok_or_else(|| Unknown::User(name.clone())),
        }
    }

    pub(super) fn gid(&self, owner: &Owner) -> Result<u32, Unknown> {
        match owner {
            Owner::Id(id) => Ok(*id),
            Owner::Name(name) => self
                .groups
                .iter()
                .find(|group| group.name == *name)
                .map(|group| group.gid)
                .ok_or_else(|| Unknown::Group(name.clone())),
        }
    }

    /// Reads `user[:group]` and the additional groups as the engine does: a number needs no entry; without a group
    /// the user's own and those it is a member of apply. Nothing at all is root.
    pub(super) fn identity(&self, text: &str, more: &[String]) -> Result<Identity, Unknown> {
        let malformed = || Unknown::Malformed(text.to_owned());
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let user: Owner = user.parse().map_err(|_| malformed())?;
        let uid = self.uid(&user)?;
        let entry = match &user {
            Owner::Name(name) => self.users.iter().find(|entry| entry.name == *name),
            Owner::Id(_) => self.users.iter().find(|entry| entry.uid == uid),
        };
        let mut groups = Vec::new();
        let gid = match group {
            Some(group) => self.gid(&group.parse().map_err(|_| malformed())?)?,
            None => {
                groups.extend(entry.iter().flat_map(|user| self.memberships(&user.name)));
                entry.map_or(0, |user| user.gid)
            }
        };
        for group in more {
            let owner: Owner = group.parse().map_err(|_| Unknown::Group(group.clone()))?;
            groups.push(self.gid(&owner)?);
        }
        groups.sort_unstable();
        groups.dedup();
        let home = entry.map(|user| user.home.clone()).filter(|home| !home.is_empty());
        Ok(Identity { uid, gid, groups, home: home.unwrap_or_else(|| "/".to_owned()) })
    }

    /// The home of `uid`, or `/`.
    pub(super) fn home(&self, uid: u32) -> String {
        let entry = self.users.iter().find(|user| user.uid == uid);
        entry.map_or_else(|| "/".to_owned(), |user| user.home.clone())
    }

    fn memberships(&self, name: &str) -> impl Iterator<Item = u32> {
        self.groups
            .iter()
            .filter(move |group| group.members.iter().any(|member| member == name))
            .map(|group| group.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users::parse(
            "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:34:web:/var/www:/bin/false\nbare:x:77:77::",
            "root:x:0:\nwww:x:34:\nlogs:x:40:www,root\nstaff:x:50:www\n",
        )
    }

    fn identity(text: &str) -> Identity {
        users().identity(text, &[]).unwrap()
    }

    #[test]
    fn names_and_numbers_find_their_entry() {
        let www = Identity { uid: 33, gid: 34, groups: vec![40, 50], home: "/var/www".to_owned() };
        assert_eq!(identity("www"), www);
        assert_eq!(identity("33"), www);
        assert_eq!(identity("").uid, 0);
        assert_eq!(identity("").home, "/root");
    }

    #[test]
    fn numbers_need_no_entry_and_an_explicit_group_stands_alone() {
        let nobody = Identity { uid: 1234, gid: 0, groups: vec![], home: "/".to_owned() };
        assert_eq!(identity("1234"), nobody);
        assert_eq!(identity("www:staff").gid, 50);
        assert_eq!(identity("www:7").groups, [0; 0]);
        assert_eq!(users().identity("7:7", &["logs".into(), "9".into()]).unwrap().groups, [9, 40]);
    }

    #[test]
    fn who_is_not_there_is_named() {
        let error = |text: &str| users().identity(text, &[]).unwrap_err().to_string();
        assert!(error("ghost").starts_with("unable to find user ghost"));
        assert!(error("www:ghosts").starts_with("unable to find group ghosts"));
        assert!(error("www:b:c").contains("not of the form"));
        users().identity("0", &["ghosts".into()]).unwrap_err();
    }
}
