//! Secrets and configs that were removed and are not gone from every manager's disk yet.

use crate::{
    client::PendingRemoval,
    ctl::{age::ago, format::Listing},
    kit::clock::Timestamp,
    model::destroyed::Destroyed,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

pub(crate) const DESTROYED: Listing = Listing {
    columns: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("CreatedAt", "CREATED"),
        ("RemovedAt", "REMOVED"),
        ("Purged", "PURGED"),
        ("WaitingFor", "WAITING FOR"),
    ],
    table: r"{{.ID}}\t{{.Name}}\t{{.RemovedAt}}\t{{.Purged}}\t{{.WaitingFor}}",
    quiet: "{{.ID}}",
};

/// A row of `ls --filter destroyed=pending`.
pub(crate) fn destroyed_row(removal: &PendingRemoval, now: Timestamp) -> Value {
    let PendingRemoval { object, managers, waiting: _ } = removal;
    let Destroyed { kind: _, id, name, created_at, removed_at, done: _ } = object;
    json!({
        "ID": id.to_string(),
        "Name": name.to_string(),
        "CreatedAt": ago(*created_at, now),
        "RemovedAt": ago(*removed_at, now),
        "Purged": format!("{}/{managers}", purged(removal)),
        "WaitingFor": names(removal).join(", "),
    })
}

/// What `inspect` shows of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DestroyedView {
    #[serde(rename = "ID")]
    id: String,
    created_at: String,
    spec: Spec,
    destruction: Destruction,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Destruction {
    state: &'static str,
    removed_at: String,
    managers: u32,
    purged: u32,
    waiting_for: Vec<String>,
}

impl DestroyedView {
    pub(crate) fn new(removal: &PendingRemoval) -> Self {
        let PendingRemoval { object, managers, waiting } = removal;
        let Destroyed { kind: _, id, name, created_at, removed_at, done: _ } = object;
        Self {
            id: id.to_string(),
            created_at: created_at.to_string(),
            spec: Spec { name: name.to_string() },
            destruction: Destruction {
                state: "pending",
                removed_at: removed_at.to_string(),
                managers: *managers,
                purged: purged(removal),
                waiting_for: waiting.iter().map(|(node, _)| node.to_string()).collect(),
            },
        }
    }

    /// How far it is, in a sentence.
    pub(crate) fn progress(&self) -> String {
        let Destruction { state: _, removed_at, managers, purged, waiting_for } = &self.destruction;
        let waiting = waiting_for.join(", ");
        format!(
            "it was removed at {removed_at}; purged on {purged} of {managers} managers, waiting for {waiting}"
        )
    }
}

/// As `inspect --pretty` prints it.
impl fmt::Display for DestroyedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destruction { state: _, removed_at, managers, purged, waiting_for } = &self.destruction;
        writeln!(f, "ID:              {}", self.id)?;
        writeln!(f, "Name:            {}", self.spec.name)?;
        writeln!(f, "Created at:      {}", self.created_at)?;
        writeln!(f, "Removed at:      {removed_at}")?;
        writeln!(f, "Destruction:     pending; purged on {purged} of {managers} managers")?;
        writeln!(f, "Waiting for:     {}", waiting_for.join(", "))
    }
}

fn purged(removal: &PendingRemoval) -> u32 {
    let waiting = u32::try_from(removal.waiting.len()).unwrap_or(u32::MAX);
    removal.managers.saturating_sub(waiting)
}

/// Host names, or ids where there is none.
fn names(removal: &PendingRemoval) -> Vec<String> {
    let name = |(node, host): &(_, String)| {
        if host.is_empty() { format!("{node}") } else { host.clone() }
    };
    removal.waiting.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::id::{NodeId, ObjectId},
        model::object::Kind,
    };

    fn removal() -> PendingRemoval {
        PendingRemoval {
            object: Destroyed {
                kind: Kind::Secret,
                id: ObjectId::from_random([0; 17]),
                name: "db-password".parse().unwrap(),
                created_at: Timestamp(1_000_000_000_123),
                removed_at: Timestamp(1_000_000_100_123),
                done: Default::default(),
            },
            managers: 3,
            waiting: vec![(NodeId::from_random([0; 17]), "m3".into())],
        }
    }

    #[test]
    fn a_removal_says_whom_it_waits_for() {
        let view = DestroyedView::new(&removal());
        assert_eq!(
            view.to_string(),
            "ID:              0000000000000000000000000\n\
             Name:            db-password\n\
             Created at:      2001-09-09T01:46:40.123Z\n\
             Removed at:      2001-09-09T01:48:20.123Z\n\
             Destruction:     pending; purged on 2 of 3 managers\n\
             Waiting for:     0000000000000000000000000\n"
        );
        assert_eq!(
            view.progress(),
            "it was removed at 2001-09-09T01:48:20.123Z; purged on 2 of 3 managers, waiting for 0000000000000000000000000"
        );
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["Destruction"]["WaitingFor"], json!(["0000000000000000000000000"]));
        let row = destroyed_row(&removal(), Timestamp(1_000_000_160_123));
        assert_eq!(
            DESTROYED.render(&[row], None, false).unwrap(),
            "ID                          NAME          REMOVED              PURGED    WAITING FOR\n\
             0000000000000000000000000   db-password   About a minute ago   2/3       m3\n"
        );
    }
}
