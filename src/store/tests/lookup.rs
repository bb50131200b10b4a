//! Full id, then name, then the beginning of an id.

use super::*;
use crate::model::cluster::Token;

#[test]
fn an_id_is_stronger_than_a_name_and_a_name_than_a_prefix() {
    let mut store = Store::new();
    store.done(secret(1, "db"));
    let id = object_id(1).to_string();
    // A name that is another's id, and one that is the beginning of another's id.
    store.done(secret(2, &id));
    store.done(secret(3, &id[..4]));
    let found = |text: &str| store.state.secret(text).map(|object| object.id);
    assert_eq!(found(&id), Ok(object_id(1)));
    assert_eq!(found(&id[..4]), Ok(object_id(3)));
    assert_eq!(found(&id[..5]), Ok(object_id(1)));
    assert_eq!(found("DB"), Ok(object_id(1)));
}

#[test]
fn nothing_and_too_much_are_told_apart() {
    let mut store = Store::new();
    let id = |last: u8| {
        let mut bytes = [7; 17];
        bytes[16] = last;
        ObjectId::from_random(bytes)
    };
    for last in [1, 2] {
        store.done(Command::CreateObject {
            kind: Kind::Config,
            id: id(last),
            name: format!("c{last}").parse().unwrap(),
            labels: Labels::new(),
            size: 1,
            sealed: sealed(),
        });
    }
    let prefix = &id(1).to_string()[..6];
    let text = |found: Result<
        &Arc<crate::model::object::Object>,
        crate::model::refusal::Refusal,
    >| { found.unwrap_err().to_string() };
    assert_eq!(
        text(store.state.config(prefix)),
        format!("config {prefix} is ambiguous (2 matches found)")
    );
    assert_eq!(text(store.state.secret(prefix)), format!("secret {prefix} not found"));
    assert_eq!(text(store.state.config("")), "config  not found");
    for odd in ["zz", "é", "a/b", &"0".repeat(99)] {
        assert_eq!(text(store.state.config(odd)), format!("config {odd} not found"));
    }
}

#[test]
fn tasks_nodes_and_services_are_found_the_same_way() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    store.place(1, 1);
    let name = store.task(1).name();
    assert!(name.starts_with("web.1."));
    for text in
        [name.as_str(), &name.to_uppercase(), task_id(1).as_str(), &task_id(1).as_str()[..3]]
    {
        assert_eq!(store.state.task(text).unwrap().id, task_id(1), "{text}");
    }
    store.state.task("web.1").unwrap_err();
    for text in ["WEB", service_id(1).as_str(), &service_id(1).as_str()[..3]] {
        assert_eq!(store.state.service(text).unwrap().id, service_id(1), "{text}");
    }
    for text in ["N1", node_id(1).as_str(), &node_id(1).as_str()[..3]] {
        assert_eq!(store.state.node(text).unwrap().id, node_id(1), "{text}");
    }
}

#[test]
fn a_namesake_that_is_gone_hides_nobody_and_is_hit_by_no_slip() {
    let mut store = Store::founded();
    let token = Token {
        hash: [1; 32],
        role: Role::Worker,
        created_at: Timestamp(0),
        expires_at: None,
        uses_left: None,
    };
    store.done(Command::AddToken { token, revoke: false });
    for n in [2, 3, 4] {
        let namesake = Node {
            role: Role::Worker,
            description: NodeDescription { hostname: "web".into(), ..Default::default() },
            ..node(n)
        };
        store.done(Command::JoinNode { token: [1; 32], node: Box::new(namesake) });
    }
    let refused = store.state.node("web").unwrap_err();
    assert_eq!(refused.to_string(), "node web is ambiguous (3 matches found)");
    let hint = refused.hint.unwrap();
    assert!((2..=4).all(|n| hint.contains(&format!("{} (ready)", node_id(n)))), "{hint}");

    store.done(Command::LeaveNode { id: node_id(2), wiped: false });
    let status = NodeStatus { state: NodeState::Down, ..node(3).status };
    store.done(Command::ReportNode { id: node_id(3), description: None, status, held_by: None });
    // Whoever looks means the one that is there.
    assert_eq!(store.state.node("WEB").unwrap().id, node_id(4));
    // Whoever changes something may mean the one that is down, not the one that has left.
    let hint = store.state.node_to_change("web").unwrap_err().hint.unwrap();
    assert!(hint.contains(&format!("{} (down)", node_id(3))), "{hint}");
    assert!(!hint.contains(node_id(2).as_str()), "{hint}");
    // Whoever removes one may mean either.
    let hint = store.state.node_to_remove("web").unwrap_err().hint.unwrap();
    assert!(hint.contains(&format!("{} (left)", node_id(2))), "{hint}");
    for n in [3, 4] {
        store.done(Command::RemoveNode { id: node_id(n), force: true });
    }
    assert_eq!(store.state.node("web").unwrap().id, node_id(2), "nobody else has the name");
    assert_eq!(store.state.node_to_remove("web").unwrap().id, node_id(2));
    store.done(Command::LeaveNode { id: node_id(2), wiped: true });
    store.state.node("web").unwrap_err();
}
