//! The secrets and configs of a stack: finds those that must be there, makes those that should be.

use crate::{
    client::{Client, ClientError},
    compose::{Environment, ObjectPlan, Project, Source},
    crypto::plaintext::Plaintext,
    ctl::{
        exit::{Code, Failure},
        input, output,
    },
    kit::{id::ObjectId, name::ObjectName},
    model::{
        object::{Kind, Object, check_size},
        refusal::RefusalKind,
        service::STACK_LABEL,
    },
};
use std::collections::BTreeMap;

/// Objects by kind and the form of the name that is unique.
pub(super) type Found = BTreeMap<(Kind, String), Object>;

/// An object to be there, with its payload, read before anything is changed.
pub(super) struct Wanted<'p> {
    plan: &'p ObjectPlan,
    payload: Plaintext,
}

/// Looks up every object that the project names.
///
/// # Errors
/// A failed call.
pub(super) async fn find(client: &Client, project: &Project) -> Result<Found, ClientError> {
    let mut found = Found::new();
    for ObjectPlan { kind, name, .. } in &project.objects {
        match client.object(*kind, name.as_str()).await {
            // The daemon also takes ids and their beginnings, which is not what a document means.
            Ok(object) if object.name.folded() == name.folded() => {
                found.insert((*kind, object.name.folded()), object);
            }
            Ok(_) => {}
            Err(ClientError::Refused(refusal))
                if matches!(refusal.kind, RefusalKind::NotFound | RefusalKind::Invalid) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Checks that every external object in use is there.
///
/// # Errors
/// Names each service with the object it misses.
pub(super) fn check_externals(project: &Project, found: &Found) -> Result<(), Failure> {
    let missing: Vec<_> = project
        .externals()
        .filter(|(plan, _)| !found.contains_key(&(plan.kind, plan.name.folded())))
        .collect();
    let Some((first, _)) = missing.first() else { return Ok(()) };
    let command = match first.kind {
        Kind::Secret => "create",
        Kind::Config => "config create",
    };
    let hint = format!("create it first: secretctl {command} {} FILE", first.name);
    let texts: Vec<_> = missing
        .iter()
        .map(|(plan, service)| format!("service {service}: {} not found: {}", plan.kind, plan.name))
        .collect();
    Err(Failure::new(Code::NotFound, texts.join("; ")).hint(hint))
}

/// Reads the payloads of all objects that the stack brings along.
///
/// # Errors
/// A file that cannot be read, a variable that is not set, an empty or oversized payload.
pub(super) fn read<'p>(
    project: &'p Project,
    env: &Environment,
) -> Result<Vec<Wanted<'p>>, Failure> {
    let mut wanted = Vec::new();
    for plan in &project.objects {
        let payload = match &plan.source {
            Source::External => continue,
            Source::File(path) => input::payload(plan.kind, Some(path), false),
            Source::Environment(name) => match env.get(name) {
                Some(value) => sized(plan.kind, value),
                None => Err(Failure::refused(format!("the variable {name} is not set"))
                    .hint(format!("set {name} in the environment or in the file .env"))),
            },
            Source::Content(text) => sized(plan.kind, text),
        };
        let payload = payload.map_err(|failure| failure.doing(&plan.place))?;
        wanted.push(Wanted { plan, payload });
    }
    Ok(wanted)
}

fn sized(kind: Kind, text: &str) -> Result<Plaintext, Failure> {
    check_size(kind, text.len()).map_err(|bad| Failure::refused(bad.to_string()))?;
    Ok(Plaintext::new(text.as_bytes().to_vec()))
}

/// Makes the objects that are not there and checks that the others have the same payload; those first, so that a
/// difference is found before anything is made.
///
/// # Errors
/// A payload differs from the stored one, or a failed call.
pub(super) async fn ensure(
    client: &Client,
    wanted: Vec<Wanted<'_>>,
    found: &mut Found,
) -> Result<(), Failure> {
    let key = |plan: &ObjectPlan| (plan.kind, plan.name.folded());
    let (there, new): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|wanted| found.contains_key(&key(wanted.plan)));
    for Wanted { plan, payload } in there.into_iter().chain(new) {
        let ObjectPlan { kind, key: _, name, source: _, labels, place } = plan;
        let before = found.get(&key(plan));
        if before.is_none() {
            output::line(format_args!("Creating {kind} {name}"))?;
        }
        let ensured = client.ensure_object(*kind, name.as_str(), labels.clone(), payload).await;
        let ensured = match ensured {
            Ok(ensured) => ensured,
            Err(ClientError::Refused(refusal)) if refusal.kind == RefusalKind::Exists => {
                return Err(differs(plan));
            }
            Err(error) => {
                return Err(crate::ctl::connect::explain(client, error).await.doing(place));
            }
        };
        let mut object = match before {
            Some(before) if before.id == ensured.id => before.clone(),
            _ => client.object(*kind, &ensured.id.to_string()).await?,
        };
        // What another stack or a person made keeps the labels they gave it.
        let ours = object.labels.get(STACK_LABEL) == labels.get(STACK_LABEL);
        if ensured.existed && ours && object.labels != *labels {
            output::line(format_args!("Updating the labels of {kind} {name}"))?;
            let (id, index) = (object.id.to_string(), Some(object.meta.index));
            object = client.set_object_labels(*kind, &id, index, labels.clone()).await?;
        }
        found.insert(key(plan), object);
    }
    Ok(())
}

