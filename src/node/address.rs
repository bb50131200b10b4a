//! Where a node listens, and how the others find it.

use crate::kit::limits::DEFAULT_PORT;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("'{0}' is not an address: IP:PORT, or IP for port {DEFAULT_PORT}")]
    Malformed(String),
    #[error("{0} is no address others can reach")]
    Unspecified(IpAddr),
}

/// Reads `IP:PORT` or `IP`; empty means all addresses.
///
/// # Errors
/// Anything else: names are not resolved, an address in a certificate must not move.
pub fn listen(text: &str) -> Result<SocketAddr, BadAddress> {
    if text.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into());
    }
    parse(text, DEFAULT_PORT)
}

/// Reads the address told to others; empty means: the listening one, or the one this machine reaches the world from.
///
/// # Errors
/// A malformed address, or one that means "all".
pub fn advertise(text: &str, bound: SocketAddr) -> Result<SocketAddr, BadAddress> {
    if !text.is_empty() {
        let address = parse(text, bound.port())?;
        if address.ip().is_unspecified() {
            return Err(BadAddress::Unspecified(address.ip()));
        }
        return Ok(address);
    }
    let ip = if bound.ip().is_unspecified() { outward() } else { bound.ip() };
    Ok((ip, bound.port()).into())
}

fn parse(text: &str, port: u16) -> Result<SocketAddr, BadAddress> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|ip| (ip, port).into())
        .map_err(|_| BadAddress::Malformed(text.to_owned()))
}

/// The source address of the default route; loopback where there is none. Connecting a UDP socket sends nothing.
fn outward() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address set aside for documentation: any that is not local will do.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    ask().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out_and_names_are_refused() {
        assert_eq!(listen("").unwrap().to_string(), "0.0.0.0:2390");
        assert_eq!(listen("127.0.0.1").unwrap().to_string(), "127.0.0.1:2390");
        assert_eq!(listen("[::1]:9").unwrap().to_string(), "[::1]:9");
        assert_eq!(listen("[::1]").unwrap().to_string(), "[::1]:2390");
        for bad in ["localhost", "1.2.3", "1.2.3.4:", "1.2.3.4:99999", ":2390"] {
            assert_eq!(listen(bad), Err(BadAddress::Malformed(bad.into())));
        }
    }

    #[test]
    fn what_others_are_told_is_never_all_addresses() {
        let bound = "0.0.0.0:77".parse().unwrap();
        assert_eq!(advertise("10.0.0.1", bound).unwrap().to_string(), "10.0.0.1:77");
        assert!(matches!(advertise("0.0.0.0", bound), Err(BadAddress::Unspecified(_))));
        assert!(!advertise("", bound).unwrap().ip().is_unspecified());
        assert_eq!(
            advertise("", "127.0.0.1:5".parse().unwrap()).unwrap().to_string(),
            "127.0.0.1:5"
        );
    }
}
