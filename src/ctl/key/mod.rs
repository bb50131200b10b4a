//! `secretctl key`: the terms of the keyring, and their rotation; and `update`, which says how old they may get.

pub(super) mod args;

use super::{
    age::{Human, ago},
    cli::FormatArgs,
    connect::{Context, explain},
    exit::{Code, Failure},
    format::{Style, Template, table},
    output,
    progress::Progress,
    unlocker,
};
use crate::{
    client::Client,
    kit::clock::Timestamp,
    wire::v1::{KeysResponse, Rewrapping, keys_response},
};
use args::{ClusterUpdateArgs, KeyCommand, RotateArgs};
use serde_json::{Value, json};
use std::{fmt::Write as _, time::Duration};

/// How often to ask how far it is.
const ASK: Duration = Duration::from_millis(500);

/// Carries out one `secretctl key …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: KeyCommand, context: &Context) -> Result<(), Failure> {
    match command {
        KeyCommand::Rotate(args) => rotate(args, context).await,
        KeyCommand::Status(args) => status(args, context).await,
    }
}

/// Changes settings of the cluster.
///
/// # Errors
/// The node is no manager, or has no leader now; an age that is too short.
pub(crate) async fn update(args: ClusterUpdateArgs, context: &Context) -> Result<(), Failure> {
    let ClusterUpdateArgs { autolock, key_max_age, come_back } = args;
    let client = context.connect().await?;
    if let Some(age) = key_max_age
        && let Err(error) = client.set_key_max_age((!age.is_zero()).then_some(age)).await
    {
        return Err(explain(&client, error).await.doing("cannot update the cluster"));
    }
    if let Some(age) = come_back
        && let Err(error) = client.set_come_back(age).await
    {
        return Err(explain(&client, error).await.doing("cannot update the cluster"));
    }
    if let Some(autolock) = autolock {
        unlocker::set_autolock(&client, autolock).await?;
    }
    output::line("Cluster updated.")
}

async fn rotate(args: RotateArgs, context: &Context) -> Result<(), Failure> {
    let RotateArgs { detach, quiet, rate, root } = args;
    let client = context.connect().await?;
    let begun = match client.rotate_keys(rate, root).await {
        Ok(begun) => begun,
        Err(error) => return Err(explain(&client, error).await.doing("cannot rotate the keys")),
    };
    // The next root key brings a term of its own; until it counts there is none yet.
    let (term, number) = (active(&begun) + u32::from(root), root_number(&begun) + u32::from(root));
    if detach {
        let what = if root { number } else { term };
        return if quiet { Ok(()) } else { output::line(what) };
    }
    let number = root.then_some(number);
    tokio::select! {
        done = wait(&client, context, (term, number), quiet) => done,
        _ = tokio::signal::ctrl_c() => {
            output::note(
                "Operation continuing in background.\nUse `secretctl key status` to check progress.",
            );
            Err(Failure::new(Code::Interrupted, ""))
        }
    }
}

/// Waits until nothing lies under a term before this one; and if a root key was asked for, until no disk has anything that one
/// before it opens.
async fn wait(
    client: &Client,
    context: &Context,
    (term, number): (u32, Option<u32>),
    quiet: bool,
) -> Result<(), Failure> {
    let mut progress = Progress::new(quiet);
    loop {
        let keys = keys(client).await?;
        if let Some(number) = number
            && (root_number(&keys) < number || !unturned(&keys).is_empty())
        {
            progress.show(root_lines(&keys, context.clock.now()))?;
            tokio::time::sleep(ASK).await;
            continue;
        }
        if keys.terms.first().is_none_or(|oldest| oldest.term >= term) {
            let done = format!("0 left: everything lies under term {}", active(&keys));
            return progress.show(vec![done]);
        }
        if let Some(running) = &keys.running {
            progress.show(vec![how_far(&keys, running, context.clock.now())])?;
        }
        tokio::time::sleep(ASK).await;
    }
}

async fn keys(client: &Client) -> Result<KeysResponse, Failure> {
    match client.keys().await {
        Ok(keys) => Ok(keys),
        Err(error) => Err(explain(client, error).await),
    }
}

