//! `secretctl unlocker`, `unlock`, `unlock-key` and `update --autolock`: who can open the keys of a manager.
//!
//! A code is on paper before anything depends on it: a new way is added and shown first, and only then the old one is
//! taken away.

pub(super) mod args;

use super::{
    connect::{Context, explain},
    exit::Failure,
    format::Listing,
    input, output,
};
use crate::{
    client::{Client, MadeUnlocker, NewUnlocker},
    crypto::{
        plaintext::Plaintext,
        unlock::{Kind, code, tpm::Pcrs},
    },
    wire::v1::{TpmEntry, UnlockerEntry},
};
use args::{
    AddCommand, UnlockArgs, UnlockKeyArgs, UnlockerCommand, UnlockerLsArgs, UnlockerRmArgs,
};
use serde_json::{Value, json};

const UNLOCKERS: Listing = Listing {
    columns: &[("ID", "ID"), ("Kind", "KIND"), ("Detail", "DETAIL")],
    table: r"{{.ID}}\t{{.Kind}}\t{{.Detail}}",
    quiet: "{{.ID}}",
};

/// Carries out one `secretctl unlocker …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: UnlockerCommand, context: &Context) -> Result<(), Failure> {
    match command {
        UnlockerCommand::Ls(args) => list(&args, context).await,
        UnlockerCommand::Add(command) => add(command, context).await,
        UnlockerCommand::Rm(args) => remove(&args, context).await,
    }
}

async fn list(args: &UnlockerLsArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut rows: Vec<Value> = unlockers(&client).await?.iter().map(row).collect();
    rows.extend(client.status().await?.tpms.iter().map(tpm_row));
    output::text(UNLOCKERS.render(&rows, args.format.as_deref(), args.quiet)?)
}

fn row(entry: &UnlockerEntry) -> Value {
    let UnlockerEntry { id, kind, shares, threshold, program } = entry;
    let detail = match Kind::from_name(kind) {
        Some(Kind::File) => "a key file on each manager".to_owned(),
        Some(Kind::Shamir) => format!("{threshold} of {shares} shares"),
        Some(Kind::Command) => program.clone(),
        Some(Kind::Autolock | Kind::Recovery | Kind::Passphrase | Kind::Tpm2) | None => {
            String::new()
        }
    };
    // Key files are removed by their kind: each manager's has an id of its own.
    json!({ "ID": if id.is_empty() { kind } else { id }, "Kind": kind, "Detail": detail })
}

/// A TPM of the node that was asked.
fn tpm_row(entry: &TpmEntry) -> Value {
    let TpmEntry { id, device, pcrs } = entry;
    let pcrs = Pcrs::from_bits(*pcrs).unwrap_or_default();
    let measured = if pcrs.is_empty() { String::new() } else { format!(", PCRs {pcrs}") };
    json!({
        "ID": id,
        "Kind": Kind::Tpm2.as_str(),
        "Detail": format!("{device} of this node{measured}"),
    })
}

async fn add(command: AddCommand, context: &Context) -> Result<(), Failure> {
    let new = match command {
        AddCommand::File => NewUnlocker::Files,
        AddCommand::Recovery => NewUnlocker::Recovery,
        AddCommand::Passphrase { file } => NewUnlocker::Passphrase(passphrase(file.as_deref())?),
        AddCommand::Shamir { shares, threshold } => NewUnlocker::Shamir { shares, threshold },
        AddCommand::Command { program } => NewUnlocker::Command(program),
        AddCommand::Tpm2 { device, pcrs } => {
            return add_tpm(device, pcrs.unwrap_or_default(), context).await;
        }
    };
    let client = context.connect().await?;
    let MadeUnlocker { entry, codes } = added(&client, new).await?;
    match Kind::from_name(&entry.kind) {
        Some(Kind::File) => {
            output::line("Each manager makes itself a key file and starts by itself from now on.")
        }
        Some(Kind::Shamir) => {
            output::line(format_args!(
                "Unlocker {} added. {} of these {} shares open a manager; give each to somebody else. \
                 They are not shown again:\n",
                entry.id, entry.threshold, entry.shares
            ))?;
            codes.iter().try_for_each(|share| output::line(code::reveal(share).as_str()))
        }
        Some(Kind::Recovery) => {
            output::line(format_args!(
                "Unlocker {} added. This key alone opens the keys of every manager. Keep it in a safe; it is \
                 not shown again:\n",
                entry.id
            ))?;
            codes.iter().try_for_each(|key| output::line(code::reveal(key).as_str()))
        }
        Some(Kind::Autolock | Kind::Passphrase | Kind::Command | Kind::Tpm2) | None => {
            output::line(format_args!("Unlocker {} added.", entry.id))
        }
    }
}

async fn add_tpm(device: String, pcrs: Pcrs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let added = client.add_tpm(device, pcrs.bits()).await;
    let entry = added.map_err(|error| Failure::from(error).doing("cannot add the unlocker"))?;
    output::line(format_args!(
        "Unlocker {} added: this node's TPM opens its keys at each start. Make sure of a recovery key, for the day \
         when the TPM is gone; then `secretctl unlocker rm file` takes the key files away.",
        entry.id
    ))
}

/// Asks for a new passphrase, twice at a terminal: a slip would be found out on the worst of days.
///
/// # Errors
/// As [`input::line`]; the two differ.
pub(super) fn passphrase(file: Option<&std::path::Path>) -> Result<Plaintext, Failure> {
    let words = input::line("Passphrase (not shown): ", file)?;
    if file.is_none() && input::is_terminal() {
        let again = input::line("The same again: ", None)?;
        if !words.is_same(&again) {
            return Err(Failure::refused("the two passphrases are not the same"));
        }
    }
    Ok(words)
}

