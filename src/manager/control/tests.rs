//! The control API as operators meet it: through the client, over a socket, on a real store.

use super::*;
use crate::wire::status::refusal;
use crate::{
    client::{Client, ClientError},
    crypto::plaintext::Plaintext,
    kit::id::{ClientId, ServiceId},
    manager::testing::Manager,
    model::{
        Labels,
        filter::Filters,
        object::{Kind, VersionNumber},
        task::TaskState,
    },
};
use std::fmt::Debug;

const CANARY: &str = "canary-4711";

fn plain(text: &str) -> Plaintext {
    Plaintext::new(text.as_bytes().to_vec())
}

fn refused<T: Debug>(result: Result<T, ClientError>) -> Refusal {
    match result.unwrap_err() {
        ClientError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn create(client: &Client, kind: Kind, name: &str, text: &str) {
    client.create_object(kind, name, Labels::new(), plain(text)).await.unwrap();
}

/// A service that refers to a secret by what the user typed.
fn spec(name: &str, secret: &str) -> v1::ServiceSpec {
    let reference = v1::Reference {
        kind: v1::Kind::Secret.into(),
        object_name: secret.to_owned(),
        ..Default::default()
    };
    v1::ServiceSpec {
        name: name.to_owned(),
        task: Some(v1::TaskSpec {
            container: Some(v1::ContainerSpec { image: "busybox".into(), ..Default::default() }),
            references: if secret.is_empty() { vec![] } else { vec![reference] },
            ..Default::default()
        }),
        mode: Some(v1::Mode {
            mode: Some(v1::mode::Mode::Replicated(v1::mode::Replicated { replicas: 1 })),
        }),
        ..Default::default()
    }
}

async fn service(client: &Client, name: &str, secret: &str) -> ServiceId {
    client.create_service(spec(name, secret)).await.unwrap()
}

#[tokio::test]
async fn objects_are_made_found_listed_and_removed() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let labels = Labels::from([("env".to_owned(), "prod".to_owned())]);
    let id = client
        .create_object(Kind::Secret, "db-password", labels.clone(), plain(CANARY))
        .await
        .unwrap();
    create(&client, Kind::Config, "db-password", "port=1").await;
    create(&client, Kind::Secret, "other", "x").await;

    for reference in [id.as_str(), "DB-Password", &id.as_str()[..12]] {
        let secret = client.object(Kind::Secret, reference).await.unwrap();
        assert_eq!((secret.id, &secret.labels), (id, &labels), "{reference}");
        assert_eq!(secret.latest().size, CANARY.len() as u64);
        assert!(!format!("{secret:?}").contains(CANARY));
    }
    let filters = Filters::default().with("label", "env=prod");
    let found = client.list_objects(Kind::Secret, &filters).await.unwrap();
    assert_eq!(found.iter().map(|o| o.id).collect::<Vec<_>>(), [id]);
    assert_eq!(client.list_objects(Kind::Secret, &Filters::default()).await.unwrap().len(), 2);

    let relabelled =
        client.set_object_labels(Kind::Secret, "db-password", None, Labels::new()).await.unwrap();
    assert!(relabelled.labels.is_empty());
    let stale = client.set_object_labels(Kind::Secret, "db-password", Some(1), labels).await;
    assert_eq!(refused(stale).kind, RefusalKind::Conflict);

    assert_eq!(client.remove_object(Kind::Secret, "db-password").await.unwrap(), id);
    let gone = refused(client.object(Kind::Secret, "db-password").await);
    assert_eq!(gone.message, "secret db-password not found");
    manager.stop().await;
}

#[tokio::test]
async fn bad_objects_are_refused_in_the_words_operators_know() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    create(&client, Kind::Secret, "taken", "x").await;
    for (name, size, message) in [
        ("", 1, "name must be provided"),
        (
            "-x",
            1,
            "invalid name, only 253 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
        ),
        ("x", 0, "secret data must be larger than 0 and less than 512000 bytes"),
        ("x", 512_000, "secret data must be larger than 0 and less than 512000 bytes"),
        ("Taken", 1, "secret Taken already exists"),
    ] {
        let payload = Plaintext::new(vec![7; size]);
        let made = client.create_object(Kind::Secret, name, Labels::new(), payload).await;
        assert_eq!(refused(made).message, message);
    }
    let large = Plaintext::new(vec![7; 1_023_999]);
    client.create_object(Kind::Config, "large", Labels::new(), large).await.unwrap();
    let (_, _, back) = client.config_data("large", None).await.unwrap();
    assert_eq!(back.len(), 1_023_999);
    let filter = Filters::default().with("colour", "red");
    let listed = client.list_objects(Kind::Secret, &filter).await;
    assert_eq!(refused(listed).message, "invalid filter 'colour'");
    manager.stop().await;
}

