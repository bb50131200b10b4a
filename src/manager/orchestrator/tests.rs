//! What should be true of services, whatever happens to their tasks and nodes.

use super::world::{World, node_id, spec};
use crate::model::{
    Labels,
    command::Command,
    node::{Availability, NodeState, Role},
    service::{
        FailureAction, Mode, RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder,
        UpdateState,
    },
    task::TaskState,
};
use std::{collections::BTreeSet, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn slots(world: &World, id: crate::kit::id::ServiceId) -> Vec<u64> {
    world.running(id).iter().map(|task| task.slot).collect()
}

#[test]
fn a_service_gets_its_replicas_on_distinct_nodes() {
    let mut world = World::new(3);
    let web = world.create(spec("web", 3));
    world.settle();
    assert_eq!(slots(&world, web), [1, 2, 3]);
    let nodes: BTreeSet<_> = world.running(web).iter().map(|task| task.node).collect();
    assert_eq!(nodes.len(), 3);
}

#[test]
fn scaling_up_fills_the_lowest_numbers_and_scaling_down_keeps_the_spread() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 2));
    world.settle();
    world.update(web, |spec| spec.mode = Mode::Replicated { replicas: 5 });
    world.settle();
    assert_eq!(slots(&world, web), [1, 2, 3, 4, 5]);
    world.update(web, |spec| spec.mode = Mode::Replicated { replicas: 2 });
    world.settle();
    assert_eq!(slots(&world, web), [1, 2]);
    let nodes: BTreeSet<_> = world.running(web).iter().map(|task| task.node).collect();
    assert_eq!(nodes.len(), 2);
    assert_eq!(world.history(web).len(), 2, "what was scaled away leaves no history");
    assert_eq!(world.service(web).update, None, "scaling is not an update");
}

#[test]
fn a_service_scaled_to_nothing_has_nothing() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 3));
    world.settle();
    world.update(web, |spec| spec.mode = Mode::Replicated { replicas: 0 });
    world.settle();
    assert_eq!(world.history(web).len(), 0);
}

#[test]
fn a_failed_task_is_followed_in_its_slot_after_the_delay() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 2));
    world.settle();
    let failed = world.running(web)[1].clone();
    world.end(&failed, TaskState::Failed);
    world.settle();
    assert_eq!(slots(&world, web), [1], "the delay has not passed");
    world.advance(4 * SECOND);
    assert_eq!(slots(&world, web), [1]);
    world.advance(2 * SECOND);
    assert_eq!(slots(&world, web), [1, 2]);
    assert_ne!(world.running(web)[1].id, failed.id);
}

#[test]
fn a_task_that_cannot_be_made_is_not_followed_before_the_delay() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 1));
    world.settle();
    let rejected = world.running(web)[0].clone();
    world.end(&rejected, TaskState::Rejected);
    world.settle();
    assert_eq!(world.history(web).len(), 1);
    world.advance(4 * SECOND);
    assert_eq!(world.history(web).len(), 1);
    world.advance(2 * SECOND);
    assert_eq!(world.history(web).len(), 2);
}

#[test]
fn a_policy_that_is_satisfied_leaves_the_slot_as_it_is() {
    let mut world = World::new(1);
    let mut job = spec("job", 1);
    job.task.restart.condition = RestartCondition::OnFailure;
    let job = world.create(job);
    world.settle();
    let task = world.running(job)[0].clone();
    world.end(&task, TaskState::Complete);
    world.advance(60 * SECOND);
    assert_eq!(world.history(job).len(), 1);
    assert_eq!(world.history(job)[0].status.state, TaskState::Complete);

    let mut once = spec("once", 1);
    once.task.restart.condition = RestartCondition::None;
    let once = world.create(once);
    world.settle();
    let task = world.running(once)[0].clone();
    world.end(&task, TaskState::Failed);
    world.advance(60 * SECOND);
    assert_eq!(world.history(once).len(), 1);
}