async fn added(client: &Client, new: NewUnlocker) -> Result<MadeUnlocker, Failure> {
    match client.add_unlocker(new).await {
        Ok(made) => Ok(made),
        Err(error) => Err(explain(client, error).await.doing("cannot add the unlocker")),
    }
}

async fn remove(args: &UnlockerRmArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    for which in &args.unlockers {
        let tpms = client.status().await?.tpms;
        let of_this_node = |tpm: &TpmEntry| !which.is_empty() && tpm.id.starts_with(which);
        if which == Kind::Tpm2.as_str() || tpms.iter().any(of_this_node) {
            client.remove_tpm(which).await.map_err(|error| {
                Failure::from(error).doing(format!("cannot remove unlocker '{which}'"))
            })?;
        } else {
            removed(&client, which).await?;
        }
        output::line(which)?;
    }
    output::note(
        "Copies of key headers that were made before still open with it. `secretctl key rotate --root` makes them worth nothing for what comes.",
    );
    Ok(())
}

async fn removed(client: &Client, which: &str) -> Result<(), Failure> {
    match client.remove_unlocker(which).await {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(explain(client, error).await.doing(format!("cannot remove unlocker '{which}'")))
        }
    }
}

/// Opens the keys of a locked node; asks for one share after another where shares are needed.
///
/// # Errors
/// The node is not locked, or what was given does not open it.
pub(crate) async fn unlock(args: UnlockArgs, context: &Context) -> Result<(), Failure> {
    let UnlockArgs { file, unlocker } = args;
    let client = context.connect().await?;
    let mut question = "Unlock key, share or passphrase (not shown): ".to_owned();
    loop {
        let typed = input::line(&question, file.as_deref())?;
        let opened = client.unlock(&typed, unlocker.clone().unwrap_or_default()).await;
        let progress =
            opened.map_err(|error| Failure::from(error).doing("cannot unlock this node"))?;
        let (given, needed) = (progress.shares_given, progress.shares_needed);
        if needed == 0 {
            return output::line("This node is unlocked.");
        }
        output::note(format_args!("{given} of {needed} shares are here."));
        if file.is_some() || !input::is_terminal() {
            return Ok(());
        }
        question = "The next share (not shown): ".to_owned();
    }
}

/// Makes a new unlock key, or says why the present one cannot be shown.
///
/// # Errors
/// Managers do not start locked; `--rotate` was not said.
pub(crate) async fn unlock_key(args: UnlockKeyArgs, context: &Context) -> Result<(), Failure> {
    let UnlockKeyArgs { rotate, quiet } = args;
    let client = context.connect().await?;
    let before = autolocks(&client).await?;
    if before.is_empty() {
        return Err(Failure::refused("managers do not start locked, so there is no unlock key")
            .hint("let them with `secretctl update --autolock=true`"));
    }
    if !rotate {
        return Err(Failure::refused(
            "the unlock key was shown when it was made; nobody has it but those who kept it",
        )
        .hint(
            "make another one with `secretctl unlock-key --rotate`, while a manager is unlocked",
        ));
    }
    let MadeUnlocker { codes, .. } = added(&client, NewUnlocker::Autolock).await?;
    for key in &codes {
        if quiet {
            output::line(code::reveal(key).as_str())?;
        } else {
            show_unlock_key(key)?;
        }
    }
    for old in before {
        removed(&client, &old).await?;
    }
    Ok(())
}

/// Lets managers start locked from now on, or by themselves.
///
/// # Errors
/// The node is no manager, or has no leader now.
pub(super) async fn set_autolock(client: &Client, autolock: bool) -> Result<(), Failure> {
    let before = autolocks(client).await?;
    let files = unlockers(client).await?.iter().any(|one| one.id.is_empty());
    if autolock {
        if before.is_empty() {
            let MadeUnlocker { codes, .. } = added(client, NewUnlocker::Autolock).await?;
            for key in &codes {
                show_unlock_key(key)?;
            }
        }
        if files {
            removed(client, Kind::File.as_str()).await?;
        }
    } else {
        if !files {
            added(client, NewUnlocker::Files).await?;
        }
        for old in before {
            removed(client, &old).await?;
        }
    }
    Ok(())
}

async fn unlockers(client: &Client) -> Result<Vec<UnlockerEntry>, Failure> {
    match client.unlockers().await {
        Ok(unlockers) => Ok(unlockers),
        Err(error) => Err(explain(client, error).await.doing("cannot list unlockers")),
    }
}

/// Ids of the unlock keys there are; more than one only if a rotation was cut off.
async fn autolocks(client: &Client) -> Result<Vec<String>, Failure> {
    let all = unlockers(client).await?;
    let ours = all.into_iter().filter(|one| Kind::from_name(&one.kind) == Some(Kind::Autolock));
    Ok(ours.map(|one| one.id).collect())
}

/// Shows an unlock key and what it is for.
///
/// # Errors
/// It cannot be printed.
pub(crate) fn show_unlock_key(key: &Plaintext) -> Result<(), Failure> {
    output::line(format_args!(
        "To unlock a manager after it starts, run `secretctl unlock` there and give this key:\n\n    {}\n\n\
         Keep it in a password manager; it is not shown again. Managers that are down now need the key before it,\n\
         or their key file, until they have heard of this one.\n",
        code::reveal(key).as_str()
    ))
}
