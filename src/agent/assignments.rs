//! Puts the steps of the assignment stream together and checks that none is missing.

use super::shelf::Content;
use crate::{
    crypto::transit::{Offer, Transit},
    kit::id::TaskId,
    model::task::{ObjectVersion, Task},
    wire::{Malformed, v1},
};
use std::sync::Arc;

/// One whole step of what this node must hold. Apply payloads, then tasks, then what goes.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// Everything there is; what is not in it goes.
    pub(super) complete: bool,
    /// Nothing comes after it: once it is carried out the worker is done.
    pub(super) last: bool,
    pub(super) payloads: Vec<(ObjectVersion, Content)>,
    pub(super) tasks: Vec<Arc<Task>>,
    pub(super) removed_tasks: Vec<TaskId>,
    pub(super) removed_payloads: Vec<ObjectVersion>,
    /// Tasks we were given and cannot understand, and why.
    pub(super) unreadable: Vec<(TaskId, Malformed)>,
}

/// A step that does not follow on what came before: only a COMPLETE helps.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("a step is missing between revision {have:?} and {applies_to}")]
    Gap { have: Option<u64>, applies_to: u64 },
    #[error("the manager sent an assignment that makes no sense: {0}")]
    Malformed(#[from] Malformed),
}

/// The chain of revisions of one stream.
#[derive(Debug)]
pub(super) struct Chain {
    /// Until the manager has answered it.
    offer: Option<Offer>,
    transit: Option<Transit>,
    revision: Option<u64>,
    collecting: Option<(Span, Update)>,
}

/// What all messages of a step share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    complete: bool,
    applies_to: u64,
    results_in: u64,
}

impl Chain {
    /// Of a stream that was asked for with this offer.
    pub(super) fn new(offer: Offer) -> Self {
        Self { offer: Some(offer), transit: None, revision: None, collecting: None }
    }

    /// Takes in a message; a whole step comes out with its last.
    pub(super) fn push(
        &mut self,
        message: v1::AssignmentsResponse,
    ) -> Result<Option<Update>, Broken> {
        let v1::AssignmentsResponse { r#type, applies_to, results_in, changes, more, key_share } =
            message;
        if let Some(offer) = self.offer.take() {
            let agreed = offer.agree(&key_share);
            self.transit = Some(agreed.map_err(|e| Malformed::new(e).within("key_share"))?);
        }
        let complete = match v1::AssignmentType::try_from(r#type) {
            Ok(v1::AssignmentType::Complete) => true,
            Ok(v1::AssignmentType::Incremental) => false,
            Ok(v1::AssignmentType::Unspecified) | Err(_) => {
                return Err(Malformed::new("unknown type").within("type").into());
            }
        };
        let span = Span { complete, applies_to, results_in };
        let mut update = match self.collecting.take() {
            Some((began, update)) if began == span => update,
            Some(_) => return Err(Broken::Gap { have: self.revision, applies_to }),
            None if complete || self.revision == Some(applies_to) => {
                Update { complete, ..Update::default() }
            }
            None => return Err(Broken::Gap { have: self.revision, applies_to }),
        };
        for change in changes {
            update.take(change, self.transit.as_mut())?;
        }
        if more {
            self.collecting = Some((span, update));
            return Ok(None);
        }
        self.revision = Some(results_in);
        Ok(Some(update))
    }
}

impl Update {
    /// This node is to hold nothing any more.
    pub(super) fn farewell() -> Self {
        Self { complete: true, last: true, ..Self::default() }
    }