#[test]
fn attempts_run_out_and_stay_run_out() {
    let mut world = World::new(1);
    let mut bad = spec("bad", 1);
    bad.task.container.image = "broken".into();
    bad.task.restart = RestartPolicy {
        condition: RestartCondition::Any,
        delay: SECOND,
        max_attempts: 3,
        window: Duration::from_secs(100),
    };
    world.failing = Some("broken");
    let bad = world.create(bad);
    world.advance(20 * SECOND);
    assert_eq!(world.history(bad).len(), 4, "the first one and three attempts");
    world.advance(1000 * SECOND);
    assert_eq!(world.history(bad).len(), 4, "the window moving on revives nobody");
    // A changed spec counts anew.
    world.update(bad, |spec| spec.task.container.image = "mended".into());
    world.advance(10 * SECOND);
    assert_eq!(world.running(bad).len(), 1);
}

#[test]
fn history_is_kept_up_to_its_limit() {
    let mut world = World::new(1);
    let mut bad = spec("bad", 2);
    bad.task.container.image = "broken".into();
    world.failing = Some("broken");
    let bad = world.create(bad);
    world.advance(100 * SECOND);
    for slot in [1, 2] {
        let count = world.history(bad).iter().filter(|task| task.slot == slot).count();
        assert_eq!(count, 5);
    }
}

#[test]
fn a_removed_service_leaves_nothing_once_its_tasks_have_stopped() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 2));
    world.settle();
    world.stubborn = true;
    world.apply(Command::RemoveService { id: web });
    world.settle();
    assert_eq!(world.running(web).len(), 2, "they are still stopping");
    world.stubborn = false;
    world.settle();
    assert_eq!(world.history(web).len(), 0);
}

#[test]
fn tasks_of_a_drained_node_move_at_once_and_do_not_come_back() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 4));
    world.settle();
    world.set_node(1, Availability::Drain, Labels::new());
    world.settle();
    assert_eq!(slots(&world, web), [1, 2, 3, 4]);
    assert!(world.running(web).iter().all(|task| task.node == Some(node_id(2))));
    world.set_node(1, Availability::Active, Labels::new());
    world.settle();
    assert!(world.running(web).iter().all(|task| task.node == Some(node_id(2))));
}

#[test]
fn tasks_of_a_node_that_is_down_are_replaced_and_given_up_after_a_day() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 2));
    world.settle();
    world.node_state(1, NodeState::Down);
    world.settle();
    let alive = |world: &World| {
        let on = |task: &&std::sync::Arc<crate::model::task::Task>| task.node == Some(node_id(2));
        world.running(web).iter().filter(on).count()
    };
    assert_eq!(alive(&world), 2);
    world.advance(23 * 3600 * SECOND);
    let lost = world.history(web).iter().filter(|task| task.holds_payloads()).count();
    assert_eq!(lost, 3, "nobody knows yet what became of it");
    world.advance(3700 * SECOND);
    assert!(
        world.history(web).iter().any(|task| task.status.state == TaskState::Orphaned),
        "after a day nobody will"
    );
}

#[test]
fn a_node_without_a_runtime_gets_nothing_new_and_loses_its_tasks_after_the_grace() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 2));
    world.settle();
    let on = |world: &World, n: u8| {
        let alive = |task: &&std::sync::Arc<crate::model::task::Task>| {
            task.node == Some(node_id(n)) && task.desired <= TaskState::Running
        };
        world.history(web).iter().filter(alive).count()
    };
    world.runtime_works(1, false);
    world.update(web, |spec| spec.mode = Mode::Replicated { replicas: 4 });
    world.settle();
    assert_eq!((on(&world, 1), on(&world, 2)), (1, 3), "nothing new, and nothing lost yet");
    world.advance(14 * SECOND);
    world.runtime_works(1, true);
    world.advance(60 * SECOND);
    assert_eq!(
        (on(&world, 1), on(&world, 2)),
        (1, 3),
        "a short restart of the engine moves nothing"
    );
    world.runtime_works(1, false);
    world.advance(10 * SECOND);
    // Another reason for the same failure does not begin the grace anew.
    world.runtime_works(1, false);
    world.advance(6 * SECOND);
    assert_eq!((on(&world, 1), on(&world, 2)), (0, 4));
    let held = world.state.tasks_on(node_id(1)).filter(|task| task.holds_payloads()).count();
    assert_eq!(held, 1, "what was replaced may still have its secrets");
    world.runtime_works(1, true);
    world.settle();
    let held = world.state.tasks_on(node_id(1)).filter(|task| task.holds_payloads()).count();
    assert_eq!((held, on(&world, 1), on(&world, 2)), (0, 0, 4), "stopped once it can be");
}

