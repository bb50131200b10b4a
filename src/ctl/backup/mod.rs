//! `secretctl backup`: everything in one file, and back.

pub(super) mod args;

use super::{
    connect::{Context, explain},
    exit::{Code, Failure},
    input, output,
    unlocker::passphrase,
};
use crate::{
    client::{BackupStream, ClientError, Opening},
    crypto::unlock::code,
    kit::{clock::Timestamp, source},
    model::refusal::RefusalKind,
    raft::backup::Reader,
    wire::v1::BackupSummary,
};
use args::{BackupCommand, CreateArgs, OpenedBy, Recipient, RestoreArgs, VerifyArgs};
use std::{
    fs::{self, File},
    io::{self, BufReader, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
};

/// Carries out one `secretctl backup …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: BackupCommand, context: &Context) -> Result<(), Failure> {
    match command {
        BackupCommand::Create(args) => create(args, context).await,
        BackupCommand::Verify(args) => verify(args, context).await,
        BackupCommand::Restore(args) => restore(args, context).await,
    }
}

async fn create(args: CreateArgs, context: &Context) -> Result<(), Failure> {
    let CreateArgs { file, recipient, passphrase_file } = args;
    let words = match recipient.contains(&Recipient::Passphrase) {
        true => Some(passphrase(passphrase_file.as_deref())?),
        false if passphrase_file.is_some() => {
            return Err(Failure::usage("--passphrase-file is for --recipient passphrase"));
        }
        false => None,
    };
    let client = context.connect().await?;
    let made = client.create_backup(words.as_ref(), recipient.contains(&Recipient::Recovery));
    let mut stream = match made.await {
        Ok(stream) => stream,
        Err(error) => return Err(explain(&client, error).await.doing("cannot make a backup")),
    };
    if file == Path::new("-") {
        while let Some(piece) = next(&mut stream).await? {
            output::bytes(false, &piece)?;
        }
        return Ok(());
    }
    let cannot = |error: io::Error| {
        Failure::new(Code::Other, format!("cannot write {}: {error}", file.display()))
    };
    // Whoever finds the file under its name finds all of it.
    let staged = file.with_added_extension("part");
    let written = write(&staged, &mut stream, &cannot).await;
    if let Err(failure) = written {
        drop(fs::remove_file(&staged));
        return Err(failure);
    }
    // Verified before it takes the name of one that may be good.
    let opened = File::open(&staged).map_err(cannot)?;
    let summary = client.verify_backup(opened, &Opening::default()).await.map_err(|error| {
        Failure::from(error).doing(format!("the backup in {} is not good", staged.display()))
    })?;
    fs::rename(&staged, &file).map_err(cannot)?;
    let parent = file.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(cannot)?;
    output::line(format_args!(
        "Backup {} written and verified: {}.",
        file.display(),
        holds(&summary)
    ))
}

async fn write(
    path: &Path,
    stream: &mut BackupStream,
    cannot: &impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let options = File::options().write(true).create(true).truncate(true).mode(0o600).clone();
    let mut file = options.open(path).map_err(cannot)?;
    while let Some(piece) = next(stream).await? {
        file.write_all(&piece).map_err(cannot)?;
    }
    file.sync_all().map_err(cannot)
}

/// The next bytes; shows the key that comes with the first.
async fn next(stream: &mut BackupStream) -> Result<Option<Vec<u8>>, Failure> {
    let piece =
        stream.next().await.map_err(|error| Failure::from(error).doing("the backup broke off"))?;
    let Some((bytes, key)) = piece else { return Ok(None) };
    if let Some(key) = key {
        // Not to where the backup may go.
        output::note(format_args!(
            "This key opens the backup. Keep it in a safe, away from the backup; it is not shown again:\n\n    {}\n",
            code::reveal(&key).as_str()
        ));
    }
    Ok(Some(bytes))
}

async fn verify(args: VerifyArgs, context: &Context) -> Result<(), Failure> {
    let VerifyArgs { file, opened } = args;
    let (given, asking) = given(&file, &opened)?;
    let client = context.connect().await?;
    let mut opening = opening(opened)?;
    let tried = client.verify_backup(given, &opening).await;
    let verified = match tried {
        Err(error) if asking && is_locked(&error) => {
            ask(&file, &mut opening)?;
            client.verify_backup(open(&file)?, &opening).await
        }
        tried => tried,
    };
    let name = name(&file);
    let summary =
        verified.map_err(|error| Failure::from(error).doing(format!("{name} is not good")))?;
    output::line(format_args!("{name} is good: {}.", holds(&summary)))
}

