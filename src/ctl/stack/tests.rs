//! Deploys against a real manager: what is made, what is left alone, and that a refusal comes before any change.

use super::{deploy::apply, list::remove_one, objects};
use crate::{
    client::Client,
    compose::{self, Environment, File, FileError, Files, Project},
    ctl::exit::{Code, Failure},
    kit::id::ServiceId,
    manager::testing::Manager,
    model::{
        Labels,
        filter::Filters,
        object::{Kind, Object},
        service::{STACK_LABEL, Service},
    },
};

struct NoDisk;

impl Files for NoDisk {
    fn read(&self, _path: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::NotFound)
    }
}

fn project(text: &str, env: &Environment) -> Project {
    let file = File { path: "compose.yaml".into(), bytes: text.as_bytes().to_vec() };
    compose::load(&[file], "/w", env, &NoDisk).unwrap().project(&"st".parse().unwrap()).unwrap()
}

/// Deploys with `PASS` in the environment.
async fn deploy(
    client: &Client,
    text: &str,
    pass: &str,
    prune: bool,
) -> Result<Vec<(ServiceId, String)>, Failure> {
    let env = Environment::new([("PASS".to_owned(), pass.to_owned())]);
    let project = project(text, &env);
    let wanted = objects::read(&project, &env)?;
    apply(client, &project, wanted, prune).await
}

async fn objects_of(client: &Client) -> Vec<Object> {
    let mut all = client.list_objects(Kind::Secret, &Filters::default()).await.unwrap();
    all.extend(client.list_objects(Kind::Config, &Filters::default()).await.unwrap());
    all
}

async fn services_of(client: &Client) -> Vec<Service> {
    let listed = client.list_services(&Filters::default()).await.unwrap();
    listed.into_iter().map(|entry| entry.service).collect()
}

const STACK: &str = "
services:
  db:
    image: i
    secrets: [own, {source: given, target: /app/password}]
    configs: [settings]
  web: {image: i, deploy: {replicas: 2}}
secrets:
  own: {environment: PASS}
  given: {external: true, name: password}
configs:
  settings: {content: 'seats = 8'}
";

#[tokio::test]
async fn a_missing_external_object_stops_a_deploy_before_anything_is_made() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let failure = deploy(&client, STACK, "hunter2", false).await.unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
    assert_eq!(failure.message(), "service db: secret not found: password");
    assert!(objects_of(&client).await.is_empty() && services_of(&client).await.is_empty());
    manager.stop().await;
}

#[tokio::test]
async fn a_second_deploy_changes_nothing_and_a_changed_file_only_what_changed() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    // Found whatever the case of its letters, and referred to as it is spelled.
    let payload = crate::crypto::plaintext::Plaintext::new(b"given".to_vec());
    client.create_object(Kind::Secret, "PassWord", Labels::new(), payload).await.unwrap();
    deploy(&client, STACK, "hunter2", false).await.unwrap();
    let (objects, services) = (objects_of(&client).await, services_of(&client).await);
    let names: Vec<_> = objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["PassWord", "st_own", "st_settings"]);
    assert_eq!(services[0].spec.task.references[1].target.as_str(), "/app/password");

    deploy(&client, STACK, "hunter2", true).await.unwrap();
    assert_eq!(
        (objects_of(&client).await, services_of(&client).await),
        (objects.clone(), services.clone())
    );

    let changed = STACK
        .replace("replicas: 2", "replicas: 3")
        .replace("configs:\n  settings: {", "configs:\n  settings: {labels: {a: b}, ");
    deploy(&client, &changed, "hunter2", true).await.unwrap();
    let after = services_of(&client).await;
    assert_eq!(after[0], services[0]);
    assert_ne!(after[1], services[1]);
    let after = objects_of(&client).await;
    assert_eq!(after[..2], objects[..2]);
    assert_eq!((after[2].id, after[2].labels.get("a").unwrap().as_str()), (objects[2].id, "b"));
    manager.stop().await;
}

#[tokio::test]
async fn other_content_under_a_name_is_refused_before_anything_is_made() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let first =
        "secrets: {own: {environment: PASS}}\nconfigs: {settings: {content: 'seats = 8'}}\n";
    deploy(&client, first, "hunter2", false).await.unwrap();
    let before = objects_of(&client).await;
    for (text, pass, name) in [
        (
            "configs: {a: {content: new}}\nsecrets: {own: {environment: PASS}}\n",
            "hunter3",
            "secret st_own",
        ),
        (
            "configs: {a: {content: new}, settings: {content: 'seats = 9'}}\n",
            "",
            "config st_settings",
        ),
    ] {
        let failure = deploy(&client, text, pass, false).await.unwrap_err();
        assert_eq!(failure.code, Code::Exists);
        let wanted = format!("{name} already exists with other content");
        assert!(failure.message().ends_with(&wanted), "{failure}");
        assert!(!failure.to_string().contains("hunter"), "{failure}");
        assert_eq!(objects_of(&client).await, before);
    }
    manager.stop().await;
}

#[tokio::test]
async fn what_left_the_files_goes_with_prune_and_the_rest_with_the_stack() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    deploy(
        &client,
        "services: {a: {image: i}, b: {image: i}}\nconfigs: {c: {content: x}}\n",
        "",
        false,
    )
    .await
    .unwrap();
    let payload = crate::crypto::plaintext::Plaintext::new(b"x".to_vec());
    let other = Labels::from([(STACK_LABEL.to_owned(), "other".to_owned())]);
    client.create_object(Kind::Config, "kept", other, payload).await.unwrap();
    let without_b = "services: {a: {image: i}}\nconfigs: {c: {content: x}}\n";
    deploy(&client, without_b, "", false).await.unwrap();
    assert_eq!(services_of(&client).await.len(), 2);
    deploy(&client, without_b, "", true).await.unwrap();
    assert_eq!(services_of(&client).await.len(), 1);
    assert_eq!(remove_one(&client, &"st".parse().unwrap()).await.unwrap(), 2);
    let left: Vec<_> = objects_of(&client).await.into_iter().map(|o| o.name.to_string()).collect();
    assert_eq!(left, ["kept"]);
    assert!(services_of(&client).await.is_empty());
    manager.stop().await;
}