#[test]
fn tasks_of_a_removed_node_are_replaced_elsewhere() {
    let mut world = World::new(3);
    let web = world.create(spec("web", 3));
    let mut agent = spec("agent", 0);
    agent.mode = Mode::Global;
    let agent = world.create(agent);
    world.settle();
    let gone = node_id(3);
    world.apply(Command::SetRole { id: gone, index: None, role: Role::Worker });
    world.apply(Command::RetireManager { id: gone, raft_id: 3 });
    world.apply(Command::RemoveNode { id: gone, force: true });
    world.settle();
    assert_eq!(slots(&world, web), [1, 2, 3]);
    assert!(world.running(web).iter().all(|task| task.node != Some(gone)));
    assert_eq!(world.running(agent).len(), 2);
    let kept = world.state.tasks_on(gone).filter(|task| task.holds_payloads()).count();
    assert_eq!(kept, 0, "nobody waits for what is there still");
}

#[test]
fn a_node_that_comes_back_gets_new_tasks_only() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 4));
    world.settle();
    world.node_state(1, NodeState::Down);
    world.settle();
    world.node_state(1, NodeState::Ready);
    world.settle();
    let on = |world: &World, n: u8| {
        world.running(web).iter().filter(|task| task.node == Some(node_id(n))).count()
    };
    assert_eq!((on(&world, 1), on(&world, 2)), (0, 4));
    world.update(web, |spec| spec.mode = Mode::Replicated { replicas: 6 });
    world.settle();
    assert_eq!((on(&world, 1), on(&world, 2)), (2, 4));
}

#[test]
fn tasks_follow_the_role_of_their_node() {
    let mut world = World::new(3);
    let mut web = spec("web", 2);
    web.task.placement.constraints = vec!["node.role == manager".parse().unwrap()];
    let web = world.create(web);
    world.settle();
    for n in [1, 2] {
        world.apply(Command::SetRole { id: node_id(n), index: None, role: Role::Worker });
        world.apply(Command::RetireManager { id: node_id(n), raft_id: n.into() });
    }
    world.settle();
    assert_eq!(slots(&world, web), [1, 2]);
    assert!(world.running(web).iter().all(|task| task.node == Some(node_id(3))));
}

#[test]
fn a_node_out_of_sight_keeps_its_tasks() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 2));
    world.settle();
    world.node_state(1, NodeState::Disconnected);
    world.advance(3600 * SECOND);
    world.node_state(1, NodeState::Unknown);
    world.advance(3600 * SECOND);
    assert_eq!(world.history(web).len(), 2);
}

#[test]
fn a_global_service_follows_the_nodes() {
    let mut world = World::new(3);
    let mut agent = spec("agent", 0);
    agent.mode = Mode::Global;
    agent.task.placement.constraints = vec!["node.labels.zone != b".parse().unwrap()];
    world.set_node(3, Availability::Active, Labels::from([("zone".into(), "b".into())]));
    let agent = world.create(agent);
    world.settle();
    let on = |world: &World| -> BTreeSet<_> {
        world.running(agent).iter().map(|task| task.node.unwrap()).collect()
    };
    assert_eq!(on(&world), BTreeSet::from([node_id(1), node_id(2)]));
    world.set_node(1, Availability::Drain, Labels::new());
    world.set_node(3, Availability::Active, Labels::new());
    world.settle();
    assert_eq!(on(&world), BTreeSet::from([node_id(2), node_id(3)]));
    world.set_node(1, Availability::Active, Labels::new());
    world.settle();
    assert_eq!(on(&world).len(), 3);
    // On a paused node nothing is put in place of what ends.
    world.set_node(2, Availability::Pause, Labels::new());
    let task = world.running(agent).iter().find(|t| t.node == Some(node_id(2))).unwrap().clone();
    world.end(&task, TaskState::Failed);
    world.advance(60 * SECOND);
    assert_eq!(on(&world), BTreeSet::from([node_id(1), node_id(3)]));
}

