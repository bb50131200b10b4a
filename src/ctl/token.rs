//! `secretctl join-token`.

use super::{
    cli::{JoinTokenArgs, JoinTokenRole},
    connect::{Context, explain},
    exit::Failure,
    output,
};
use crate::{client::Joining, model::node::Role};

/// Makes a join token and says how it is used; the token is never shown again.
///
/// # Errors
/// The node belongs to no cluster or is no manager, the bounds make no sense, there are too many tokens.
pub(crate) async fn run(args: JoinTokenArgs, context: &Context) -> Result<(), Failure> {
    let JoinTokenArgs { role, rotate, quiet, ttl, uses } = args;
    let role = match role {
        JoinTokenRole::Worker => Role::Worker,
        JoinTokenRole::Manager => Role::Manager,
    };
    let client = context.connect().await?;
    let ttl = (!ttl.is_zero()).then_some(ttl);
    let made = match client.make_join_token(role, rotate, ttl, uses).await {
        Ok(made) => made,
        Err(error) => {
            return Err(explain(&client, error).await.doing("cannot make a join token"));
        }
    };
    let Joining { token, managers } = made;
    let token = token.reveal();
    if quiet {
        return output::line(token.as_str());
    }
    if rotate {
        output::line(format_args!("Revoked all other {role} join tokens.\n"))?;
    }
    let manager = managers.first().map_or("HOST:PORT", |(_, addr)| addr.as_str());
    output::line(format_args!(
        "To add a {role} to this cluster, run the following command on it:\n\n    \
         secretctl join --token {} {manager}\n",
        token.as_str()
    ))
}
