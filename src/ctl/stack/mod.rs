//! The commands on stacks. A stack is a label on its services, secrets and configs; everything else happens here.

pub(crate) mod args;

mod deploy;
mod list;

mod files;
mod objects;
mod plan;

#[cfg(test)]
mod tests;

use super::{connect::Context, exit::Failure, output};
use crate::compose::StackName;
use args::{StackCommand, StackConfigArgs};

/// Carries out one `secretctl stack …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: StackCommand, context: &Context) -> Result<(), Failure> {
    match command {
        StackCommand::Deploy(args) => deploy::deploy(args, context).await,
        StackCommand::Config(args) => config(&args),
        StackCommand::Ls(args) => list::list(&args, context).await,
        StackCommand::Ps { stack, args } => list::tasks(&stack, &args, context).await,
        StackCommand::Services { stack, args } => list::of(&stack, &args, context).await,
        StackCommand::Rm { stacks } => list::remove(&stacks, context).await,
    }
}

/// Prints the merged document. Looks at all of it, as a deploy would, unless variables stay as they are.
fn config(args: &StackConfigArgs) -> Result<(), Failure> {
    let input = files::read(&args.files)?;
    if args.skip_interpolation {
        return output::text(input.load_unfilled()?.to_yaml());
    }
    let (document, _) = input.load()?;
    // Any name will do: only names of services depend on it, and a short one leaves them the most room.
    let name: StackName = "s".parse().expect("one letter is a name");
    let project = document.project(&name)?;
    project.warnings.iter().for_each(output::warning);
    output::text(document.to_yaml())
}