async fn status(args: FormatArgs, context: &Context) -> Result<(), Failure> {
    let format = args.format.as_deref();
    let template = match format {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let client = context.connect().await?;
    let keys = keys(&client).await?;
    match (template, format) {
        (Some(template), _) => output::line(template.run(&fields(&keys), Style::Row)?),
        (None, Some("json")) => output::line(fields(&keys)),
        (None, _) => output::text(text(&keys, context.clock.now())),
    }
}

fn active(keys: &KeysResponse) -> u32 {
    keys.terms.last().map_or(0, |term| term.term)
}

fn root_number(keys: &KeysResponse) -> u32 {
    keys.root.as_ref().map_or(1, |root| root.number)
}

/// The managers that have not said that older root keys open nothing on their disks.
fn unturned(keys: &KeysResponse) -> Vec<&keys_response::Manager> {
    let number = root_number(keys);
    let managers = keys.managers.iter();
    managers.filter(|manager| number > 1 && manager.root < number).collect()
}

/// What there is to say of the root key; nothing of the first one.
fn root_lines(keys: &KeysResponse, now: Timestamp) -> Vec<String> {
    let Some(keys_response::Root { number, since_ms, rotating_since_ms }) = &keys.root else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some(since) = rotating_since_ms {
        let begun = ago(Timestamp(*since), now);
        lines.push(format!("Root key: number {number} is being replaced, since {begun}"));
        for manager in keys.managers.iter().filter(|manager| !manager.prepared) {
            let keys_response::Manager { node_id, hostname, .. } = manager;
            lines.push(format!("          waits until {hostname} ({node_id}) has the next one"));
        }
    } else if *number > 1 {
        lines.push(format!("Root key: number {number}, since {}", ago(Timestamp(*since_ms), now)));
        let unturned = unturned(keys);
        if unturned.is_empty() {
            lines.push(
                "          no manager's disk has anything that an older one opens".to_owned(),
            );
        }
        for keys_response::Manager { node_id, hostname, .. } in unturned {
            lines.push(format!(
                "          {hostname} ({node_id}) may still have something that an older one opens"
            ));
        }
    }
    lines
}

/// What lies under a term before the newest.
fn left(keys: &KeysResponse) -> u64 {
    let old = keys.terms.iter().filter(|term| term.term < active(keys));
    old.map(|term| term.payloads + u64::from(term.authority)).sum()
}

/// `1200 of 1501 keys moved, 301 left, about 4 seconds more (75/s)`
fn how_far(keys: &KeysResponse, running: &Rewrapping, now: Timestamp) -> String {
    let left = left(keys);
    let total = running.total.max(left);
    let moved = total - left;
    let took = now.since(Timestamp(running.started_at_ms));
    let mut text = format!("{moved} of {total} keys moved, {left} left");
    if moved > 0 && !took.is_zero() {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rate = moved as f64 / took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let more = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
        if more >= Duration::from_secs(1) {
            write!(text, ", about {} more", Human(more)).ok();
        }
        write!(text, " ({rate:.0}/s)").ok();
    }
    text
}

fn text(keys: &KeysResponse, now: Timestamp) -> String {
    let mut rows = vec!["TERM\tCREATED\tPAYLOADS\tCA KEY".to_owned()];
    for keys_response::Term { term, created_at_ms, payloads, authority } in &keys.terms {
        let created = ago(Timestamp(*created_at_ms), now);
        let authority = if *authority { "here" } else { "" };
        rows.push(format!("{term}\t{created}\t{payloads}\t{authority}"));
    }
    let mut text = table(&rows);
    text.push('\n');
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    match &keys.running {
        Some(running) => {
            say(format!("Rotation: {}", how_far(keys, running, now)));
            if let Some(rate) = running.rate {
                say(format!("          at most {rate} payloads each second"));
            }
        }
        None => say(format!("Rotation: 0 left, everything lies under term {}", active(keys))),
    }
    match (&keys.due, &keys.max_age) {
        (true, _) => say("Next:     as soon as this is done: a manager has gone".to_owned()),
        (false, None) => say("Next:     when asked for, or when a manager goes".to_owned()),
        (false, Some(age)) => {
            let created = keys.terms.last().map_or(now, |term| Timestamp(term.created_at_ms));
            let at = created.plus(Duration::from_secs(age.seconds));
            say(format!("Next:     in {}, or when a manager goes", Human(at.since(now))));
        }
    }
    let oldest = keys.terms.first().map_or(0, |term| term.term);
    let behind = behind(keys);
    if oldest > 1 && behind.is_empty() {
        say(format!("Disks:    no manager's disk has anything from before term {oldest}"));
    }
    for manager in behind {
        let keys_response::Manager { node_id, hostname, .. } = manager;
        say(format!(
            "Disks:    {hostname} ({node_id}) may still have something from before term {oldest}"
        ));
    }
    for line in root_lines(keys, now) {
        say(line);
    }
    let KeysResponse { log_from, applied, .. } = keys;
    say(format!(
        "          the log here begins at entry {log_from}, its state is that of entry {applied}"
    ));
    text
}

/// The managers that have not said that they keep nothing from before the oldest term.
fn behind(keys: &KeysResponse) -> Vec<&keys_response::Manager> {
    let oldest = keys.terms.first().map_or(0, |term| term.term);
    let managers = keys.managers.iter();
    managers.filter(|manager| oldest > 1 && manager.oldest_term < oldest).collect()
}

fn fields(keys: &KeysResponse) -> Value {
    let KeysResponse { terms, running, due, max_age, managers: _, log_from, applied, root } = keys;
    let terms: Vec<Value> = terms
        .iter()
        .map(|keys_response::Term { term, created_at_ms, payloads, authority }| {
            let created_at = Timestamp(*created_at_ms).to_string();
            json!({ "Term": term, "CreatedAt": created_at, "Payloads": payloads, "CAKey": authority })
        })
        .collect();
    let (behind, unturned) = (behind(keys), unturned(keys));
    let managers: Vec<Value> = keys
        .managers
        .iter()
        .map(|manager| {
            let keys_response::Manager { node_id, hostname, oldest_term, root, prepared } = manager;
            let clean = !behind.iter().chain(&unturned).any(|other| other.node_id == *node_id);
            json!({
                "ID": node_id,
                "Hostname": hostname,
                "OldestTerm": oldest_term,
                "RootKey": root,
                "Prepared": prepared,
                "Clean": clean,
            })
        })
        .collect();
    json!({
        "ActiveTerm": active(keys),
        "Terms": terms,
        "Left": left(keys),
        "Total": running.as_ref().map_or(0, |running| running.total),
        "Rate": running.as_ref().and_then(|running| running.rate),
        "StartedAt": running.as_ref().map(|running| Timestamp(running.started_at_ms).to_string()),
        "Due": due,
        "KeyMaxAge": max_age.as_ref().map_or("0".to_owned(), |age| format!("{}h", age.seconds / 3600)),
        "Managers": managers,
        "RootKey": root.as_ref().map(|root| json!({
            "Number": root.number,
            "Since": Timestamp(root.since_ms).to_string(),
            "Rotating": root.rotating_since_ms.is_some(),
        })),
        "LogFrom": log_from,
        "Applied": applied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::Span;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn term(term: u32, age: i64, payloads: u64, authority: bool) -> keys_response::Term {
        let created_at_ms = NOW.0 - age * 1000;
        keys_response::Term { term, created_at_ms, payloads, authority }
    }

    fn manager(oldest_term: u32) -> keys_response::Manager {
        let (node_id, hostname) = (format!("id{oldest_term}"), format!("m{oldest_term}"));
        keys_response::Manager { node_id, hostname, oldest_term, root: 1, prepared: false }
    }

    #[test]
    fn a_rotation_under_way_says_what_is_left_and_how_long_it_takes() {
        let keys = KeysResponse {
            terms: vec![term(1, 7200, 1200, false), term(2, 10, 300, true)],
            running: Some(Rewrapping {
                started_at_ms: NOW.0 - 10_000,
                total: 1501,
                rate: Some(50),
            }),
            due: false,
            max_age: Some(Span { seconds: 90 * 24 * 3600, nanos: 0 }),
            managers: vec![manager(0)],
            log_from: 1,
            applied: 900,
            root: None,
        };
        assert_eq!(
            text(&keys, NOW),
            "TERM      CREATED          PAYLOADS   CA KEY\n\
             1         2 hours ago      1200\n\
             2         10 seconds ago   300        here\n\
             \n\
             Rotation: 301 of 1501 keys moved, 1200 left, about 39 seconds more (30/s)\n\
             \u{20}         at most 50 payloads each second\n\
             Next:     in 3 months, or when a manager goes\n\
             \u{20}         the log here begins at entry 1, its state is that of entry 900\n"
        );
        assert_eq!(fields(&keys)["Left"], 1200);
    }

    #[test]
    fn who_lacks_the_next_root_key_is_named_and_so_is_who_still_has_something_under_an_old_one() {
        let root = |number, rotating_since_ms| {
            let since_ms = NOW.0 - 10_000;
            Some(keys_response::Root { number, since_ms, rotating_since_ms })
        };
        let mut keys = KeysResponse {
            terms: vec![term(3, 10, 5, true)],
            managers: vec![manager(3), manager(4)],
            root: root(1, None),
            ..KeysResponse::default()
        };
        assert!(!text(&keys, NOW).contains("Root key"));
        keys.root = root(1, Some(NOW.0 - 10_000));
        keys.managers[0].prepared = true;
        assert_eq!(
            root_lines(&keys, NOW),
            [
                "Root key: number 1 is being replaced, since 10 seconds ago",
                "          waits until m4 (id4) has the next one",
            ]
        );
        keys.root = root(2, None);
        keys.managers[1].root = 2;
        assert_eq!(
            root_lines(&keys, NOW),
            [
                "Root key: number 2, since 10 seconds ago",
                "          m3 (id3) may still have something that an older one opens",
            ]
        );
        assert_eq!(fields(&keys)["Managers"][0]["Clean"], false);
        keys.managers[0].root = 2;
        assert!(root_lines(&keys, NOW)[1].contains("no manager's disk has anything"));
    }

    #[test]
    fn a_manager_that_still_has_old_entries_is_named() {
        let keys = KeysResponse {
            terms: vec![term(3, 10, 5, true)],
            managers: vec![manager(3), manager(1)],
            log_from: 7,
            applied: 9,
            ..KeysResponse::default()
        };
        let said = text(&keys, NOW);
        assert!(said.contains("Rotation: 0 left, everything lies under term 3\n"), "{said}");
        assert!(said.contains("m1 (id1) may still have something from before term 3"), "{said}");
        assert!(!said.contains("m3"), "{said}");
        assert_eq!(fields(&keys)["Managers"][0]["Clean"], true);
    }
}
