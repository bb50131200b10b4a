//! Filters: names and ids add up, everything else narrows.

use super::*;
use crate::model::filter::Filters;

fn filled() -> Store {
    let mut store = Store::founded();
    for (n, name, label) in [(1, "app-a", "x"), (2, "app-b", "y"), (3, "other", "x")] {
        store.done(secret(n, name));
        store.done(Command::SetObjectLabels {
            kind: Kind::Secret,
            id: object_id(n),
            index: None,
            labels: Labels::from([("k".into(), label.into())]),
        });
    }
    store
}

fn names(store: &Store, filters: Filters) -> Vec<String> {
    let found = store.state.list_objects(Kind::Secret, &filters).unwrap();
    found.iter().map(|object| object.name.to_string()).collect()
}

#[test]
fn names_are_prefixes_and_add_to_ids() {
    let store = filled();
    assert_eq!(names(&store, Filters::default()), ["app-a", "app-b", "other"]);
    assert_eq!(names(&store, Filters::default().with("name", "app")), ["app-a", "app-b"]);
    assert_eq!(names(&store, Filters::default().with("names", "app")), [""; 0]);
    let id = object_id(3).to_string();
    let both = Filters::default().with("name", "app-a").with("id", &id[..9]);
    assert_eq!(names(&store, both), ["app-a", "other"]);
}

#[test]
fn labels_narrow() {
    let store = filled();
    assert_eq!(names(&store, Filters::default().with("label", "k")).len(), 3);
    assert_eq!(names(&store, Filters::default().with("label", "k=x")), ["app-a", "other"]);
    let both = Filters::default().with("label", "k=x").with("name", "app");
    assert_eq!(names(&store, both), ["app-a"]);
    assert_eq!(names(&store, Filters::default().with("label", "z")), [""; 0]);
}

#[test]
fn unknown_keys_and_values_are_refused() {
    let store = filled();
    let text = |filters: &Filters| store.state.list_tasks(filters).unwrap_err().to_string();
    let odd = Filters::default().with("colour", "red");
    assert_eq!(text(&odd), "invalid filter 'colour'");
    assert_eq!(
        store.state.list_objects(Kind::Config, &odd).unwrap_err().to_string(),
        "invalid filter 'colour'"
    );
    let odd = Filters::default().with("desired-state", "dancing");
    assert_eq!(text(&odd), "invalid desired-state filter: 'dancing'");
    let odd = Filters::default().with("role", "king");
    assert_eq!(
        store.state.list_nodes(&odd).unwrap_err().to_string(),
        "invalid role filter: 'king'"
    );
}

#[test]
fn tasks_are_found_by_service_node_desire_and_freshness() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    store.place(1, 1);
    store.report(1, TaskState::Running);
    let mut new = spec("web", vec![]);
    new.task.force_update = 1;
    store.done(update(1, None, new));
    store.change(TaskChange::Desire { id: task_id(1), desired: TaskState::Shutdown });
    store.place(2, 1);
    let found = |key: &str, value: &str| -> Vec<_> {
        let filters = Filters::default().with(key, value);
        store.state.list_tasks(&filters).unwrap().iter().map(|task| task.id).collect()
    };
    assert_eq!(found("service", "web"), [task_id(2), task_id(1)], "the newest first");
    assert_eq!(found("service", "we"), []);
    assert_eq!(found("node", "n1").len(), 2);
    assert_eq!(found("node", "n2"), []);
    assert_eq!(found("desired-state", "running"), [task_id(2)]);
    assert_eq!(found("desired-state", "shutdown"), [task_id(1)]);
    assert_eq!(found("up-to-date", "true"), [task_id(2)]);
    assert_eq!(found("name", "web.1").len(), 2);
    assert_eq!(found("id", task_id(1).as_str()), [task_id(1)]);
}

#[test]
fn the_tasks_of_a_slot_go_from_new_to_old_on_whatever_nodes_they_were() {
    for (old, new) in [(1, 2), (2, 1)] {
        let mut store = Store::founded();
        store.done(service(1, spec("web", vec![])));
        for (n, node) in [(1, old), (2, new)] {
            let index = store.state.service_by_id(service_id(1)).unwrap().spec_index;
            store.change(TaskChange::Create(Box::new(task(n, 1, index))));
            store.change(TaskChange::Assign { id: task_id(n), node: node_id(node) });
        }
        let listed = store.state.list_tasks(&Filters::default()).unwrap();
        let ids: Vec<_> = listed.iter().map(|task| task.id).collect();
        assert_eq!(ids, [task_id(2), task_id(1)]);
    }
}

#[test]
fn nodes_and_services_have_their_own_keys() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    let services = |key: &str, value: &str| {
        store.state.list_services(&Filters::default().with(key, value)).unwrap().len()
    };
    assert_eq!((services("mode", "replicated"), services("mode", "global")), (1, 0));
    let nodes = |key: &str, value: &str| {
        store.state.list_nodes(&Filters::default().with(key, value)).unwrap().len()
    };
    assert_eq!((nodes("role", "manager"), nodes("role", "worker")), (1, 0));
    assert_eq!((nodes("membership", "accepted"), nodes("membership", "pending")), (1, 0));
    assert_eq!(nodes("node.label", "zone"), 0);
}
