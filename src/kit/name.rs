//! Names that people choose, checked once: of secrets and configs, of services, of stacks.

use super::limits::{OBJECT_NAME_LEN, SERVICE_NAME_LEN};
use std::{fmt, str::FromStr};

/// Why a name was refused; the texts are those operators know from Swarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("name must be provided")]
    Empty,
    #[error(
        "invalid name, only {OBJECT_NAME_LEN} [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
    )]
    Object,
    #[error("name must be valid as a DNS name component")]
    Service,
    #[error("name must be {SERVICE_NAME_LEN} characters or fewer")]
    ServiceTooLong,
}

/// The name of a secret or config: `[a-zA-Z0-9-_.]`, first and last alphanumeric, at most 253 bytes.
///
/// Two names that differ only in case are the same name; [`ObjectName::folded`] is what is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// The name of a service: `[a-zA-Z0-9]` with single or repeated `-` and `_` inside, at most 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

/// # Errors
/// [`BadName`] says which rule the text breaks.
impl FromStr for ObjectName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(BadName::Empty);
        };
        let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if bytes.len() > OBJECT_NAME_LEN
            || !first.is_ascii_alphanumeric()
            || !last.is_ascii_alphanumeric()
            || !bytes.iter().all(inner)
        {
            return Err(BadName::Object);
        }
        Ok(Self(text.to_owned()))
    }
}

/// # Errors
/// [`BadName`] says which rule the text breaks.
impl FromStr for ServiceName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(BadName::Empty);
        };
        let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !first.is_ascii_alphanumeric()
            || !last.is_ascii_alphanumeric()
            || !bytes.iter().all(inner)
        {
            return Err(BadName::Service);
        }
        if bytes.len() > SERVICE_NAME_LEN {
            return Err(BadName::ServiceTooLong);
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form under which the name is unique: lower case.
            pub fn folded(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
text!(ObjectName);
text!(ServiceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_follow_swarms_rule_up_to_253_bytes() {
        for good in ["a", "nerd-dinner-db-sa-password", "A.b_c-9", &"x".repeat(253)] {
            assert!(good.parse::<ObjectName>().is_ok(), "{good}");
        }
        for bad in ["-a", "a-", ".", "a b", "a/b", "é", "a\0b", &"x".repeat(254)] {
            assert_eq!(bad.parse::<ObjectName>(), Err(BadName::Object), "{bad}");
        }
        assert_eq!("".parse::<ObjectName>(), Err(BadName::Empty));
    }

    #[test]
    fn service_names_are_one_dns_label() {
        for good in ["web", "a__b--c", "A1", &"x".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        assert_eq!("a.b".parse::<ServiceName>(), Err(BadName::Service));
        assert_eq!("x".repeat(64).parse::<ServiceName>(), Err(BadName::ServiceTooLong));
    }
}