    fn take(
        &mut self,
        change: v1::AssignmentChange,
        transit: Option<&mut Transit>,
    ) -> Result<(), Malformed> {
        use v1::assignment_change::Change;
        let v1::AssignmentChange { change } = change;
        match change.ok_or_else(|| Malformed::new("must be set").within("change"))? {
            Change::Task(task) => {
                let id = task.id.parse::<TaskId>();
                match (Task::try_from(task), id) {
                    (Ok(task), _) => self.tasks.push(Arc::new(task)),
                    // A newer manager may ask for what we do not know; the other tasks are none the worse.
                    (Err(why), Ok(id)) => self.unreadable.push((id, why)),
                    (Err(why), Err(_)) => return Err(why.within("task")),
                }
            }
            Change::Payload(v1::AssignedPayload { version, content }) => {
                use v1::assigned_payload::Content as Sent;
                let version =
                    version.ok_or_else(|| Malformed::new("must be set").within("version"))?;
                let content = match content {
                    Some(Sent::Sealed(sealed)) => {
                        let transit = transit
                            .ok_or_else(|| Malformed::new("must be set").within("key_share"))?;
                        let opened = transit.open(&sealed);
                        let payload = opened.map_err(|e| Malformed::new(e).within("sealed"))?;
                        Content::Payload(Arc::new(payload))
                    }
                    Some(Sent::Unavailable(why)) => Content::Unavailable(why),
                    None => return Err(Malformed::new("must be set").within("content")),
                };
                self.payloads.push((version.try_into()?, content));
            }
            Change::RemovedTaskId(id) => {
                let id = id.parse().map_err(|e| Malformed::new(e).within("removed_task_id"))?;
                self.removed_tasks.push(id);
            }
            Change::RemovedPayload(version) => self.removed_payloads.push(version.try_into()?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::testing, crypto::plaintext::Plaintext, kit::id::ObjectId,
        model::object::VersionNumber,
    };
    use v1::assignment_change::Change;

    fn message(
        complete: bool,
        from: u64,
        to: u64,
        more: bool,
        changes: Vec<Change>,
    ) -> v1::AssignmentsResponse {
        let kind =
            if complete { v1::AssignmentType::Complete } else { v1::AssignmentType::Incremental };
        v1::AssignmentsResponse {
            r#type: kind.into(),
            applies_to: from,
            results_in: to,
            changes: changes
                .into_iter()
                .map(|change| v1::AssignmentChange { change: Some(change) })
                .collect(),
            more,
            // Of no key that anybody has.
            key_share: vec![9; 32],
        }
    }

    fn asked() -> Chain {
        Chain::new(Offer::new())
    }

    fn task() -> Change {
        Change::Task((&testing::task("web")).into())
    }

    #[test]
    fn a_large_step_comes_out_whole() {
        let mut chain = asked();
        assert!(chain.push(message(true, 0, 1, true, vec![task()])).unwrap().is_none());
        let update = chain.push(message(true, 0, 1, false, vec![task()])).unwrap().unwrap();
        assert!(update.complete);
        assert_eq!(update.tasks.len(), 2);
        let update = chain.push(message(false, 1, 2, false, vec![task()])).unwrap().unwrap();
        assert!(!update.complete);
    }

    #[test]
    fn a_gap_is_seen() {
        let incremental = |from| message(false, from, from + 1, false, vec![]);
        asked().push(incremental(1)).unwrap_err();
        let mut chain = asked();
        chain.push(message(true, 0, 5, false, vec![])).unwrap();
        assert!(matches!(
            chain.push(incremental(6)),
            Err(Broken::Gap { have: Some(5), applies_to: 6 })
        ));
        chain.push(incremental(5)).unwrap();
        // A step that is cut short by another is a gap too.
        chain.push(message(false, 6, 7, true, vec![])).unwrap();
        chain.push(message(false, 7, 8, false, vec![])).unwrap_err();
    }

    #[test]
    fn an_unreadable_task_is_set_apart_and_anything_else_breaks_the_stream() {
        let mut chain = asked();
        let Change::Task(mut odd) = task() else { unreachable!() };
        odd.desired = 4711;
        let id = odd.id.clone();
        let changes = vec![Change::Task(odd), task()];
        let update = chain.push(message(true, 0, 1, false, changes)).unwrap().unwrap();
        assert_eq!(update.unreadable[0].0.to_string(), id);
        assert_eq!(update.tasks.len(), 1);
        let bad = vec![Change::RemovedTaskId("x".into())];
        assert!(matches!(asked().push(message(true, 0, 1, false, bad)), Err(Broken::Malformed(_))));
        asked().push(v1::AssignmentsResponse::default()).unwrap_err();
    }

    #[test]
    fn a_payload_that_does_not_open_breaks_the_stream() {
        let version = ObjectVersion { object: ObjectId::random(), version: VersionNumber::FIRST };
        let payload = |sealed| {
            let content = Some(v1::assigned_payload::Content::Sealed(sealed));
            Change::Payload(v1::AssignedPayload { version: Some((&version).into()), content })
        };
        let offer = Offer::new();
        let (mut transit, key_share) = Offer::answer(offer.share()).unwrap();
        let sealed = transit.seal(&Plaintext::new(b"abc".to_vec()));
        let mut chain = Chain::new(offer);
        let first = message(true, 0, 1, false, vec![payload(sealed.clone())]);
        chain.push(v1::AssignmentsResponse { key_share, ..first }).unwrap();
        let twice = chain.push(message(false, 1, 2, false, vec![payload(sealed)])).unwrap_err();
        assert!(twice.to_string().contains("sealed: "), "{twice}");
        let none =
            v1::AssignmentsResponse { key_share: Vec::new(), ..message(true, 0, 1, false, vec![]) };
        let none = asked().push(none).unwrap_err();
        assert!(none.to_string().contains("key_share: must be a share of a key"), "{none}");
    }

    #[test]
    fn payloads_and_removals_are_read() {
        let version = ObjectVersion { object: ObjectId::random(), version: VersionNumber::FIRST };
        let wire = v1::ObjectVersion::from(&version);
        let content = |content| {
            Change::Payload(v1::AssignedPayload {
                version: Some(wire.clone()),
                content: Some(content),
            })
        };
        let offer = Offer::new();
        let (mut transit, key_share) = Offer::answer(offer.share()).unwrap();
        let payload = transit.seal(&Plaintext::new(b"abc".to_vec()));
        let id = TaskId::random();
        let changes = vec![
            content(v1::assigned_payload::Content::Sealed(payload)),
            content(v1::assigned_payload::Content::Unavailable("locked".into())),
            Change::RemovedTaskId(id.to_string()),
            Change::RemovedPayload(wire.clone()),
        ];
        let message = v1::AssignmentsResponse { key_share, ..message(true, 0, 1, false, changes) };
        let update = Chain::new(offer).push(message).unwrap().unwrap();
        assert!(
            matches!(&update.payloads[0], (v, Content::Payload(p)) if *v == version && p.len() == 3)
        );
        assert!(matches!(&update.payloads[1], (_, Content::Unavailable(why)) if why == "locked"));
        assert_eq!(update.removed_tasks, [id]);
        assert_eq!(update.removed_payloads, [version]);
    }
}
