//! Turns an order into a job: everything the shim needs, in numbers and absolute paths. Pure.
//!
//! Whatever cannot work here is refused before any process is started. A job says nothing of payloads but their length.

use super::{
    users::{Identity, Users},
    words,
};
use crate::{
    agent::runtime::{Order, RuntimeError},
    crypto::plaintext::Plaintext,
    model::{
        object::Kind,
        reference::Reference,
        service::{ContainerSpec, Mount, MountKind},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// As in images that set none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the shim is told, on its standard input; the payloads follow it there, one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    /// Where to keep the record, the output and the control socket; none for a mere check of the kernel.
    pub(super) home: Option<PathBuf>,
    /// Mounts with the rights the daemon has; otherwise in a user namespace of its own.
    pub(super) privileged: bool,
    pub(super) identity: Identity,
    pub(super) hostname: String,
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) dir: String,
    pub(super) read_only: bool,
    pub(super) stop_signal: i32,
    /// One bit for each capability that is kept.
    pub(super) capabilities: u64,
    /// The daemon's own paths, which no task must see.
    pub(super) hide: Vec<PathBuf>,
    /// Shallow targets first.
    pub(super) mounts: Vec<JobMount>,
    pub(super) files: Vec<JobFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobMount {
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    Host(PathBuf),
    /// A directory of ours, made when it is first used.
    Volume(PathBuf),
    Tmpfs {
        size: u64,
        mode: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobFile {
    /// `secret db-password`, for messages.
    pub(super) what: String,
    pub(super) target: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) len: u64,
}

/// Who we are on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Me {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// May mount and become anyone without a user namespace.
    pub(super) privileged: bool,
}

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths<'a> {
    pub(super) home: &'a Path,
    pub(super) volumes: &'a Path,
    pub(super) hide: &'a [PathBuf],
}

/// Draws up the job of a task.
///
/// # Errors
/// [`RuntimeError::Rejected`]: no command, unknown users, groups, signals or capabilities, rights we lack, mounts that
/// make no sense.
pub(super) fn draw(
    order: &Order,
    me: Me,
    users: &Users,
    paths: Paths<'_>,
) -> Result<Job, RuntimeError> {
    let spec = &order.task.spec.container;
    let command: Vec<String> = spec.command.iter().chain(&spec.args).cloned().collect();
    if command.first().is_none_or(String::is_empty) {
        return reject(
            "the process runtime needs a command: it runs no images, so nothing says what to start",
        );
    }
    let identity = identity(spec, me, users)?;
    let Some(stop_signal) = words::signal(&spec.stop_signal) else {
        return reject(format!("stop signal '{}' is not known", spec.stop_signal));
    };
    if !me.privileged && !spec.cap_add.is_empty() {
        return reject(format!(
            "capability {} cannot be given: secretd does not run as root here",
            spec.cap_add.join(", ")
        ));
    }
    let capabilities = words::capabilities(&spec.cap_add, &spec.cap_drop)
        .map_err(|name| RuntimeError::Rejected(format!("capability '{name}' is not known")))?;
    let hostname = if spec.hostname.is_empty() {
        order.task.id.as_str()[..12].to_owned()
    } else {
        spec.hostname.clone()
    };
    let dir = match spec.dir.as_str() {
        "" => "/".to_owned(),
        dir if dir.starts_with('/') => dir.to_owned(),
        dir => return reject(format!("working directory '{dir}' must be an absolute path")),
    };
    let mut files = Vec::with_capacity(order.files.len());
    for file in &order.files {
        files.push(job_file(&file.reference, &file.payload, &identity, me, users)?);
    }
    let job = Job {
        home: Some(paths.home.to_owned()),
        privileged: me.privileged,
        env: environment(spec, &identity, &hostname),
        identity,
        hostname,
        command,
        dir,
        read_only: spec.read_only,
        stop_signal,
        capabilities,
        hide: paths.hide.to_vec(),
        mounts: mounts(&spec.mounts, paths.volumes)?,
        files,
    };
    refuse_shared_targets(&job)?;
    Ok(job)
}

/// A job that builds the sandbox and starts nothing: tells whether the kernel lets us.
pub(super) fn check(me: Me) -> Job {
    Job {
        home: None,
        privileged: me.privileged,
        identity: Identity { uid: me.uid, gid: me.gid, groups: vec![], home: "/".to_owned() },
        hostname: "check".to_owned(),
        command: vec!["/".to_owned()],
        env: BTreeMap::new(),
        dir: "/".to_owned(),
        read_only: false,
        stop_signal: libc::SIGTERM,
        capabilities: 0,
        hide: vec![],
        mounts: vec![],
        files: vec![],
    }
}

fn reject<T>(why: impl Into<String>) -> Result<T, RuntimeError> {
    Err(RuntimeError::Rejected(why.into()))
}

