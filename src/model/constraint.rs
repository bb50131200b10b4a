//! Placement constraints: `node.labels.zone == a`, checked against what a node is.

use super::{Labels, node::Node};
use std::{fmt, net::IpAddr, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
}

/// `key op value`; keys are those of Swarm, an unknown one never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    pub key: String,
    pub operator: Operator,
    pub value: String,
}

/// Why a constraint was refused; the texts are Swarm's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConstraint {
    #[error("constraint expected one operator from ==, !=")]
    Operator,
    #[error("key '{0}' is invalid")]
    Key(String),
    #[error("value '{0}' is invalid")]
    Value(String),
}

/// # Errors
/// [`BadConstraint`]: no operator, or a key or value with characters outside Swarm's set.
impl FromStr for Constraint {
    type Err = BadConstraint;
    fn from_str(text: &str) -> Result<Self, BadConstraint> {
        let (operator, at) = match (text.find("=="), text.find("!=")) {
            (Some(at), _) => (Operator::Equal, at),
            (None, Some(at)) => (Operator::NotEqual, at),
            (None, None) => return Err(BadConstraint::Operator),
        };
        let (key, value) = (text[..at].trim(), text[at + 2..].trim());
        let in_key = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || key.len() < 2 || !key.bytes().all(in_key) {
            return Err(BadConstraint::Key(key.to_owned()));
        }
        let in_value = |b: u8| b.is_ascii_alphanumeric() || b":-_ \t.*()?+[]\\^$|/".contains(&b);
        if value.is_empty() || !value.bytes().all(in_value) {
            return Err(BadConstraint::Value(value.to_owned()));
        }
        Ok(Self { key: key.to_owned(), operator, value: value.to_owned() })
    }
}

impl Constraint {
    /// Whether a node satisfies it. Keys and values are compared whatever the case, names of labels exactly; a label
    /// the node does not have is equal to nothing, and a key nobody knows is never satisfied.
    pub fn matches(&self, node: &Node) -> bool {
        let key = self.key.to_ascii_lowercase();
        let description = &node.description;
        match key.as_str() {
            "node.id" => self.compare(node.id.as_str()),
            "node.hostname" => self.compare(&description.hostname),
            "node.role" => self.compare(&node.role.to_string()),
            "node.platform.os" => self.compare(&description.os),
            "node.platform.arch" => match self.operator {
                Operator::Equal => arch(&description.arch) == arch(&self.value),
                Operator::NotEqual => arch(&description.arch) != arch(&self.value),
            },
            "node.ip" => self.compare_ip(&node.status.addr),
            _ => {
                let label = |prefix: &str, labels: &Labels| {
                    key.starts_with(prefix).then(|| match labels.get(&self.key[prefix.len()..]) {
                        Some(value) => self.compare(value),
                        None => self.operator == Operator::NotEqual,
                    })
                };
                label("node.labels.", &node.labels)
                    .or_else(|| label("engine.labels.", &description.engine_labels))
                    .unwrap_or(false)
            }
        }
    }

    /// Whether the node's own word decides: what it says of itself with each session, or the host name it joined with.
    /// `node.id`, `node.role` and `node.labels` are set by operators, and `node.ip` is where managers see it.
    pub fn is_said_by_node(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        key == "node.hostname"
            || key.starts_with("node.platform.")
            || key.starts_with("engine.labels.")
    }

    fn compare(&self, have: &str) -> bool {
        let equal = self.value.to_lowercase() == have.to_lowercase();
        match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
        }
    }

    /// Compares with one address or with a network, `10.0.0.0/8`. What is neither matches no node, as in Swarm.
    fn compare_ip(&self, have: &str) -> bool {
        let Ok(have) = have.parse::<IpAddr>() else { return false };
        let within = match self.value.split_once('/') {
            None => self.value.parse::<IpAddr>().ok().map(|ip| ip == have),
            Some((net, bits)) => {
                net.parse::<IpAddr>().ok().zip(bits.parse::<u32>().ok()).and_then(|(net, bits)| {
                    match (net, have) {
                        (IpAddr::V4(net), IpAddr::V4(have)) => (bits <= 32).then(|| {
                            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                            net.to_bits() & mask == have.to_bits() & mask
                        }),
                        (IpAddr::V6(net), IpAddr::V6(have)) => (bits <= 128).then(|| {
                            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                            net.to_bits() & mask == have.to_bits() & mask
                        }),
                        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                            Some(false)
                        }
                    }
                })
            }
        };
        match (within, self.operator) {
            (Some(within), Operator::Equal) => within,
            (Some(within), Operator::NotEqual) => !within,
            (None, _) => false,
        }
    }
}

