//! Where a node listens, and how the others find it.

use crate::kit::limits::DEFAULT_PORT;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("'{0}' is not an address: IP:PORT, or IP for port {DEFAULT_PORT}")]
    Malformed(String),
    #[error("{0} is no address others can reach")]
    Unspecified(IpAddr),
    #[error("{0} is no port others can reach")]
    Port(SocketAddr),
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

/// Reads the address told to others, which may be left empty: then it is to be found out once somebody listens.
///
/// # Errors
/// A malformed address, or one at which nobody can be reached.
pub fn advertise(text: &str) -> Result<Option<Advertise>, BadAddress> {
    if text.is_empty() {
        return Ok(None);
    }
    // Without a port it is the one that is listened on.
    let address = parse(text, DEFAULT_PORT)?;
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(BadAddress::Unspecified(ip));
    }
    if address.port() == 0 {
        return Err(BadAddress::Port(address));
    }
    let port = text.parse::<SocketAddr>().ok().map(|address| address.port());
    Ok(Some(Advertise { ip, port }))
}

/// Reads the address of another node: `IP:PORT`, or `IP` for the usual port.
///
/// # Errors
/// As [`advertise()`], and if it is empty.
pub fn peer(text: &str) -> Result<SocketAddr, BadAddress> {
    match advertise(text)? {
        Some(Advertise { ip, port }) => Ok((ip, port.unwrap_or(DEFAULT_PORT)).into()),
        None => Err(BadAddress::Malformed(text.to_owned())),
    }
}

/// An address to be told to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertise {
    ip: IpAddr,
    /// Unset: the one that is listened on.
    port: Option<u16>,
}

/// What others are told by who listens at `bound`: what was said; else that address; and if that means all addresses,
/// the one from which this machine reaches the managers (`host:port`), or else the world.
///
/// # Errors
/// As [`advertise()`].
pub async fn told(
    text: &str,
    bound: SocketAddr,
    managers: &[String],
) -> Result<SocketAddr, BadAddress> {
    if let Some(Advertise { ip, port }) = advertise(text)? {
        return Ok((ip, port.unwrap_or(bound.port())).into());
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let mut loopback = None;
    for manager in managers {
        match toward(manager).await {
            // Of use only where all managers are on this machine.
            Some(ip) if ip.is_loopback() => loopback = Some(ip),
            Some(ip) => return Ok((ip, bound.port()).into()),
            None => {}
        }
    }
    let ip = match loopback {
        Some(ip) => ip,
        None => outward().await,
    };
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

/// The source address of the default route; loopback where there is none.
async fn outward() -> IpAddr {
    // An address set aside for documentation: any that is not local will do.
    toward("192.0.2.1:9").await.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The address from which this machine reaches that one. Connecting a UDP socket sends nothing.
async fn toward(addr: &str) -> Option<IpAddr> {
    for to in tokio::net::lookup_host(addr).await.ok()? {
        let from: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let Ok(socket) = UdpSocket::bind((from, 0)).await else { continue };
        if socket.connect(to).await.is_ok()
            && let Ok(local) = socket.local_addr()
        {
            return Some(local.ip());
        }
    }
    None
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

    #[tokio::test]
    async fn what_others_are_told_is_never_all_addresses() {
        let bound = "0.0.0.0:77".parse().unwrap();
        let said = async |text: &str, at: SocketAddr, managers: &[&str]| {
            let managers: Vec<String> = managers.iter().map(|at| (*at).to_owned()).collect();
            told(text, at, &managers).await.map(|addr| addr.to_string())
        };
        assert_eq!(said("10.0.0.1", bound, &[]).await.unwrap(), "10.0.0.1:77");
        assert_eq!(said("10.0.0.1:5", bound, &[]).await.unwrap(), "10.0.0.1:5");
        for bad in ["0.0.0.0", "224.0.0.1", "[::]:1"] {
            assert!(matches!(said(bad, bound, &[]).await, Err(BadAddress::Unspecified(_))));
        }
        assert!(matches!(said("10.0.0.1:0", bound, &[]).await, Err(BadAddress::Port(_))));
        assert_eq!(said("", "127.0.0.1:5".parse().unwrap(), &[]).await.unwrap(), "127.0.0.1:5");
        assert!(!said("", bound, &[]).await.unwrap().starts_with("0.0.0.0"));
        // As the managers are reached, and not as the world would be.
        let managers = ["nowhere.invalid:1", "127.0.0.1:2390"];
        assert_eq!(said("", bound, &managers).await.unwrap(), "127.0.0.1:77");
    }
}
