//! Reads `--secret` and `--config`: a bare name, or `source=,target=,uid=,gid=,mode=`.

use super::csv;
use crate::model::{
    object::{Kind, VersionNumber},
    reference::{FileMode, Owner, Target, VersionPick},
};

/// A reference as the user wrote it: the source may be a name, an id or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReferenceFlag {
    pub(crate) source: String,
    /// Unset: the object's name.
    pub(crate) target: Option<String>,
    pub(crate) uid: Option<Owner>,
    pub(crate) gid: Option<Owner>,
    pub(crate) mode: Option<FileMode>,
    pub(crate) version: VersionPick,
}

/// Reads one reference of `kind`.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn reference(kind: Kind, text: &str) -> Result<ReferenceFlag, String> {
    let mut flag = ReferenceFlag {
        source: String::new(),
        target: None,
        uid: None,
        gid: None,
        mode: None,
        version: VersionPick::Latest,
    };
    let fields = csv(text)?;
    if let [only] = fields.as_slice()
        && !only.contains('=')
    {
        flag.source.clone_from(only);
    } else {
        for field in &fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("invalid field '{field}', it must be a key=value pair"))?;
            let in_field = |error: &dyn std::fmt::Display| format!("invalid {key}: {error}");
            match key.to_ascii_lowercase().as_str() {
                "source" | "src" => value.clone_into(&mut flag.source),
                "target" => {
                    Target::parse(kind, value).map_err(|error| in_field(&error))?;
                    flag.target = Some(value.to_owned());
                }
                "uid" => flag.uid = Some(value.parse().map_err(|error| in_field(&error))?),
                "gid" => flag.gid = Some(value.parse().map_err(|error| in_field(&error))?),
                "mode" => flag.mode = Some(mode(value).map_err(|error| in_field(&error))?),
                "version" => flag.version = version(value).map_err(|error| in_field(&error))?,
                _ => {
                    return Err(format!(
                        "unknown field '{key}'; the fields are source, target, uid, gid, mode, version"
                    ));
                }
            }
        }
    }
    if flag.source.is_empty() {
        return Err(format!("source is required: the name of a {kind}"));
    }
    Ok(flag)
}

/// A number with its base in front, as docker reads modes: `0400` and `0o400` are octal, `256` is decimal.
fn mode(text: &str) -> Result<FileMode, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = if let Some(rest) = lower.strip_prefix("0x") {
        (rest, 16)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (rest, 2)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (rest, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(format!("'{text}' is not a number; octal numbers begin with 0"));
    }
    let bits = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    FileMode::new(bits).map_err(|error| {
        // The most common slip: `mode=400` means 0620 and `mode=644` means 01204.
        if radix == 10 {
            format!("{error}; '{text}' is decimal, octal numbers begin with 0: 0{text}")
        } else {
            error.to_string()
        }
    })
}

fn version(text: &str) -> Result<VersionPick, String> {
    if text == "latest" {
        return Ok(VersionPick::Latest);
    }
    match text.strip_prefix('v').unwrap_or(text).parse() {
        Ok(number) if number > 0 => Ok(VersionPick::Exact(VersionNumber(number))),
        _ => Err(format!("'{text}' is neither a number nor 'latest'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Result<u32, String> {
        mode(text).map(FileMode::bits)
    }

    #[test]
    fn a_bare_name_is_a_source() {
        let flag = reference(Kind::Secret, "db-password").unwrap();
        assert_eq!((flag.source.as_str(), flag.target, flag.mode), ("db-password", None, None));
    }

    #[test]
    fn every_field_is_read() {
        let flag = reference(
            Kind::Secret,
            "src=db,target=/app/sa,uid=1000,gid=www-data,mode=0440,version=v2",
        )
        .unwrap();
        assert_eq!(
            flag,
            ReferenceFlag {
                source: "db".into(),
                target: Some("/app/sa".into()),
                uid: Some(Owner::Id(1000)),
                gid: Some(Owner::Name("www-data".into())),
                mode: Some(FileMode::new(0o440).unwrap()),
                version: VersionPick::Exact(VersionNumber(2)),
            }
        );
    }

    #[test]
    fn modes_have_the_base_they_show() {
        assert_eq!(bits("0400"), Ok(0o400));
        assert_eq!(bits("400"), Ok(400));
        assert_eq!(bits("0o444"), Ok(0o444));
        assert_eq!(bits("0x1ff"), Ok(0o777));
        assert_eq!(bits("0"), Ok(0));
        assert_eq!(
            bits("644"),
            Err("mode must be at most 0777; '644' is decimal, octal numbers begin with 0: 0644"
                .into())
        );
        for text in ["", "0o", "rw", "+0400", "-1", "04000", "09", "99999999999999"] {
            bits(text).expect_err(text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("", "source is required: the name of a secret"),
            ("target=x", "source is required: the name of a secret"),
            ("src=a,target", "invalid field 'target', it must be a key=value pair"),
            (
                "src=a,moed=1",
                "unknown field 'moed'; the fields are source, target, uid, gid, mode, version",
            ),
            ("src=a,target=../x", "invalid target: target '../x' must not contain '..'"),
            (
                "src=a,uid=a b",
                "invalid uid: owner must be a number or a name of [a-zA-Z0-9_.-], at most 32 characters",
            ),
            ("src=a,version=0", "invalid version: '0' is neither a number nor 'latest'"),
        ] {
            assert_eq!(reference(Kind::Secret, text), Err(why.to_owned()), "{text}");
        }
    }
}
