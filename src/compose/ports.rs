//! Published ports: short forms into long ones, and the long one into the model's.

use super::{
    error::Result,
    tree::{Node, Value},
    view::View,
};
use crate::model::service::{Port, Protocol};
use std::collections::BTreeSet;

/// Ports one entry may stand for: a range over all ports is a slip of the hand.
const RANGE: u16 = 4096;

/// `127.0.0.1:8080-8081:80-81/tcp` becomes one mapping for each port.
pub(crate) fn long(node: Node, path: &str) -> Result<Vec<Node>> {
    if !matches!(node.value, Value::Scalar(_)) {
        return Ok(vec![node]);
    }
    let view = View::new(&node, path);
    let bad = |why: &str| view.error(why).hint("a port is [[IP:]PUBLISHED:]TARGET[/PROTOCOL]");
    let text = view.text()?;
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let (front, target) = ports.rsplit_once(':').map_or((None, ports), |(f, t)| (Some(f), t));
    let (host_ip, published) = match front {
        None => (None, None),
        Some(front) => match front.rsplit_once(':') {
            Some((ip, published)) => (Some(ip), Some(published)),
            None => (None, Some(front)),
        },
    };
    let (first, last) =
        range(target).ok_or_else(|| bad("the target is not a port or a range of ports"))?;
    if last - first >= RANGE {
        return Err(bad("the range has too many ports"));
    }
    let published = match published {
        None | Some("") => None,
        Some(text) => {
            let (from, to) = range(text)
                .ok_or_else(|| bad("the published part is not a port or a range of ports"))?;
            if to - from != last - first {
                return Err(bad("the published range and the target range differ in length"));
            }
            Some(from)
        }
    };
    let one = |offset: u16| {
        let mut fields = vec![
            ("target", Node::plain(&node.pos, (first + offset).to_string())),
            ("protocol", Node::text(&node.pos, protocol)),
        ];
        if let Some(from) = published {
            fields.push(("published", Node::plain(&node.pos, (from + offset).to_string())));
        }
        if let Some(ip) = host_ip {
            fields.push(("host_ip", Node::text(&node.pos, ip)));
        }
        Node::map(&node.pos, fields)
    };
    Ok((0..=last - first).map(one).collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port > 0)
    };
    let (from, to) = (port(from)?, port(to)?);
    (from <= to).then_some((from, to))
}

/// Reads a long form; names what has no effect in `unsupported`.
pub(crate) fn read(view: &View<'_>, unsupported: &mut BTreeSet<String>) -> Result<Port> {
    let mut fields = view.fields()?;
    let port = |view: &View<'_>| {
        u16::try_from(view.whole()?).map_err(|_| view.error("must be a port, at most 65535"))
    };
    let target = fields
        .opt("target", port)?
        .filter(|target| *target > 0)
        .ok_or_else(|| view.error("a port needs a target"))?;
    let published = fields.or_default("published", port)?;
    let protocol = fields
        .opt("protocol", |view| view.word(&[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]))?
        .unwrap_or(Protocol::Tcp);
    // Ports are published on the node that runs the task; there is no mesh that would route to it.
    if !fields.opt("mode", |view| view.word(&[("host", true), ("ingress", false)]))?.unwrap_or(true)
    {
        unsupported.insert("ports.mode: ingress".to_owned());
    }
    if fields.ignore("host_ip") {
        unsupported.insert("ports.host_ip".to_owned());
    }
    for key in ["name", "app_protocol"] {
        fields.ignore(key);
    }
    fields.finish()?;
    Ok(Port { target, published, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::tree::Pos;
    use proptest::prelude::*;

    fn ports(text: &str) -> Result<Vec<(u16, u16, Protocol)>> {
        let pos = Pos { file: "f".into(), line: 1, column: 1 };
        let mut ignored = BTreeSet::new();
        long(Node::text(&pos, text), "ports[0]")?
            .iter()
            .map(|node| read(&View::new(node, "ports[0]"), &mut ignored))
            .map(|port| port.map(|p| (p.published, p.target, p.protocol)))
            .collect()
    }

    #[test]
    fn short_forms_read_as_docker_reads_them() {
        use Protocol::{Tcp, Udp};
        for (text, expected) in [
            ("80", vec![(0, 80, Tcp)]),
            ("8080:80", vec![(8080, 80, Tcp)]),
            ("53:53/udp", vec![(53, 53, Udp)]),
            ("127.0.0.1:8080:80", vec![(8080, 80, Tcp)]),
            ("[::1]:8080:80", vec![(8080, 80, Tcp)]),
            ("127.0.0.1::80", vec![(0, 80, Tcp)]),
            ("9000-9001:80-81", vec![(9000, 80, Tcp), (9001, 81, Tcp)]),
        ] {
            assert_eq!(ports(text).unwrap(), expected, "{text}");
        }
        for bad in
            ["", "x", "0", "70000", "80:", "9-8", "9000-9002:80-81", "80/sctp", "1-65535", "+1"]
        {
            ports(bad).expect_err(bad);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9:/\\-a-z\\[\\]]{0,20}") {
            drop(ports(&text));
        }
    }
}