#[tokio::test]
async fn a_configs_payload_is_shown_and_a_secrets_is_not() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    create(&client, Kind::Config, "app.conf", "port=80").await;
    create(&client, Kind::Secret, "password", CANARY).await;
    let (config, version, data) = client.config_data("app.conf", None).await.unwrap();
    assert_eq!((config.name.as_str(), version), ("app.conf", VersionNumber::FIRST));
    assert_eq!(data.expose(), b"port=80");
    let other = client.config_data("app.conf", Some(VersionNumber(2))).await;
    assert_eq!(refused(other).kind, RefusalKind::NotFound);
    let secret = client.config_data("password", None).await;
    assert_eq!(refused(secret).message, "config password not found");
    manager.stop().await;
}

#[tokio::test]
async fn ensuring_accepts_the_same_payload_only() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let ensure = async |text: &str| {
        client.ensure_object(Kind::Secret, "s", Labels::new(), plain(text)).await
    };
    let first = ensure("one").await.unwrap();
    let again = ensure("one").await.unwrap();
    assert_eq!((first.existed, again.existed), (false, true));
    assert_eq!(first.id, again.id);
    assert_eq!(refused(ensure("two").await).kind, RefusalKind::Exists);
    manager.stop().await;
}

#[tokio::test]
async fn a_request_sent_twice_is_done_once() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let request = v1::CreateObjectRequest {
        request: Some(v1::RequestId { client_id: ClientId::random().to_string(), sequence: 1 }),
        kind: v1::Kind::Secret.into(),
        name: "once".into(),
        payload: Some(v1::Payload { data: vec![1] }),
        ..Default::default()
    };
    let first = client.control().create_object(request.clone()).await.unwrap().into_inner();
    let second = client.control().create_object(request).await.unwrap().into_inner();
    assert_eq!(first, second);
    let remove = v1::RemoveObjectRequest {
        request: Some(v1::RequestId { client_id: ClientId::random().to_string(), sequence: 1 }),
        kind: v1::Kind::Secret.into(),
        reference: "twice".into(),
    };
    create(&client, Kind::Secret, "twice", "x").await;
    let removed = client.control().remove_object(remove.clone()).await.unwrap().into_inner();
    let again = client.control().remove_object(remove).await.unwrap().into_inner();
    assert_eq!(removed, again);
    let label = v1::SetObjectLabelsRequest {
        request: Some(v1::RequestId { client_id: ClientId::random().to_string(), sequence: 1 }),
        kind: v1::Kind::Secret.into(),
        reference: "thrice".into(),
        labels: Labels::from([("a".to_owned(), "1".to_owned())]),
        ..Default::default()
    };
    create(&client, Kind::Secret, "thrice", "x").await;
    client.control().set_object_labels(label.clone()).await.unwrap();
    client.set_object_labels(Kind::Secret, "thrice", None, Labels::new()).await.unwrap();
    let again = client.control().set_object_labels(label.clone()).await.unwrap().into_inner();
    assert!(again.labels.is_empty(), "it was not done again");
    // Only what was not done may be said not to have been found.
    client.remove_object(Kind::Secret, "thrice").await.unwrap();
    let again = client.control().set_object_labels(label).await.unwrap_err();
    assert_eq!(refusal(&again).unwrap().kind, RefusalKind::Conflict);
    assert_eq!(client.list_objects(Kind::Secret, &Filters::default()).await.unwrap().len(), 1);
    manager.stop().await;
}

#[tokio::test]
async fn a_change_of_a_service_sent_twice_is_done_once_also_if_the_service_is_gone_since() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let request = |sequence| {
        let client_id = ClientId::from_random([3; 17]).to_string();
        Some(v1::RequestId { client_id, sequence })
    };
    create(&client, Kind::Secret, "a", "x").await;
    create(&client, Kind::Secret, "b", "x").await;
    service(&client, "web", "a").await;
    let update = v1::UpdateServiceRequest {
        request: request(1),
        reference: "web".into(),
        spec: Some(spec("web", "b")),
        ..Default::default()
    };
    let back = v1::RollBackServiceRequest {
        request: request(2),
        reference: "web".into(),
        ..Default::default()
    };
    let updated = client.control().update_service(update.clone()).await.unwrap().into_inner();
    let again = client.control().update_service(update.clone()).await.unwrap().into_inner();
    assert_eq!(again, updated);
    let returned = client.control().roll_back_service(back.clone()).await.unwrap().into_inner();
    let again = client.control().roll_back_service(back.clone()).await.unwrap().into_inner();
    assert_eq!(again, returned);
    // The service goes, and what it referred to.
    client.remove_service("web").await.unwrap();
    client.remove_object(Kind::Secret, "b").await.unwrap();
    let done_then = [
        client.control().update_service(update).await.unwrap_err(),
        client.control().roll_back_service(back).await.unwrap_err(),
    ];
    for refused in done_then {
        let refusal = refusal(&refused).unwrap();
        assert_eq!(refusal.kind, RefusalKind::Conflict, "{}", refusal.message);
        assert!(refusal.message.contains("gone since"), "{}", refusal.message);
    }
    manager.stop().await;
}

