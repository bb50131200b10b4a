//! Secrets and configs.

use super::*;
use crate::store::Change;

#[test]
fn names_are_unique_whatever_their_case_but_only_within_a_kind() {
    let mut store = Store::new();
    store.done(secret(1, "Db"));
    assert_eq!(store.refused(secret(2, "dB")), "secret dB already exists");
    store.done(create(Kind::Config, 2, "dB"));
    assert_eq!(store.refused(create(Kind::Config, 3, "DB")), "config DB already exists");
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(1) });
    store.done(secret(3, "db"));
}

#[test]
fn sizes_and_labels_have_limits() {
    let mut store = Store::new();
    let sized = |size, labels| Command::CreateObject {
        kind: Kind::Secret,
        id: object_id(1),
        name: "x".parse().unwrap(),
        labels,
        size,
        sealed: sealed(),
    };
    let message = "secret data must be larger than 0 and less than 512000 bytes";
    assert_eq!(store.refused(sized(0, Labels::new())), message);
    assert_eq!(store.refused(sized(512_000, Labels::new())), message);
    let large = Labels::from([("k".to_owned(), "v".repeat(65_536))]);
    assert_eq!(store.refused(sized(1, large)), "labels must be at most 65536 bytes together");
    store.done(sized(511_999, Labels::from([("k".to_owned(), "v".repeat(65_535))])));
}

#[test]
fn labels_change_only_for_who_saw_the_latest() {
    let mut store = Store::new();
    store.done(secret(1, "db"));
    let set = |index, value: &str| Command::SetObjectLabels {
        kind: Kind::Secret,
        id: object_id(1),
        index,
        labels: Labels::from([("k".into(), value.into())]),
    };
    store.done(set(Some(1), "a"));
    assert_eq!(store.refused(set(Some(1), "b")), "update out of sequence");
    store.done(set(None, "b"));
    let object = store.state.object_by_id(object_id(1)).unwrap();
    assert_eq!((object.meta.index, object.labels["k"].as_str()), (3, "b"));
    assert!(object.meta.updated_at > object.meta.created_at);
    assert_eq!(
        store.refused(Command::SetObjectLabels {
            kind: Kind::Config,
            id: object_id(1),
            index: None,
            labels: Labels::new()
        }),
        format!("config {} not found", object_id(1)),
        "a secret is no config"
    );
}

#[test]
fn an_object_in_use_stays() {
    let mut store = Store::new();
    store.done(secret(1, "db"));
    store.done(service(1, spec("web", vec![refer(Kind::Secret, 1, "db")])));
    let remove = || Command::RemoveObject { kind: Kind::Secret, id: object_id(1) };
    let hint = |store: &mut Store| store.apply(remove()).unwrap_err().hint.unwrap();
    assert_eq!(store.refused(remove()), "secret 'db' is in use by the following service: web");
    assert!(hint(&mut store).contains("`secretctl service update --secret-rm db web`"));
    store.done(service(2, spec("api", vec![refer(Kind::Secret, 1, "db")])));
    assert_eq!(
        store.refused(remove()),
        "secret 'db' is in use by the following services: api, web"
    );
    store.done(Command::RemoveService { id: service_id(2) });
    // A rollback would return to the spec that refers to it.
    store.done(update(1, None, spec("web", vec![])));
    assert_eq!(store.refused(remove()), "secret 'db' is in use by the following service: web");
    assert!(hint(&mut store).contains("`secretctl service update --force web`"));
    let mut third = spec("web", vec![]);
    third.task.force_update = 1;
    store.done(update(1, None, third));
    store.done(remove());
}

#[test]
fn a_running_task_does_not_keep_its_object() {
    let mut store = Store::founded();
    store.done(secret(1, "db"));
    store.done(service(1, spec("web", vec![refer(Kind::Secret, 1, "db")])));
    store.place(1, 1);
    store.report(1, TaskState::Running);
    store.done(Command::RemoveService { id: service_id(1) });
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(1) });
    assert!(store.task(1).holds_payloads(), "it goes on until it has stopped");
}

#[test]
fn bodies_come_and_go_with_their_objects() {
    let mut store = Store::new();
    let made = store.request(None, secret(1, "db")).changes;
    let body =
        Change::PutBody { object: object_id(1), version: VersionNumber::FIRST, sealed: sealed() };
    assert_eq!(made[0], body);
    let removed =
        store.request(None, Command::RemoveObject { kind: Kind::Secret, id: object_id(1) }).changes;
    let gone = Change::DeleteBody { object: object_id(1), version: VersionNumber::FIRST };
    assert_eq!(removed[0], gone);
}