/// One name for each architecture, of those kernels and images use.
fn arch(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" | "amd64" => "amd64".to_owned(),
        "aarch64" | "arm64" => "arm64".to_owned(),
        other => other.to_owned(),
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
        };
        write!(f, "{} {operator} {}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{clock::Timestamp, id::NodeId},
        model::{
            Meta,
            node::{Availability, NodeDescription, NodeState, NodeStatus, Role, Standing},
        },
    };

    fn node() -> Node {
        Node {
            id: NodeId::from_random([3; 17]),
            meta: Meta::default(),
            role: Role::Manager,
            availability: Availability::Active,
            labels: Labels::from([("Zone".into(), "A1".into())]),
            description: NodeDescription {
                hostname: "Host".into(),
                os: "linux".into(),
                arch: "x86_64".into(),
                engine_labels: Labels::from([("disk".into(), "ssd".into())]),
                ..NodeDescription::default()
            },
            renamed: None,
            standing: Standing::Member,
            status: NodeStatus {
                state: NodeState::Ready,
                message: String::new(),
                addr: "10.1.2.3".into(),
                at: Timestamp(0),
                dispatcher: None,
            },
            manager: None,
            certificate: None,
            runtime_failed_at: None,
            sightings: Default::default(),
        }
    }

    fn matches(text: &str) -> bool {
        text.parse::<Constraint>().unwrap().matches(&node())
    }

    #[test]
    fn keys_and_values_match_whatever_their_case() {
        for good in [
            "node.hostname == host",
            "NODE.HOSTNAME==HOST",
            "node.role == manager",
            "node.role != worker",
            "node.platform.os == Linux",
            "node.platform.arch == amd64",
            "node.platform.arch == x86_64",
            "node.platform.arch != arm64",
            "node.labels.Zone == a1",
            "engine.labels.disk == ssd",
        ] {
            assert!(matches(good), "{good}");
        }
        assert!(matches(&format!("node.id == {}", node().id)));
        assert!(!matches("node.hostname == ho"), "nothing is a pattern");
        assert!(!matches("node.platform.arch == aarch64"));
    }

    #[test]
    fn a_missing_label_is_equal_to_nothing() {
        assert!(!matches("node.labels.zone == a1"), "names of labels have a case");
        assert!(matches("node.labels.zone != a1"));
        assert!(!matches("node.colour != red"), "an unknown key never matches");
    }

    #[test]
    fn addresses_match_alone_and_in_networks() {
        for good in ["node.ip == 10.1.2.3", "node.ip == 10.1.0.0/16", "node.ip == 9.9.9.9/0"] {
            assert!(matches(good), "{good}");
        }
        assert!(matches("node.ip != 10.2.0.0/16"));
        assert!(matches("node.ip != fe80::/10"));
        for bad in ["node.ip == 10.1.2.4", "node.ip == 10.1.2.3/33", "node.ip != nonsense"] {
            assert!(!matches(bad), "{bad}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, why) in [
            ("node.id", "constraint expected one operator from ==, !="),
            ("== x", "key '' is invalid"),
            ("1node == x", "key '1node' is invalid"),
            ("node.id ==", "value '' is invalid"),
            ("node.id == a;b", "value 'a;b' is invalid"),
        ] {
            assert_eq!(text.parse::<Constraint>().unwrap_err().to_string(), why);
        }
        let constraint: Constraint = "a.b==c".parse().unwrap();
        assert_eq!(constraint.to_string(), "a.b == c");
    }
}