fn differs(plan: &ObjectPlan) -> Failure {
    let (kind, name) = (plan.kind, &plan.name);
    let command = match kind {
        Kind::Secret => "rm",
        Kind::Config => "config rm",
    };
    Failure::new(Code::Exists, format!("{kind} {name} already exists with other content"))
        .doing(&plan.place)
        .hint(format!(
            "content cannot be changed yet: give the new {kind} another key or name: in the file, or remove the old one first with: secretctl {command} {name}"
        ))
}

/// What `Project::to_specs` asks.
pub(super) fn lookup(
    found: &Found,
    kind: Kind,
    name: &ObjectName,
) -> Option<(ObjectId, ObjectName)> {
    found.get(&(kind, name.folded())).map(|object| (object.id, object.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compose::{self, File, FileError, Files},
        model::{
            Labels, Meta,
            object::{Version, VersionNumber},
        },
    };

    struct NoDisk;

    impl Files for NoDisk {
        fn read(&self, _path: &str) -> Result<Vec<u8>, FileError> {
            Err(FileError::NotFound)
        }
    }

    fn project(text: &str) -> Project {
        let file = File { path: "compose.yaml".into(), bytes: text.as_bytes().to_vec() };
        let document = compose::load(&[file], "/w", &Environment::default(), &NoDisk).unwrap();
        document.project(&"st".parse().unwrap()).unwrap()
    }

    fn object(kind: Kind, name: &str) -> Object {
        let version = Version {
            number: VersionNumber::FIRST,
            created_at: Meta::default().created_at,
            size: 1,
            term: 1,
        };
        Object {
            kind,
            id: ObjectId::random(),
            name: name.parse().unwrap(),
            labels: Labels::new(),
            meta: Meta::default(),
            versions: vec![version],
        }
    }

    const EXTERNALS: &str = "
services:
  a: {image: i, secrets: [s], configs: [c]}
  b: {image: i, secrets: [s]}
secrets: {s: {external: true, name: Pass-Word}, unused: {external: true}}
configs: {c: {external: true}}
";

    #[test]
    fn each_missing_external_object_is_named_with_its_service() {
        let failure = check_externals(&project(EXTERNALS), &Found::new()).unwrap_err();
        assert_eq!(failure.code, Code::NotFound);
        assert_eq!(
            failure.message(),
            "service a: secret not found: Pass-Word; service a: config not found: c"
        );
        assert_eq!(failure.hint_text(), Some("create it first: secretctl create Pass-Word FILE"));
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let mut found = Found::new();
        for object in [object(Kind::Secret, "pass-word"), object(Kind::Config, "c")] {
            found.insert((object.kind, object.name.folded()), object);
        }
        let project = project(EXTERNALS);
        check_externals(&project, &found).unwrap();
        let specs = project.to_specs(|kind, name| lookup(&found, kind, name)).unwrap();
        assert_eq!(specs[0].task.references.len(), 2);
        assert_eq!(specs[0].task.references[0].name.as_str(), "pass-word");
    }

    #[test]
    fn payloads_come_from_the_document_and_the_environment() {
        let text = "secrets: {s: {environment: PASS}}\nconfigs: {c: {content: hello}}\n";
        let env = Environment::new([("PASS".to_owned(), "hunter2".to_owned())]);
        let project = project(text);
        let sizes: Vec<_> =
            read(&project, &env).unwrap().into_iter().map(|wanted| wanted.payload.len()).collect();
        assert_eq!(sizes, [7, 5]);
        let failure = read(&project, &Environment::default()).map(|_| ()).unwrap_err();
        assert_eq!(failure.message(), "compose.yaml:1:11: secrets.s: the variable PASS is not set");
        let env = Environment::new([("PASS".to_owned(), String::new())]);
        let failure = read(&project, &env).map(|_| ()).unwrap_err();
        assert!(failure.message().ends_with("must be larger than 0 and less than 512000 bytes"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_place() {
        let project = project("secrets: {s: {file: none.txt}}");
        let failure = read(&project, &Environment::default()).map(|_| ()).unwrap_err();
        assert!(
            failure
                .message()
                .starts_with("compose.yaml:1:11: secrets.s: cannot read /w/none.txt: "),
            "{failure}"
        );
    }
}
