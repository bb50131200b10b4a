//! A request sent twice is done once.

use super::*;
use crate::{
    kit::{
        id::ClientId,
        limits::{ANSWERS_PER_CLIENT, CLIENTS_REMEMBERED},
    },
    model::command::Answer,
};

fn request(client: u8, sequence: u64) -> Option<RequestId> {
    Some(RequestId { client: ClientId::from_random([client; 17]), sequence })
}

#[test]
fn the_same_request_gets_the_same_answer_and_changes_nothing() {
    let mut store = Store::new();
    let first = store.request(request(1, 1), secret(1, "db")).outcome;
    let again = store.request(request(1, 1), secret(2, "db"));
    assert_eq!(again.outcome, first);
    assert_eq!(first, Ok(Answer::Object { id: object_id(1), version: VersionNumber::FIRST }));
    assert_eq!(again.changes, []);
    assert_eq!(store.state.objects().count(), 1);
}

#[test]
fn a_refusal_is_remembered_too() {
    let mut store = Store::new();
    store.done(secret(1, "db"));
    let refused = store.request(request(1, 1), secret(2, "db")).outcome;
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(1) });
    assert_eq!(store.request(request(1, 1), secret(2, "db")).outcome, refused);
    store.request(request(1, 2), secret(2, "db")).outcome.unwrap();
}

#[test]
fn who_waited_too_long_is_refused_instead_of_served_twice() {
    let mut store = Store::new();
    let last = ANSWERS_PER_CLIENT as u64 + 1;
    for sequence in 1..=last {
        let name = format!("s{sequence}");
        store
            .request(request(1, sequence), secret(u8::try_from(sequence).unwrap(), &name))
            .outcome
            .unwrap();
    }
    let late = store.request(request(1, 1), secret(200, "new"));
    assert_eq!(
        late.outcome.unwrap_err().to_string(),
        "the outcome of this request is no longer remembered"
    );
    assert_eq!(store.state.objects().count(), usize::try_from(last).unwrap());
}

#[test]
fn requests_may_arrive_out_of_order() {
    let mut store = Store::new();
    store.request(request(1, 5), secret(5, "five")).outcome.unwrap();
    store.request(request(1, 3), secret(3, "three")).outcome.unwrap();
    assert_eq!(store.state.objects().count(), 2);
}

#[test]
fn the_client_longest_silent_is_forgotten_first() {
    let mut store = Store::new();
    let client = |n: usize| {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Some(RequestId { client: ClientId::from_random(bytes), sequence: 1 })
    };
    let nothing = || Command::ChangeTasks { changes: vec![] };
    for n in 0..CLIENTS_REMEMBERED {
        store.request(client(n), nothing()).outcome.unwrap();
    }
    // The first one speaks again, under a leader whose clock is behind.
    let now = store.at;
    store.at = Timestamp(0);
    let again = RequestId { sequence: 2, ..client(0).unwrap() };
    store.request(Some(again), nothing()).outcome.unwrap();
    store.at = now;
    store.request(client(CLIENTS_REMEMBERED), nothing()).outcome.unwrap();
    assert_eq!(store.state.clients().0, CLIENTS_REMEMBERED);
    assert!(store.state.answered(client(0).unwrap().client).is_some());
    assert!(store.state.answered(client(1).unwrap().client).is_none());
}
