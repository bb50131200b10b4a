//! `secretctl join`, `leave` and `refill`: how this node comes to a cluster, goes, and gets back what it lost.

use super::{
    cli::{JoinArgs, JoinAvailability, LeaveArgs},
    connect::Context,
    exit::Failure,
    input, output,
};
use crate::{
    crypto::plaintext::Plaintext,
    kit::limits::DEFAULT_PORT,
    wire::v1::{Availability, Role},
};
use std::net::IpAddr;

/// Joins this node to a cluster, as what the token says.
///
/// # Errors
/// No token, a token that is not taken, nobody at the addresses, a node that belongs to a cluster already.
pub(crate) async fn join(args: JoinArgs, context: &Context) -> Result<(), Failure> {
    let JoinArgs { token, token_file, listen_addr, advertise_addr, availability, managers } = args;
    let token = match token {
        Some(token) if token.trim().is_empty() => return Err(input::no_token()),
        Some(token) => Plaintext::new(token.into_bytes()),
        // What else is wrong with it the daemon says.
        None => input::token(token_file.as_deref())?,
    };
    let availability = match availability {
        JoinAvailability::Active => Availability::Active,
        JoinAvailability::Pause => Availability::Pause,
        JoinAvailability::Drain => Availability::Drain,
    };
    let managers = managers.into_iter().map(with_port).collect();
    let client = context.connect().await?;
    let joined = client
        .join(
            listen_addr.unwrap_or_default(),
            advertise_addr.unwrap_or_default(),
            managers,
            &token,
            availability,
        )
        .await
        .map_err(|error| Failure::from(error).doing("cannot join the cluster"))?;
    let role = match joined.role() {
        Role::Manager => "manager",
        Role::Worker | Role::Unspecified => "worker",
    };
    output::line(format_args!("This node joined cluster {} as a {role}.", joined.cluster_id))
}

/// Takes this node out of its cluster.
///
/// # Errors
/// The node belongs to none, or is a manager and `--force` was not said.
pub(crate) async fn leave(args: LeaveArgs, context: &Context) -> Result<(), Failure> {
    let LeaveArgs { force } = args;
    let client = context.connect().await?;
    client
        .leave(force)
        .await
        .map_err(|error| Failure::from(error).doing("cannot leave the cluster"))?;
    output::line("Node left the cluster.")
}

/// Fills this manager from the others and waits until it votes again.
///
/// # Errors
/// Its store is not damaged; too few others can be reached, or there are none.
pub(crate) async fn refill(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let refilled = client
        .refill()
        .await
        .map_err(|error| Failure::from(error).doing("cannot refill this manager"))?;
    output::line(if refilled.voter {
        "This manager has everything again, and votes."
    } else {
        "This manager has everything again, and votes once it has caught up: see `secretctl status`."
    })
}

/// `host:port`, with the default port where none was given.
fn with_port(text: String) -> String {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{DEFAULT_PORT}"),
        Ok(IpAddr::V4(ip)) => format!("{ip}:{DEFAULT_PORT}"),
        Err(_) if text.contains(':') => text,
        Err(_) => format!("{text}:{DEFAULT_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_the_default_one() {
        for (given, meant) in [
            ("10.0.0.1", "10.0.0.1:2390"),
            ("10.0.0.1:99", "10.0.0.1:99"),
            ("fd00::1", "[fd00::1]:2390"),
            ("[fd00::1]:99", "[fd00::1]:99"),
            ("manager1", "manager1:2390"),
            ("manager1:99", "manager1:99"),
        ] {
            assert_eq!(with_port(given.to_owned()), meant);
        }
    }
}
