//! Decides whether what clients saw can be explained by one object that changes at single moments: Wing and Gong's
//! search with Lowe's memory of what was tried, one object (a name) at a time.
//!
//! An operation takes effect at some moment between its call and its return. One whose outcome is unknown may take
//! effect at any moment after its call, or never.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Create {
        label: String,
    },
    SetLabel {
        label: String,
    },
    /// What was read: the label, or that there is no such object.
    Get {
        saw: Option<String>,
    },
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The object was there already, or was not there.
    Refused,
    /// No answer came.
    Unknown,
}

/// One call of one client on one object; the times are of one clock.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) object: String,
    pub(crate) act: Act,
    pub(crate) called: u64,
    /// Meaningless if the outcome is unknown.
    pub(crate) returned: u64,
    pub(crate) outcome: Outcome,
}

/// So many pairs of (operations done, object) are looked at before a history is said to be too tangled to judge.
const BOUND: usize = 5_000_000;

/// The object, once an operation has taken effect in `state`; nothing if it cannot have had that outcome then.
fn effect(state: &Option<String>, operation: &Operation) -> Option<Option<String>> {
    let known = operation.outcome != Outcome::Unknown;
    let refused = operation.outcome == Outcome::Refused;
    let (succeeds, after) = match (&operation.act, state) {
        (Act::Create { label }, None) => (true, Some(label.clone())),
        (Act::SetLabel { label }, Some(_)) => (true, Some(label.clone())),
        (Act::Remove, Some(_)) => (true, None),
        (Act::Create { .. }, Some(_)) | (Act::SetLabel { .. } | Act::Remove, None) => {
            (false, state.clone())
        }
        (Act::Get { saw }, _) => {
            return (!known || saw == state).then(|| state.clone());
        }
    };
    (!known || succeeds != refused).then_some(after)
}

/// Whether the whole history has an explanation.
///
/// # Errors
/// The first object without one, and what was done to it.
pub(crate) fn check(history: &[Operation]) -> Result<(), String> {
    let mut objects: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        objects.entry(&operation.object).or_default().push(operation);
    }
    for (object, mut operations) in objects {
        // A read without an answer explains and forbids nothing.
        operations
            .retain(|op| !(op.outcome == Outcome::Unknown && matches!(op.act, Act::Get { .. })));
        operations.sort_by_key(|operation| operation.called);
        let explained = explain(&operations).ok_or_else(|| format!("{object}: too tangled"))?;
        if !explained {
            let told: Vec<_> = operations
                .iter()
                .map(|Operation { object: _, act, called, returned, outcome }| {
                    format!("  {called}..{returned} {act:?} {outcome:?}")
                })
                .collect();
            return Err(format!("no order explains {object}:\n{}", told.join("\n")));
        }
    }
    Ok(())
}

/// Looks for an order of the operations, which are sorted by call; nothing if it would take too long.
fn explain(operations: &[&Operation]) -> Option<bool> {
    let open = |operation: &Operation| operation.outcome == Outcome::Unknown;
    let mut tried: HashSet<(Vec<u64>, Option<String>)> = HashSet::new();
    // What took effect, as bits, and the object then.
    let mut stack = vec![(vec![0u64; operations.len() / 64 + 1], None)];
    while let Some((done, state)) = stack.pop() {
        let is_done = |n: usize| done[n / 64] & (1 << (n % 64)) != 0;
        let left = || (0..operations.len()).filter(|n| !is_done(*n));
        if left().all(|n| open(operations[n])) {
            return Some(true);
        }
        // Whoever is next was called before any other that is left returned.
        let horizon =
            left().filter(|n| !open(operations[*n])).map(|n| operations[n].returned).min();
        let next = left().take_while(|n| horizon.is_none_or(|end| operations[*n].called <= end));
        for n in next {
            let Some(after) = effect(&state, operations[n]) else { continue };
            let mut more = done.clone();
            more[n / 64] |= 1 << (n % 64);
            if tried.insert((more.clone(), after.clone())) {
                if tried.len() > BOUND {
                    return None;
                }
                stack.push((more, after));
            }
        }
    }
    Some(false)
}

