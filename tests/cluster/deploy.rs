//! Deploys in whose middle the leader dies: what was asked for comes about, once.

use crate::{
    cluster::{CANARY, Cluster},
    world::{Said, until},
};
use std::collections::BTreeMap;

/// Three services, one with two tasks, all on workers; `ROUND` makes an update of each.
const STACK: &str = r#"
x-service: &service
  image: busybox
  command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.2; done"]
  environment: {ROUND: "@"}
  secrets: [s]
  configs: [c]
services:
  a: {<<: *service, deploy: &deploy {placement: {constraints: [node.role == worker]}, update_config: {monitor: 1s}}}
  b: {<<: *service, deploy: {<<: *deploy, replicas: 2}}
  c: {<<: *service, deploy: *deploy}
secrets: {s: {external: true}}
configs: {c: {content: hello}}
"#;

/// The running tasks of the stack by service.
fn running(cluster: &Cluster) -> BTreeMap<String, usize> {
    let format = "{{.Name}} {{.DesiredState}} {{.CurrentState}}";
    let said = cluster.ask(["stack", "ps", "--no-trunc", "--format", format, "st"]);
    let mut count = BTreeMap::new();
    for line in said.out.lines().filter(|line| line.contains(" Running Running")) {
        let name = line.split('.').next().unwrap();
        *count.entry(name.to_owned()).or_default() += 1;
    }
    count
}

/// Starts a deploy by manager `by`, kills the leader as soon as `now` holds, and gives what the deploy said.
fn deploy_and_kill(
    cluster: &mut Cluster,
    by: usize,
    round: &str,
    now: impl Fn(&Cluster) -> bool,
) -> Said {
    let file = cluster.nodes[by].file("stack.yaml", STACK.replace('@', round));
    let leader = cluster.leader();
    let said = std::thread::scope(|scope| {
        let node = &cluster.nodes[by];
        let deploy = scope.spawn(|| node.ctl(["stack", "deploy", "-q", "-c", &file, "st"]));
        until("the moment", || (deploy.is_finished() || now(cluster)).then_some(()));
        assert!(!deploy.is_finished(), "the deploy was too quick");
        cluster.signal(leader, rustix::process::Signal::KILL);
        deploy.join().unwrap()
    });
    cluster.kill(leader);
    said
}

fn until_deployed(cluster: &Cluster, round: &str) {
    let wanted = [("st_a", 1), ("st_b", 2), ("st_c", 1)];
    let wanted = BTreeMap::from(wanted.map(|(name, count)| (name.to_owned(), count)));
    until(&format!("round {round} to run"), || (running(cluster) == wanted).then_some(()));
    let said = cluster.ask(["service", "ls", "--format", "{{.Name}}"]);
    let mut names: Vec<_> = said.out.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["st_a", "st_b", "st_c"]);
    for name in names {
        let format = "{{.Spec.TaskTemplate.ContainerSpec.Env}}";
        let said = cluster.ask(["service", "inspect", "--format", format, name]);
        assert!(said.out.contains(&format!("ROUND={round}")), "{name}: {}", said.out);
    }
}

#[test]
fn a_stack_is_deployed_once_though_the_leader_dies_in_the_middle() {
    let mut cluster = Cluster::new(&[true, true, false, false]);
    cluster.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
    let count = |cluster: &Cluster| cluster.ask(["service", "ls", "-q"]).out.lines().count();

    // The first deploy, by a follower: it goes on with the next leader.
    let leader = cluster.leader();
    let follower = (0..3).find(|n| *n != leader).unwrap();
    deploy_and_kill(&mut cluster, follower, "1", |cluster| count(cluster) > 0).ok();
    until_deployed(&cluster, "1");
    cluster.start(leader);
    cluster.until_serving(leader);

    // An update of all of it, in the middle of the tasks' replacement.
    let leader = cluster.leader();
    let follower = (0..3).find(|n| *n != leader).unwrap();
    let before = cluster.ask(["stack", "ps", "-q", "--no-trunc", "st"]).out.lines().count();
    deploy_and_kill(&mut cluster, follower, "2", |cluster| {
        cluster.ask(["stack", "ps", "-q", "--no-trunc", "st"]).out.lines().count() > before
    })
    .ok();
    until_deployed(&cluster, "2");
    cluster.start(leader);
    cluster.until_serving(leader);

    // By the leader itself: the command cannot go on and says so; another one completes it.
    let leader = cluster.leader();
    let said = deploy_and_kill(&mut cluster, leader, "3", |cluster| {
        let format = "{{.Spec.TaskTemplate.ContainerSpec.Env}}";
        cluster.ask(["service", "inspect", "--format", format, "st_a"]).out.contains("ROUND=3")
    });
    assert!(said.fails(6).contains("hint:"));
    let other = (0..3).find(|n| *n != leader).unwrap();
    let file = cluster.nodes[other].file("stack.yaml", STACK.replace('@', "3"));
    cluster.nodes[other].ctl(["stack", "deploy", "-q", "-c", &file, "st"]).ok();
    until_deployed(&cluster, "3");
}