fn identity(spec: &ContainerSpec, me: Me, users: &Users) -> Result<Identity, RuntimeError> {
    if !me.privileged && spec.user.is_empty() && spec.groups.is_empty() {
        return Ok(Identity { uid: me.uid, gid: me.gid, groups: vec![], home: users.home(me.uid) });
    }
    let known = |text: &str, groups: &[String]| {
        let found = users.identity(text, groups);
        found.map_err(|error| RuntimeError::Rejected(error.to_string()))
    };
    if me.privileged {
        return known(&spec.user, &spec.groups);
    }
    let ours = format!("{}:{}", me.uid, me.gid);
    let text = if spec.user.is_empty() { &ours } else { &spec.user };
    let mut found = known(text, &spec.groups)?;
    let more = known(&ours, &spec.groups)?.groups;
    if !text.contains(':') {
        // Another group would have to be asked for by name; ours is what we have.
        found.gid = me.gid;
    }
    if found.uid != me.uid || found.gid != me.gid || more.iter().any(|gid| *gid != me.gid) {
        let groups = match &spec.groups[..] {
            [] => String::new(),
            groups => format!(" with groups {}", groups.join(", ")),
        };
        return reject(format!(
            "user '{text}'{groups} cannot be used: secretd runs as {ours} and without root's rights starts processes \
             only as itself; leave user and groups out, or run secretd as root"
        ));
    }
    Ok(Identity { groups: vec![], ..found })
}

fn job_file(
    reference: &Reference,
    payload: &Plaintext,
    identity: &Identity,
    me: Me,
    users: &Users,
) -> Result<JobFile, RuntimeError> {
    let Reference { kind, object: _, name, version: _, target, uid, gid, mode, on_change: _ } =
        reference;
    let what = format!("{kind} {name}");
    let unknown = |error| RuntimeError::Rejected(format!("{what}: {error}"));
    let uid = uid.as_ref().map_or(Ok(identity.uid), |owner| users.uid(owner)).map_err(unknown)?;
    let gid = gid.as_ref().map_or(Ok(identity.gid), |owner| users.gid(owner)).map_err(unknown)?;
    if !me.privileged && (uid, gid) != (me.uid, me.gid) {
        return reject(format!(
            "{what}: its file cannot belong to {uid}:{gid}: secretd runs as {}:{} and without root's rights gives \
             files only to itself; leave uid and gid out, or run secretd as root",
            me.uid, me.gid
        ));
    }
    let default = match kind {
        Kind::Secret => 0o400,
        Kind::Config => 0o444,
    };
    Ok(JobFile {
        what,
        target: target.as_str().to_owned(),
        uid,
        gid,
        mode: mode.map_or(default, |mode| mode.bits()),
        len: payload.len() as u64,
    })
}

fn environment(
    spec: &ContainerSpec,
    identity: &Identity,
    hostname: &str,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOME".to_owned(), identity.home.clone()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ]);
    for entry in &spec.env {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        env.insert(key.to_owned(), value.to_owned());
    }
    env
}

fn mounts(wanted: &[Mount], volumes: &Path) -> Result<Vec<JobMount>, RuntimeError> {
    let mut mounts = Vec::with_capacity(wanted.len());
    for Mount { kind, source, target, read_only } in wanted {
        let from = match kind {
            MountKind::Bind if source.starts_with('/') => Source::Host(source.into()),
            MountKind::Bind => {
                return reject(format!("bind mount source '{source}' must be an absolute path"));
            }
            MountKind::Volume if source.is_empty() => Source::Tmpfs { size: 0, mode: 0o755 },
            MountKind::Volume if is_volume_name(source) => Source::Volume(volumes.join(source)),
            MountKind::Volume => {
                return reject(format!(
                    "volume name '{source}' may only have letters, digits, '_', '.' and '-', and begins with a \
                     letter or digit"
                ));
            }
            MountKind::Tmpfs { size, mode } => {
                Source::Tmpfs { size: *size, mode: if *mode == 0 { 0o1777 } else { mode & 0o1777 } }
            }
        };
        mounts.push(JobMount {
            target: mount_target(target)?,
            read_only: *read_only,
            source: from,
        });
    }
    mounts.sort_by_key(|mount| mount.target.matches('/').count());
    Ok(mounts)
}

