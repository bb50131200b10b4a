//! Takes what machines say of themselves, when they join and with each session.

use crate::{
    model::{node::NodeDescription, refusal::Refusal},
    wire::v1,
};
use prost::Message as _;

/// Reads a description that nobody vouches for.
///
/// # Errors
/// It is too large, or says what no machine says.
pub(super) fn read(said: Option<v1::NodeDescription>) -> Result<NodeDescription, Refusal> {
    let said = said.unwrap_or_default();
    let size = said.encoded_len();
    let within = |why: String| Refusal::invalid(format!("description: {why}"));
    let description = NodeDescription::try_from(said).map_err(|fault| within(fault.to_string()))?;
    description.check(size).map_err(|bad| within(bad.to_string()))?;
    Ok(description)
}
