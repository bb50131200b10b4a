//! `secretctl init` and `secretctl status`: what this very node is, also while it belongs to no cluster.

use super::{
    cli::{FormatArgs, InitArgs},
    connect::Context,
    exit::Failure,
    format::{Style, Template},
    output, unlocker,
};
use crate::{
    crypto::unlock::Kind,
    kit::{clock::Timestamp, duration::Compact, text::line},
    wire::v1::{LocalState, ManagerEntry, Role, StatusResponse},
};
use serde_json::{Value, json};
use std::{fmt::Write, time::Duration};

/// Clocks that differ by less are as good as one; measuring takes its time too.
const SKEW_MS: u64 = 1000;

/// Founds a cluster and says so.
///
/// # Errors
/// The node belongs to one already, an address is wrong or taken, the daemon is away.
pub(crate) async fn init(args: InitArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let InitArgs { listen_addr, advertise_addr, autolock } = args;
    let made = client
        .init(listen_addr.unwrap_or_default(), advertise_addr.unwrap_or_default(), autolock)
        .await
        .map_err(|error| Failure::from(error).doing("cannot found a cluster"))?;
    output::line(format_args!(
        "Cluster {} founded: this node ({}) is now its first manager.",
        made.cluster_id, made.node_id
    ))?;
    if let Some(key) = made.unlock_key {
        unlocker::show_unlock_key(&key.into_plaintext())?;
    }
    // What protects the keys from now on is said at once, not only to those who ask.
    if let Ok(status) = client.status().await
        && !status.protection.is_empty()
    {
        let lines = status.protection.lines().map(|line| format!("\n  {line}"));
        output::line(format_args!("\nKeys at rest:{}", lines.collect::<String>()))?;
    }
    Ok(())
}

/// Shows what the node is.
///
/// # Errors
/// The daemon is away, or the template is wrong.
pub(crate) async fn status(args: FormatArgs, context: &Context) -> Result<(), Failure> {
    // Read first, so that a mistake in it does not depend on the daemon.
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let client = context.connect().await?;
    let status = client.status().await?;
    let fields = fields(&status);
    match (template, args.format.as_deref()) {
        (Some(template), _) => match template.run(&fields, Style::Row) {
            Ok(text) => output::line(text),
            Err(bad) => {
                let names: Vec<String> = fields
                    .as_object()
                    .map(|map| map.keys().map(|name| format!(".{name}")).collect())
                    .unwrap_or_default();
                Err(Failure::usage(bad.to_string())
                    .hint(format!("the fields are {}", names.join(", "))))
            }
        },
        (None, Some("json")) => output::line(fields),
        (None, _) => output::text(text(&status, context.clock.now())),
    }
}

fn state(status: &StatusResponse) -> &'static str {
    match status.state() {
        LocalState::Unspecified => "unknown",
        LocalState::Inactive => "inactive",
        LocalState::Pending => "pending",
        LocalState::Active => "active",
        LocalState::Locked => "locked",
        LocalState::Error => "error",
        LocalState::Damaged => "damaged",
    }
}

fn role(status: &StatusResponse) -> &'static str {
    match status.role() {
        Role::Unspecified => "",
        Role::Worker => "worker",
        Role::Manager => "manager",
    }
}

fn expiry(status: &StatusResponse) -> String {
    date(status.certificate_expires_at_ms)
}

/// A time that may not have come.
fn date(ms: i64) -> String {
    match ms {
        0 => String::new(),
        at => Timestamp(at).to_string(),
    }
}

fn fields(status: &StatusResponse) -> Value {
    let state = state(status);
    let role = role(status);
    let expires = expiry(status);
    let StatusResponse {
        state: _,
        error,
        node_id,
        cluster_id,
        role: _,
        leader,
        managers,
        version,
        runtime,
        engine_version,
        runtime_error,
        agent_error,
        hostname,
        listen_addr,
        advertise_addr,
        data_dir,
        unlockers,
        protection,
        applied_index,
        certificate_expires_at_ms: _,
        losses,
        backup_created_at_ms,
        backup_verified_at_ms,
        memory,
        tpms: _,
        destructions_pending,
        set_aside,
        cloned,
        come_back,
    } = status;
    let remote: Vec<Value> = managers
        .iter()
        .map(
            |ManagerEntry {
                 node_id,
                 raft_id,
                 addr,
                 leader,
                 reachable,
                 voter,
                 damage,
                 clock_ahead_ms,
             }| {
                json!({
                    "NodeID": node_id,
                    "RaftID": raft_id,
                    "Addr": addr,
                    "Leader": leader,
                    "Reachable": reachable,
                    "Voter": voter,
                    "Damage": damage,
                    "ClockAheadMs": clock_ahead_ms,
                })
            },
        )
        .collect();
    json!({
        "NodeID": node_id,
        "ClusterID": cluster_id,
        "State": state,
        "Error": error,
        "Role": role,
        "Leader": leader,
        "Managers": managers.len(),
        "RemoteManagers": remote,
        "Version": version,
        "Runtime": runtime,
        "EngineVersion": engine_version,
        "RuntimeError": runtime_error,
        "AgentError": agent_error,
        "Hostname": hostname,
        "ListenAddr": listen_addr,
        "AdvertiseAddr": advertise_addr,
        "DataDir": data_dir,
        "Unlockers": unlockers,
        "Protection": protection,
        "Memory": memory,
        "AppliedIndex": applied_index,
        "CertificateExpiresAt": expires,
        "Losses": losses,
        "BackupCreatedAt": date(*backup_created_at_ms),
        "BackupVerifiedAt": date(*backup_verified_at_ms),
        "DestructionsPending": destructions_pending,
        "SetAside": set_aside,
        "Cloned": cloned.iter().map(|node| json!({
            "NodeID": node.node_id,
            "Hostname": node.hostname,
            "Since": date(node.since_ms),
            "LastSeen": date(node.last_ms),
            "Addrs": node.addrs,
        })).collect::<Vec<_>>(),
        "ComeBack": come_back.and_then(|span| Duration::try_from(span).ok()).map(|age| Compact(age).to_string()),
    })
}

