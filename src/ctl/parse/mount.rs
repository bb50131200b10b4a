//! Reads `--mount type=bind|volume|tmpfs,source=,target=,readonly,…` as docker does.

use super::{bytes, csv};
use crate::model::service::{Mount, MountKind};

/// The mode of a tmpfs whose user gave none, as docker has it.
const TMPFS_MODE: u32 = 0o1777;

/// Reads one mount.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn mount(text: &str) -> Result<Mount, String> {
    let (mut kind, mut source, mut target) = ("volume".to_owned(), String::new(), String::new());
    let mut read_only = false;
    let (mut size, mut mode) = (None, None);
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let needed =
            || value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"));
        match key.as_str() {
            "type" => kind = needed()?.to_ascii_lowercase(),
            "source" | "src" => needed()?.clone_into(&mut source),
            "target" | "dst" | "destination" => needed()?.clone_into(&mut target),
            "readonly" | "ro" => {
                read_only = match value {
                    None | Some("true" | "1") => true,
                    Some("false" | "0") => false,
                    Some(other) => return Err(format!("invalid value for {key}: {other}")),
                }
            }
            "tmpfs-size" => size = Some(bytes(needed()?)?),
            "tmpfs-mode" => {
                let value = needed()?;
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                mode = Some(bits.ok_or_else(|| format!("invalid value for {key}: {value}"))?);
            }
            _ => {
                return Err(format!(
                    "unexpected key '{key}' in '{field}'; the keys are type, source, target, readonly, tmpfs-size, tmpfs-mode"
                ));
            }
        }
    }
    if target.is_empty() {
        return Err("target is required".to_owned());
    }
    if !target.starts_with('/') {
        return Err(format!("target '{target}' must be an absolute path"));
    }
    let kind = match kind.as_str() {
        "bind" if source.is_empty() => return Err("a bind mount needs a source".to_owned()),
        "bind" if !source.starts_with('/') => {
            return Err(format!("source '{source}' of a bind mount must be an absolute path"));
        }
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" if !source.is_empty() => return Err("a tmpfs has no source".to_owned()),
        "tmpfs" => MountKind::Tmpfs {
            size: size.take().unwrap_or(0),
            mode: mode.take().unwrap_or(TMPFS_MODE),
        },
        other => {
            return Err(format!("unknown mount type '{other}'; bind, volume and tmpfs are known"));
        }
    };
    if size.is_some() || mode.is_some() {
        return Err("tmpfs-size and tmpfs-mode belong to type=tmpfs".to_owned());
    }
    Ok(Mount { kind, source, target, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_are_read() {
        assert_eq!(
            mount("type=bind,src=/srv,dst=/data,ro"),
            Ok(Mount {
                kind: MountKind::Bind,
                source: "/srv".into(),
                target: "/data".into(),
                read_only: true
            })
        );
        assert_eq!(mount("source=v,target=/v").unwrap().kind, MountKind::Volume);
        assert_eq!(
            mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700").unwrap().kind,
            MountKind::Tmpfs { size: 1 << 20, mode: 0o700 }
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("type=bind,target=/x", "a bind mount needs a source"),
            ("type=bind,src=x,target=/x", "source 'x' of a bind mount must be an absolute path"),
            ("src=x", "target is required"),
            ("src=x,target=rel", "target 'rel' must be an absolute path"),
            ("type=nfs,target=/x", "unknown mount type 'nfs'; bind, volume and tmpfs are known"),
            ("target=/x,tmpfs-size=1", "tmpfs-size and tmpfs-mode belong to type=tmpfs"),
            ("type=tmpfs,src=a,target=/x", "a tmpfs has no source"),
            ("target", "invalid field 'target' must be a key=value pair"),
            (
                "target=/x,volume-nocopy=1",
                "unexpected key 'volume-nocopy' in 'volume-nocopy=1'; the keys are type, source, target, readonly, tmpfs-size, tmpfs-mode",
            ),
        ] {
            assert_eq!(mount(text), Err(why.to_owned()), "{text}");
        }
    }
}