#[test]
fn the_same_spec_again_restarts_nothing() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 2));
    world.settle();
    let before = world.state.clone();
    world.update(web, |_| {});
    world.settle();
    assert_eq!(world.state, before);
    world.update(web, |spec| {
        spec.labels.insert("a".into(), "b".into());
        spec.update = Some(UpdateConfig { parallelism: 7, ..UpdateConfig::default() });
    });
    world.settle();
    let ids = |state: &crate::store::State| -> Vec<_> { state.tasks().map(|t| t.id).collect() };
    assert_eq!(ids(&world.state), ids(&before));
    assert_eq!(world.service(web).update, None);
}

#[test]
fn new_constraints_restart_only_what_they_exclude() {
    let mut world = World::new(2);
    let web = world.create(spec("web", 2));
    world.settle();
    let stays = world.running(web).iter().find(|t| t.node == Some(node_id(1))).unwrap().id;
    world.update(web, |spec| {
        spec.task.placement.constraints = vec!["node.hostname == n1".parse().unwrap()];
    });
    world.settle();
    assert!(world.running(web).iter().any(|task| task.id == stays));
    assert!(world.running(web).iter().all(|task| task.node == Some(node_id(1))));
    assert_eq!(world.running(web).len(), 2);
}

#[test]
fn an_update_replaces_one_after_the_other_and_stops_first() {
    let mut world = World::new(1);
    let mut web = spec("web", 3);
    web.update = Some(UpdateConfig { delay: 10 * SECOND, ..UpdateConfig::default() });
    let web = world.create(web);
    world.settle();
    world.update(web, |spec| spec.task.container.image = "new".into());
    world.stubborn = true;
    world.settle();
    let status = world.service(web).update.clone().unwrap();
    assert_eq!(status.state, UpdateState::Updating);
    assert_eq!(status.message, "update in progress");
    let fresh = |world: &World| {
        world.running(web).iter().filter(|t| t.spec.container.image == "new").count()
    };
    assert_eq!(world.running(web).len(), 3, "the new one waits for the old one to stop");
    assert_eq!(fresh(&world), 0);
    world.stubborn = false;
    world.settle();
    assert_eq!((world.running(web).len(), fresh(&world)), (3, 1));
    world.advance(9 * SECOND);
    assert_eq!(fresh(&world), 1, "the next one waits for the delay");
    world.advance(2 * SECOND);
    assert_eq!(fresh(&world), 2);
    world.advance(10 * SECOND);
    assert_eq!(fresh(&world), 3);
    assert_eq!(world.service(web).update.clone().unwrap().state, UpdateState::Updating);
    world.advance(60 * SECOND);
    let status = world.service(web).update.clone().unwrap();
    assert_eq!(status.state, UpdateState::Completed);
    assert_eq!(status.message, "update completed");
}

#[test]
fn an_update_that_starts_first_never_has_fewer_than_before() {
    let mut world = World::new(1);
    let mut web = spec("web", 2);
    web.update = Some(UpdateConfig {
        order: UpdateOrder::StartFirst,
        parallelism: 0,
        ..UpdateConfig::default()
    });
    let web = world.create(web);
    world.settle();
    world.update(web, |spec| spec.task.container.image = "new".into());
    for _ in 0..10 {
        world.pass();
        assert!(world.running(web).len() >= 2);
        world.agents();
        assert!(world.running(web).len() >= 2);
    }
    assert_eq!(world.running(web).len(), 2);
    assert!(world.running(web).iter().all(|t| t.spec.container.image == "new"));
}