/// How far a manager's clock is from the leader's, where that is worth a look.
fn clock(ahead_ms: Option<i64>) -> String {
    match ahead_ms {
        Some(ms) if ms.unsigned_abs() >= SKEW_MS => {
            let (sign, off) = (if ms < 0 { '-' } else { '+' }, ms.unsigned_abs());
            format!(" (clock {sign}{}.{}s)", off / 1000, off % 1000 / 100)
        }
        Some(_) | None => String::new(),
    }
}

fn text(status: &StatusResponse, now: Timestamp) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            let name = if name.is_empty() { String::new() } else { format!("{name}:") };
            let value = line(value);
            writeln!(out, "{name:<16}{value}").expect("a String takes everything");
        }
    };
    let state = state(status);
    row("State", state);
    let trouble = match state {
        "damaged" => "Damage",
        "pending" => "Waits for",
        _ => "Error",
    };
    row(trouble, &status.error);
    row("NodeID", &status.node_id);
    row("ClusterID", &status.cluster_id);
    let role = role(status);
    row("Role", &if status.leader { format!("{role} (leads)") } else { role.to_owned() });
    if !status.managers.is_empty() {
        row("Managers", &status.managers.len().to_string());
        for manager in &status.managers {
            let how = match (manager.leader, manager.reachable, manager.voter) {
                (true, _, _) => " (leads)",
                (false, Some(false), _) => " (unreachable)",
                (false, _, false) if status.losses.is_some() => " (catching up)",
                (false, _, _) => "",
            };
            let clock = clock(manager.clock_ahead_ms);
            row("", &format!("{} at {}{how}{clock}", manager.node_id, manager.addr));
            if !manager.damage.is_empty() {
                row("", &format!("  damaged: {}", manager.damage));
            }
        }
    }
    if let Some(losses) = status.losses.filter(|_| status.managers.len() > 1) {
        let lost = match losses {
            0 => "no more managers, or nothing can be written".to_owned(),
            1 => "1 more manager".to_owned(),
            more => format!("{more} more managers"),
        };
        row("May be lost", &lost);
    }
    row("Hostname", &status.hostname);
    row("ListenAddr", &status.listen_addr);
    row("AdvertiseAddr", &status.advertise_addr);
    let engine = [&*status.runtime, &*status.engine_version];
    row("Runtime", engine.join(" ").trim());
    row("RuntimeError", &status.runtime_error);
    row("AgentError", &status.agent_error);
    row("DataDir", &status.data_dir);
    for path in &status.set_aside {
        row(
            "Set aside",
            &format!("{path}: found here before an init or join; remove it if nothing is missing"),
        );
    }
    for (name, lines) in [("Keys at rest", &status.protection), ("Keys in memory", &status.memory)]
    {
        for (at, line) in lines.lines().enumerate() {
            row(if at == 0 { name } else { "" }, line);
        }
    }
    for (at, unlocker) in status.unlockers.iter().enumerate() {
        row(if at == 0 { "Opened by" } else { "" }, unlocker);
    }
    if status.role() == Role::Manager && state == "active" {
        let age = |at: i64| super::age::Human(now.since(Timestamp(at))).to_string().to_lowercase();
        let verified = match status.backup_verified_at_ms {
            0 => "none was ever verified; make one with: secretctl backup create FILE".to_owned(),
            at => {
                format!("made {} ago, verified {} ago", age(status.backup_created_at_ms), age(at))
            }
        };
        row("Last backup", &verified);
    }
    for node in &status.cloned {
        row(
            "Cloned",
            &format!(
                "{} ({}): more than one machine has its identity, from {}; stop the copy, or remove the node and join it anew",
                node.node_id,
                node.hostname,
                node.addrs.join(", ")
            ),
        );
    }
    if status.destructions_pending > 0 {
        row(
            "Destruction",
            &format!(
                "pending for {} removed secrets and configs; see: secretctl ls --filter destroyed=pending",
                status.destructions_pending
            ),
        );
    }
    if status.certificate_expires_at_ms != 0 {
        let left = Timestamp(status.certificate_expires_at_ms).since(now);
        let left = super::age::Human(left).to_string().to_lowercase();
        row("Certificate", &format!("valid for {left} more, renewed before that"));
    }
    row("Version", &status.version);
    if state == "locked" {
        let kinds = status.unlockers.iter().filter_map(|name| name.split(' ').next());
        let automatic = |name| Kind::from_name(name).is_some_and(Kind::is_automatic);
        let (by_itself, by_hand): (Vec<_>, Vec<_>) = kinds.partition(|name| automatic(name));
        out.push_str("\nThis node is locked.");
        if !by_hand.is_empty() {
            out.push_str(" Open its keys with: secretctl unlock");
        }
        if !by_itself.is_empty() {
            write!(out, "\nIt keeps trying by itself: {}", by_itself.join(", "))
                .expect("a String takes everything");
        }
        out.push('\n');
    }
    if state == "damaged" {
        let what = if status.managers.len() > 1 {
            "Fill it from the other managers with: secretctl refill"
        } else {
            "Nobody else has what it stored: bring the data directory back from a copy, or restore a backup."
        };
        writeln!(out, "\nThis manager does not vote: its store is damaged. {what}")
            .expect("a String takes everything");
    }
    if state == "inactive" {
        out.push_str("\nThis node belongs to no cluster. Found one here with: secretctl init\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inactive_node_says_what_to_do() {
        let mut status = StatusResponse::default();
        status.set_state(LocalState::Inactive);
        status.version = "0.1.0".into();
        let text = text(&status, Timestamp(0));
        assert_eq!(
            text,
            "State:          inactive\nVersion:        0.1.0\n\n\
             This node belongs to no cluster. Found one here with: secretctl init\n"
        );
        assert_eq!(fields(&status)["Leader"], false);
        assert_eq!(fields(&status)["Managers"], 0);
    }

    #[test]
    fn what_was_set_aside_is_named_until_it_is_removed() {
        let mut status = StatusResponse::default();
        assert!(!text(&status, Timestamp(0)).contains("Set aside"));
        status.set_aside = vec!["/var/lib/secretd/set-aside-7".into()];
        let shown = text(&status, Timestamp(0));
        assert!(shown.contains("Set aside:      /var/lib/secretd/set-aside-7: "), "{shown}");
        assert_eq!(fields(&status)["SetAside"][0], "/var/lib/secretd/set-aside-7");
    }

    #[test]
    fn a_locked_node_says_who_can_open_it() {
        let mut status = StatusResponse::default();
        status.set_state(LocalState::Locked);
        let mut last = |unlockers: &[&str]| {
            status.unlockers = unlockers.iter().map(|one| (*one).to_owned()).collect();
            text(&status, Timestamp(0)).split_once("\n\n").unwrap().1.to_owned()
        };
        let by_hand = "This node is locked. Open its keys with: secretctl unlock\n";
        assert_eq!(last(&["shamir 0abc (3 of 5 shares)"]), by_hand);
        let both = format!("{by_hand}It keeps trying by itself: command\n");
        assert_eq!(last(&["command 0def (/opt/kms)", "recovery 0abc"]), both);
        let alone = "This node is locked.\nIt keeps trying by itself: command\n";
        assert_eq!(last(&["command 0def (/opt/kms)"]), alone);
    }

    #[test]
    fn a_leading_manager_says_so() {
        let mut status = StatusResponse { leader: true, ..Default::default() };
        status.set_state(LocalState::Active);
        status.set_role(Role::Manager);
        status.managers = vec![ManagerEntry {
            node_id: "n".into(),
            raft_id: 1,
            addr: "10.0.0.1:2390".into(),
            leader: true,
            reachable: Some(true),
            voter: true,
            damage: String::new(),
            clock_ahead_ms: Some(0),
        }];
        let run = |t: &str| Template::parse(t).unwrap().run(&fields(&status), Style::Row).unwrap();
        assert_eq!(run("{{.State}} {{.Role}} {{.Leader}} {{.Managers}}"), "active manager true 1");
        assert!(text(&status, Timestamp(0)).contains("Role:           manager (leads)\n"));
        assert!(!text(&status, Timestamp(0)).contains("clock"));
        for (ms, said) in [(3250, "2390 (leads) (clock +3.2s)\n"), (-90_000, "(clock -90.0s)\n")] {
            status.managers[0].clock_ahead_ms = Some(ms);
            assert!(text(&status, Timestamp(0)).contains(said), "{ms}");
            assert_eq!(fields(&status)["RemoteManagers"][0]["ClockAheadMs"], ms);
        }
    }
}