/// Names that were created for sure, never asked to be removed, and are not in the list taken at the end; and names in
/// that list that nobody ever asked to create.
pub(crate) fn missing_and_invented(
    history: &[Operation],
    listed: &BTreeSet<String>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |wanted: &dyn Fn(&Operation) -> bool| -> BTreeSet<String> {
        history.iter().filter(|op| wanted(op)).map(|op| op.object.clone()).collect()
    };
    let created = of(&|op| matches!(op.act, Act::Create { .. }) && op.outcome == Outcome::Done);
    let asked = of(&|op| matches!(op.act, Act::Create { .. }));
    // A removal that was refused removed nothing, but then the object was not there: that is for `check`.
    let removed = of(&|op| op.act == Act::Remove && op.outcome != Outcome::Refused);
    let kept = created.difference(&removed).cloned().collect::<BTreeSet<_>>();
    (kept.difference(listed).cloned().collect(), listed.difference(&asked).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(act: Act, called: u64, returned: u64, outcome: Outcome) -> Operation {
        Operation { object: "a".into(), act, called, returned, outcome }
    }

    fn create(label: &str) -> Act {
        Act::Create { label: label.into() }
    }

    fn set(label: &str) -> Act {
        Act::SetLabel { label: label.into() }
    }

    fn saw(label: &str) -> Act {
        Act::Get { saw: Some(label.into()) }
    }

    const NOTHING: Act = Act::Get { saw: None };
    use Outcome::{Done, Refused, Unknown};

    #[test]
    fn a_history_in_order_is_explained() {
        check(&[
            op(NOTHING, 0, 1, Done),
            op(create("1"), 2, 5, Done),
            op(create("2"), 3, 6, Refused),
            op(saw("1"), 7, 8, Done),
            op(set("3"), 9, 20, Done),
            op(saw("1"), 10, 11, Done),
            op(saw("3"), 12, 13, Done),
            op(Act::Remove, 21, 22, Done),
            op(set("4"), 23, 24, Refused),
            op(NOTHING, 25, 26, Done),
        ])
        .unwrap();
    }

    #[test]
    fn a_stale_read_is_refused() {
        let history =
            [op(create("1"), 0, 1, Done), op(set("2"), 2, 3, Done), op(saw("1"), 4, 5, Done)];
        assert!(check(&history).unwrap_err().contains("no order explains a"));
        // Nor may one reader go back behind what another has seen, though the write has not returned.
        let history = [
            op(create("1"), 0, 1, Done),
            op(set("2"), 2, 30, Done),
            op(saw("2"), 4, 5, Done),
            op(saw("1"), 6, 7, Done),
        ];
        check(&history).unwrap_err();
    }

    #[test]
    fn a_lost_write_is_refused() {
        check(&[op(create("1"), 0, 1, Done), op(NOTHING, 2, 3, Done)]).unwrap_err();
        check(&[op(create("1"), 0, 1, Done), op(create("1"), 2, 3, Done)]).unwrap_err();
    }

    #[test]
    fn only_one_of_two_creations_succeeds_even_at_once() {
        check(&[op(create("1"), 0, 9, Done), op(create("2"), 1, 8, Done)]).unwrap_err();
        check(&[op(create("1"), 0, 9, Done), op(create("2"), 1, 8, Refused)]).unwrap();
    }

    #[test]
    fn a_refusal_needs_a_reason() {
        check(&[op(create("1"), 0, 1, Refused)]).unwrap_err();
        check(&[op(Act::Remove, 0, 1, Refused)]).unwrap();
        check(&[op(create("1"), 0, 1, Done), op(Act::Remove, 2, 3, Refused)]).unwrap_err();
    }

    #[test]
    fn an_unknown_outcome_may_take_effect_late_or_never_but_not_twice() {
        let unknown = op(create("1"), 0, 1, Unknown);
        check(&[unknown.clone(), op(NOTHING, 5, 6, Done)]).unwrap();
        check(&[unknown.clone(), op(NOTHING, 5, 6, Done), op(saw("1"), 7, 8, Done)]).unwrap();
        let history = [
            unknown,
            op(saw("1"), 2, 3, Done),
            op(Act::Remove, 4, 5, Done),
            op(saw("1"), 6, 7, Done),
        ];
        check(&history).unwrap_err();
    }

    #[test]
    fn objects_do_not_explain_each_other() {
        let mut other = op(create("1"), 0, 1, Done);
        other.object = "b".into();
        check(&[other, op(saw("1"), 2, 3, Done)]).unwrap_err();
    }

    #[test]
    fn many_clients_on_one_object_are_judged_in_time() {
        // Rounds of eight writes at once, each followed by a read of one of them, and answers that never came.
        let mut history = vec![op(create("0"), 0, 1, Done)];
        for round in 1..30u64 {
            let at = round * 100;
            for n in 0..8 {
                let outcome = if n == 7 && round % 14 == 13 { Unknown } else { Done };
                history.push(op(set(&format!("{round}.{n}")), at + n, at + 50 + n, outcome));
            }
            history.push(op(saw(&format!("{round}.{}", round % 7)), at + 80, at + 81, Done));
        }
        check(&history).unwrap();
        history.push(op(saw("3.1"), 9000, 9001, Done));
        check(&history).unwrap_err();
    }

    #[test]
    fn what_was_acknowledged_and_not_removed_is_listed() {
        let mut history = vec![op(create("1"), 0, 1, Done)];
        for (name, outcome) in [("b", Unknown), ("c", Refused)] {
            history.push(Operation { object: name.into(), ..op(create("1"), 2, 3, outcome) });
        }
        let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let none = BTreeSet::new();
        assert_eq!(
            missing_and_invented(&history, &listed(&["a", "b"])),
            (none.clone(), none.clone())
        );
        let (missing, invented) = missing_and_invented(&history, &listed(&["b", "x"]));
        assert_eq!((missing, invented), (listed(&["a"]), listed(&["x"])));
        history.push(op(Act::Remove, 4, 5, Unknown));
        assert_eq!(missing_and_invented(&history, &listed(&[])).0, none);
    }
}