#[test]
fn a_failing_update_pauses_and_goes_on_only_with_a_new_spec() {
    let mut world = World::new(1);
    let mut web = spec("web", 3);
    web.update = Some(UpdateConfig { delay: 10 * SECOND, ..UpdateConfig::default() });
    let web = world.create(web);
    world.settle();
    world.failing = Some("broken");
    world.update(web, |spec| spec.task.container.image = "broken".into());
    world.advance(30 * SECOND);
    let status = world.service(web).update.clone().unwrap();
    assert_eq!(status.state, UpdateState::Paused);
    assert!(
        status.message.starts_with("update paused due to failure or early termination of task"),
        "{}",
        status.message
    );
    let old = world.running(web).iter().filter(|t| t.spec.container.image == "busybox").count();
    assert_eq!(old, 2, "the others were not touched");
    world.update(web, |spec| spec.task.container.image = "mended".into());
    world.advance(90 * SECOND);
    assert_eq!(world.service(web).update.clone().unwrap().state, UpdateState::Completed);
    assert_eq!(world.running(web).len(), 3);
    assert!(world.running(web).iter().all(|t| t.spec.container.image == "mended"));
}

#[test]
fn a_failing_update_rolls_back_if_asked_to() {
    let mut world = World::new(1);
    let mut web = spec("web", 3);
    web.update = Some(UpdateConfig {
        failure_action: FailureAction::Rollback,
        parallelism: 2,
        ..UpdateConfig::default()
    });
    let web = world.create(web);
    world.settle();
    world.failing = Some("broken");
    world.update(web, |spec| spec.task.container.image = "broken".into());
    world.advance(60 * SECOND);
    let service = world.service(web);
    assert_eq!(service.update.clone().unwrap().state, UpdateState::RollbackCompleted);
    assert_eq!(service.previous, None, "nothing rolls back to what failed");
    assert_eq!(world.running(web).len(), 3);
    assert!(world.running(web).iter().all(|t| t.spec.container.image == "busybox"));
}

#[test]
fn a_failing_update_that_may_go_on_goes_on() {
    let mut world = World::new(1);
    let mut web = spec("web", 2);
    web.update = Some(UpdateConfig {
        failure_action: FailureAction::Continue,
        order: UpdateOrder::StartFirst,
        ..UpdateConfig::default()
    });
    web.task.restart.delay = SECOND;
    let web = world.create(web);
    world.settle();
    world.failing = Some("broken");
    world.update(web, |spec| spec.task.container.image = "broken".into());
    world.advance(20 * SECOND);
    assert!(
        world
            .history(web)
            .iter()
            .all(|t| t.desired > TaskState::Running || t.spec.container.image == "broken")
    );
    let state = world.service(web).update.clone().unwrap().state;
    assert!(!state.is_paused(), "{state}");
}

#[test]
fn a_rollback_by_hand_goes_back_and_forth() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 2));
    world.settle();
    world.update(web, |spec| spec.task.container.image = "new".into());
    world.advance(60 * SECOND);
    world.apply(Command::RollBackService { id: web, index: None, failure: None });
    world.advance(60 * SECOND);
    assert!(world.running(web).iter().all(|t| t.spec.container.image == "busybox"));
    assert_eq!(world.service(web).update.clone().unwrap().state, UpdateState::RollbackCompleted);
    world.apply(Command::RollBackService { id: web, index: None, failure: None });
    world.advance(60 * SECOND);
    assert!(world.running(web).iter().all(|t| t.spec.container.image == "new"));
}

#[test]
fn a_task_that_was_made_twice_is_taken_away_again() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 1));
    // Two leaders that did not see each other's decision.
    let before = world.state.clone();
    world.pass();
    let first = world.last.commands.clone();
    world.state = before;
    world.pass();
    for command in first {
        world.apply(command);
    }
    assert_eq!(world.history(web).len(), 2);
    world.settle();
    assert_eq!(world.running(web).len(), 1);
}

#[test]
fn a_stopping_predecessor_is_waited_for_but_not_for_ever() {
    let mut world = World::new(1);
    let web = world.create(spec("web", 1));
    world.settle();
    world.stubborn = true;
    world.update(web, |spec| spec.task.container.image = "new".into());
    world.advance(59 * SECOND);
    assert_eq!(world.running(web).len(), 1);
    world.advance(2 * SECOND);
    assert_eq!(world.running(web).len(), 2);
}