async fn restore(args: RestoreArgs, context: &Context) -> Result<(), Failure> {
    let RestoreArgs { file, opened, listen_addr, advertise_addr } = args;
    let (given, asking) = given(&file, &opened)?;
    let client = context.connect().await?;
    let mut opening = opening(opened)?;
    opening.listen_addr = listen_addr.unwrap_or_default();
    opening.advertise_addr = advertise_addr.unwrap_or_default();
    let tried = client.restore_backup(given, &opening).await;
    let restored = match tried {
        Err(error) if asking && is_locked(&error) => {
            ask(&file, &mut opening)?;
            client.restore_backup(open(&file)?, &opening).await
        }
        tried => tried,
    };
    let restored = restored
        .map_err(|error| Failure::from(error).doing(format!("cannot restore {}", name(&file))))?;
    let summary = restored.backup.unwrap_or_default();
    output::line(format_args!(
        "Cluster {} is back, with this node ({}) as its only manager: {}.\n\
         Let managers and workers join with new tokens; remove nodes that are gone with `secretctl node rm`.",
        summary.cluster_id,
        restored.node_id,
        holds(&summary)
    ))
}

/// The backup, and whether a key may be asked for: then it is read a second time.
fn given(path: &Path, opened: &OpenedBy) -> Result<(File, bool), Failure> {
    if path != Path::new("-") {
        return Ok((open(path)?, opened.key.is_none() && input::is_terminal()));
    }
    if opened.key.as_deref() == Some(path) {
        return Err(Failure::usage("standard input cannot be both the backup and its key")
            .hint("give the key in a file of its own: --key FILE"));
    }
    if input::is_terminal() {
        return Err(Failure::usage("standard input is a terminal, and no backup")
            .hint("give a file, or let another program's output be the backup"));
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| {
        Failure::new(Code::Other, format!("cannot read standard input: {error}"))
    })?;
    Ok((stdin.into(), false))
}

/// What a backup is called.
fn name(path: &Path) -> String {
    if path == Path::new("-") {
        return "the backup on standard input".to_owned();
    }
    path.display().to_string()
}

fn open(path: &Path) -> Result<File, Failure> {
    source::open(path).map_err(|error| {
        Failure::new(Code::Other, format!("cannot read {}: {error}", path.display()))
    })
}

fn opening(opened: OpenedBy) -> Result<Opening, Failure> {
    let OpenedBy { key, unlocker } = opened;
    let keys = match key {
        Some(path) => input::lines(&path)?,
        None => Vec::new(),
    };
    Ok(Opening { keys, unlocker_id: unlocker.unwrap_or_default(), ..Opening::default() })
}

fn is_locked(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(refusal) if refusal.kind == RefusalKind::Precondition && refusal.message == "the backup is locked")
}

/// Asks for a key or for shares, one after another, until an empty line.
fn ask(file: &Path, opening: &mut Opening) -> Result<(), Failure> {
    if let Ok(reader) = Reader::begin(BufReader::new(open(file)?)) {
        let kinds: Vec<String> =
            reader.header().unlockers.iter().map(|one| one.kind().to_string()).collect();
        output::note(format_args!("What opens this backup: {}", kinds.join(", ")));
    }
    let first = input::line("Key, passphrase or first share (not shown): ", None)?;
    let is_share = code::is_share(&first);
    opening.keys.push(first);
    if !is_share {
        return Ok(());
    }
    loop {
        match input::line("Next share, or nothing if these are enough (not shown): ", None) {
            Ok(next) => opening.keys.push(next),
            Err(failure) if failure.code == Code::Refused => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

fn holds(summary: &BackupSummary) -> String {
    let BackupSummary { created_at_ms, secrets, configs, services, nodes, .. } = summary;
    let count = |count: u64, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    format!(
        "made {}, {}, {}, {}, {}",
        Timestamp(*created_at_ms),
        count(*secrets, "secret"),
        count(*configs, "config"),
        count(*services, "service"),
        count(*nodes, "node")
    )
}
