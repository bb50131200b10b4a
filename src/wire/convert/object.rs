//! Secrets and configs, their versions, and references to them.

use super::{
    Code, Malformed,
    parts::{At, convert, list, maybe, need, parse, wires},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        destroyed::Destroyed,
        object::{Kind, Object, Version, VersionNumber},
        reference::{FileMode, OnChange, Owner, Reference, Target, VersionPick},
        task::ObjectVersion,
    },
    wire::v1,
};

/// A version's number; they count from 1.
pub(super) fn number(value: u64, field: &str) -> Result<VersionNumber, Malformed> {
    if value == 0 {
        return Err(Malformed::new("versions count from 1").within(field));
    }
    Ok(VersionNumber(value))
}

impl From<&Version> for v1::Version {
    fn from(value: &Version) -> Self {
        let Version { number, created_at, size, term } = value;
        Self { number: number.0, created_at_ms: created_at.0, size: *size, term: *term }
    }
}

impl TryFrom<v1::Version> for Version {
    type Error = Malformed;
    fn try_from(wire: v1::Version) -> Result<Self, Malformed> {
        let v1::Version { number: n, created_at_ms, size, term } = wire;
        // Unset where it was written before there could be a second one.
        let term = term.max(1);
        Ok(Self { number: number(n, "number")?, created_at: Timestamp(created_at_ms), size, term })
    }
}

impl From<&Object> for v1::Object {
    fn from(value: &Object) -> Self {
        let Object { kind, id, name, labels, meta, versions } = value;
        Self {
            kind: kind.code(),
            id: id.to_string(),
            name: name.to_string(),
            labels: labels.clone(),
            meta: Some(meta.into()),
            versions: wires(versions),
        }
    }
}

impl TryFrom<v1::Object> for Object {
    type Error = Malformed;
    fn try_from(wire: v1::Object) -> Result<Self, Malformed> {
        let v1::Object { kind, id, name, labels, meta, versions } = wire;
        if versions.is_empty() {
            return Err(Malformed::new("must not be empty").within("versions"));
        }
        Ok(Self {
            kind: Kind::from_code(kind).at("kind")?,
            id: parse(&id, "id")?,
            name: parse(&name, "name")?,
            labels,
            meta: convert(meta, "meta")?,
            versions: list(versions, "versions")?,
        })
    }
}

impl From<&Destroyed> for v1::Destroyed {
    fn from(value: &Destroyed) -> Self {
        let Destroyed { kind, id, name, created_at, removed_at, done } = value;
        Self {
            kind: kind.code(),
            id: id.to_string(),
            name: name.to_string(),
            created_at_ms: created_at.0,
            removed_at_ms: removed_at.0,
            done: done.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::Destroyed> for Destroyed {
    type Error = Malformed;
    fn try_from(wire: v1::Destroyed) -> Result<Self, Malformed> {
        let v1::Destroyed { kind, id, name, created_at_ms, removed_at_ms, done } = wire;
        Ok(Self {
            kind: Kind::from_code(kind).at("kind")?,
            id: parse(&id, "id")?,
            name: parse(&name, "name")?,
            created_at: Timestamp(created_at_ms),
            removed_at: Timestamp(removed_at_ms),
            done: done.iter().map(|id| parse(id, "done")).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&ObjectVersion> for v1::ObjectVersion {
    fn from(value: &ObjectVersion) -> Self {
        let ObjectVersion { object, version } = value;
        Self { object_id: object.to_string(), version: version.0 }
    }
}

impl TryFrom<v1::ObjectVersion> for ObjectVersion {
    type Error = Malformed;
    fn try_from(wire: v1::ObjectVersion) -> Result<Self, Malformed> {
        let v1::ObjectVersion { object_id, version } = wire;
        Ok(Self { object: parse(&object_id, "object_id")?, version: number(version, "version")? })
    }
}

impl From<&Owner> for v1::Owner {
    fn from(value: &Owner) -> Self {
        let owner = match value {
            Owner::Id(id) => v1::owner::Owner::Id(*id),
            Owner::Name(name) => v1::owner::Owner::Name(name.clone()),
        };
        Self { owner: Some(owner) }
    }
}

impl TryFrom<v1::Owner> for Owner {
    type Error = Malformed;
    fn try_from(wire: v1::Owner) -> Result<Self, Malformed> {
        let v1::Owner { owner } = wire;
        match need(owner, "owner")? {
            v1::owner::Owner::Id(id) => parse(&id.to_string(), "id"),
            v1::owner::Owner::Name(name) => match parse(&name, "name")? {
                Self::Name(name) => Ok(Self::Name(name)),
                Self::Id(_) => Err(Malformed::new("a number is no name").within("name")),
            },
        }
    }
}

impl From<&Reference> for v1::Reference {
    fn from(value: &Reference) -> Self {
        let Reference { kind, object, name, version, target, uid, gid, mode, on_change } = value;
        Self {
            kind: kind.code(),
            object_id: object.to_string(),
            object_name: name.to_string(),
            version: match version {
                VersionPick::Latest => None,
                VersionPick::Exact(number) => Some(number.0),
            },
            target: target.to_string(),
            uid: uid.as_ref().map(Into::into),
            gid: gid.as_ref().map(Into::into),
            mode: mode.map(FileMode::bits),
            on_change: on_change.code(),
        }
    }
}

impl TryFrom<v1::Reference> for Reference {
    type Error = Malformed;
    fn try_from(wire: v1::Reference) -> Result<Self, Malformed> {
        let v1::Reference {
            kind,
            object_id,
            object_name,
            version,
            target,
            uid,
            gid,
            mode,
            on_change,
        } = wire;
        let kind = Kind::from_code(kind).at("kind")?;
        Ok(Self {
            kind,
            object: parse(&object_id, "object_id")?,
            name: parse(&object_name, "object_name")?,
            version: match version {
                None => VersionPick::Latest,
                Some(n) => VersionPick::Exact(number(n, "version")?),
            },
            target: Target::parse(kind, &target).map_err(Malformed::new).at("target")?,
            uid: maybe(uid, "uid")?,
            gid: maybe(gid, "gid")?,
            mode: mode.map(FileMode::new).transpose().map_err(Malformed::new).at("mode")?,
            // A caller that does not know of it wants what there always was.
            on_change: match on_change {
                0 => OnChange::Keep,
                code => OnChange::from_code(code).at("on_change")?,
            },
        })
    }
}