#[tokio::test]
async fn a_services_references_are_found_by_what_was_typed() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    create(&client, Kind::Secret, "db-password", CANARY).await;
    service(&client, "web", "DB-password").await;
    let made = client.service("web").await.unwrap();
    let reference = &made.spec.task.references[0];
    assert_eq!(reference.name.as_str(), "db-password");
    assert_eq!(reference.target.as_str(), "/run/secrets/db-password");

    let missing = refused(client.create_service(spec("api", "nothing")).await);
    assert_eq!(missing.message, "secret not found: nothing");
    let in_use = refused(client.remove_object(Kind::Secret, "db-password").await);
    assert_eq!(in_use.message, "secret 'db-password' is in use by the following service: web");
    let mut bad = spec("bad", "db-password");
    bad.task.as_mut().unwrap().references[0].target = "/proc/x".into();
    let refusal = refused(client.create_service(bad).await);
    assert!(refusal.message.starts_with("spec.task.references[0].target: "), "{refusal:?}");
    assert_eq!(
        refused(client.create_service(spec("a.b", "")).await).message,
        "name must be valid as a DNS name component"
    );

    let listed = client.list_services(&Filters::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].running, listed[0].desired), (0, 1));
    client.remove_service("web").await.unwrap();
    client.remove_object(Kind::Secret, "db-password").await.unwrap();
    manager.stop().await;
}

#[tokio::test]
async fn an_update_of_what_somebody_changed_is_refused() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    service(&client, "web", "").await;
    let seen = client.service("web").await.unwrap();
    let mut next = v1::ServiceSpec::from(&seen.spec);
    next.labels.insert("a".into(), "b".into());
    let updated = client.update_service("web", Some(seen.meta.index), next.clone()).await.unwrap();
    assert_eq!(updated.previous.as_ref(), Some(&seen.spec));
    next.labels.clear();
    let stale = client.update_service("web", Some(seen.meta.index), next).await;
    assert_eq!(refused(stale).kind, RefusalKind::Conflict);
    let back = client.roll_back_service("web", None).await.unwrap();
    assert_eq!(back.spec, seen.spec);
    manager.stop().await;
}

#[tokio::test]
async fn a_watch_shows_everything_first_then_each_change_then_the_end() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let id = service(&client, "web", "").await;
    let first = manager.assigned(id).await;
    let mut watch = client.watch_service("web").await.unwrap();
    let seen = watch.next().await.unwrap().unwrap();
    assert_eq!(seen.service.as_ref().unwrap().id, id);
    assert_eq!(seen.tasks[&first].status.state, TaskState::Assigned);

    manager.reached(first, TaskState::Running).await;
    loop {
        let seen = watch.next().await.unwrap().unwrap();
        if seen.tasks[&first].status.state == TaskState::Running {
            break;
        }
    }
    // What is not the service's own is not shown.
    let other = service(&client, "other", "").await;
    manager.task(other).await;
    let second = manager.task(id).await;
    loop {
        let seen = watch.next().await.unwrap().unwrap();
        assert!(seen.tasks.values().all(|task| task.service == id));
        if seen.tasks.contains_key(&second) {
            break;
        }
    }
    client.remove_service("web").await.unwrap();
    while watch.next().await.unwrap().is_some() {}
    manager.stop().await;
}

#[tokio::test]
async fn nodes_and_the_cluster_are_shown_without_keys() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let node = client.node("self").await.unwrap();
    assert_eq!(node.node.id, manager.node);
    assert!(node.leader && node.this);
    let nodes = client.list_nodes(&Filters::default()).await.unwrap();
    assert_eq!(nodes, [node]);
    let cluster = client.cluster().await.unwrap();
    assert!(!cluster.ca_certificate.is_empty());
    let tasks = client.list_tasks(&Filters::default()).await.unwrap();
    assert_eq!(tasks, []);
    manager.stop().await;
}

#[tokio::test]
async fn who_does_not_come_over_the_socket_is_refused() {
    use v1::control_server::Control as _;
    let manager = Manager::start().await;
    let call = manager.control.get_cluster(Request::new(v1::GetClusterRequest {}));
    assert_eq!(call.await.unwrap_err().code(), tonic::Code::PermissionDenied);
    manager.stop().await;
}