fn is_volume_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn mount_target(text: &str) -> Result<String, RuntimeError> {
    let bad = |why: &str| reject(format!("mount target '{text}' {why}"));
    if !text.starts_with('/') {
        return bad("must be an absolute path");
    }
    if text.contains('\0') {
        return bad("must not contain a NUL byte");
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    match parts.first() {
        None => bad("must not be the root"),
        Some(&"proc" | &"sys") => bad("lies on what belongs to the system"),
        Some(_) if parts.contains(&"..") => bad("must not contain '..'"),
        Some(_) => Ok(format!("/{}", parts.join("/"))),
    }
}

/// Two things at one path would hide one another; which one wins would be luck.
fn refuse_shared_targets(job: &Job) -> Result<(), RuntimeError> {
    let mut seen = BTreeMap::new();
    let mounts = job.mounts.iter().map(|mount| (mount.target.as_str(), "a mount"));
    for (target, what) in
        mounts.chain(job.files.iter().map(|f| (f.target.as_str(), f.what.as_str())))
    {
        if let Some(first) = seen.insert(target, what) {
            return reject(format!("{first} and {what} have the same target {target}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::runtime::process::testing;

    const ROOT: Me = Me { uid: 0, gid: 0, privileged: true };
    const NOBODY: Me = Me { uid: 65534, gid: 65534, privileged: false };

    fn draw_as(me: Me, change: impl FnOnce(&mut ContainerSpec)) -> Result<Job, String> {
        let order = testing::order(&["/bin/true"], change).file(Kind::Secret, "/app/x", b"abc");
        let paths =
            Paths { home: Path::new("/h"), volumes: Path::new("/v"), hide: &[PathBuf::from("/k")] };
        draw(&order.build(), me, &Users::default(), paths).map_err(|error| error.to_string())
    }

    #[test]
    fn the_job_of_a_plain_task_is_complete() {
        let job = draw_as(ROOT, |spec| {
            spec.args = vec!["-x".into()];
            spec.env = vec!["A=b=c".into(), "EMPTY".into(), "HOME=/h".into()];
            spec.hostname = "web".into();
        })
        .unwrap();
        assert_eq!(job.command, ["/bin/true", "-x"]);
        let env: Vec<_> = job.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(env, ["A=b=c", "EMPTY=", "HOME=/h", "HOSTNAME=web", &format!("PATH={PATH}")]);
        assert_eq!((job.dir.as_str(), job.stop_signal), ("/", 15));
        let file = &job.files[0];
        assert_eq!((file.uid, file.mode, file.len), (0, 0o400, 3));
    }

    #[test]
    fn a_secret_belongs_to_the_tasks_user_unless_told_otherwise() {
        let job = draw_as(ROOT, |spec| spec.user = "1000:1001".into()).unwrap();
        assert_eq!((job.files[0].uid, job.files[0].gid), (1000, 1001));
    }

    #[test]
    fn without_a_command_there_is_nothing_to_run() {
        let error = draw_as(ROOT, |spec| spec.command.clear()).unwrap_err();
        assert!(error.contains("needs a command"), "{error}");
    }

    #[test]
    fn without_roots_rights_a_task_runs_as_the_daemon_or_not_at_all() {
        assert_eq!(draw_as(NOBODY, |_| ()).unwrap().identity.uid, 65534);
        assert_eq!(draw_as(NOBODY, |spec| spec.user = "65534".into()).unwrap().identity.gid, 65534);
        let error = draw_as(NOBODY, |spec| spec.user = "1000".into()).unwrap_err();
        assert!(error.contains("run secretd as root"), "{error}");
        draw_as(NOBODY, |spec| spec.groups = vec!["4".into()]).unwrap_err();
        draw_as(NOBODY, |spec| spec.cap_add = vec!["CHOWN".into()]).unwrap_err();
    }

    #[test]
    fn mounts_that_make_no_sense_are_refused() {
        let with = |kind, source: &str, target: &str| {
            draw_as(ROOT, |spec| {
                spec.mounts = vec![Mount {
                    kind,
                    source: source.into(),
                    target: target.into(),
                    read_only: false,
                }];
            })
        };
        for (kind, source, target) in [
            (MountKind::Bind, "relative", "/x"),
            (MountKind::Bind, "/x", "x"),
            (MountKind::Bind, "/x", "/"),
            (MountKind::Bind, "/x", "/a/../b"),
            (MountKind::Bind, "/x", "/proc/1"),
            (MountKind::Volume, "../x", "/x"),
            (MountKind::Volume, "a/b", "/x"),
            (MountKind::Bind, "/x", "/app/x"),
        ] {
            with(kind, source, target).unwrap_err();
        }
        let job = with(MountKind::Volume, "data", "//srv/./x/").unwrap();
        assert_eq!(job.mounts[0].target, "/srv/x");
        assert_eq!(job.mounts[0].source, Source::Volume("/v/data".into()));
    }

    #[test]
    fn unknown_words_are_named() {
        for (field, change) in [
            ("SIGNOPE", (|s| s.stop_signal = "SIGNOPE".into()) as fn(&mut ContainerSpec)),
            ("FLY", |s| s.cap_add = vec!["FLY".into()]),
            ("ghost", |s| s.user = "ghost".into()),
            ("some/where", |s| s.dir = "some/where".into()),
        ] {
            let error = draw_as(ROOT, change).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }
}
