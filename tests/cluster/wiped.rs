//! Every machine of a cluster is wiped; a backup gives back everything, and the cluster grows again from it.

use crate::{
    cluster::Cluster,
    world::{World, until},
};

/// Which nodes hold a payload is another matter: they are others afterwards.
const OBJECT: &str = "{{.ID}} {{.CreatedAt}} {{.UpdatedAt}} {{json .Spec}} {{json .Versions}}";

/// What a user could tell two clusters apart by, without what changes by itself.
fn shown(node: &World) -> String {
    let asked: [&[&str]; 8] = [
        &["ls", "--format", "{{.ID}} {{.Name}} {{.Labels}} {{.Version}} {{.Versions}}"],
        &["config", "ls", "--format", "{{.ID}} {{.Name}} {{.Labels}} {{.Version}} {{.Versions}}"],
        &["inspect", "--format", OBJECT, "s"],
        &["config", "inspect", "--format", OBJECT, "colours"],
        &["service", "ls", "--format", "{{.ID}} {{.Name}} {{.Mode}} {{.Image}}"],
        &["service", "inspect", "--format", "{{.ID}} {{json .Spec}} {{json .PreviousSpec}}", "web"],
        &["service", "inspect", "--format", "{{.ID}} {{json .Spec}}", "everywhere"],
        &["ca", "show"],
    ];
    asked.iter().map(|args| node.ctl(args.iter()).ok()).collect()
}

#[test]
fn wiping_every_machine_and_restoring_a_backup_gives_back_everything() {
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let file = backup.to_str().unwrap();

    let cluster = Cluster::new(&[true, true, false]);
    cluster.hold(2);
    let first = &cluster.nodes[0];
    first.ctl_with(["config", "create", "-l", "team=blue", "colours", "-"], b"red").ok();
    first.ctl_with(["create", "-l", "env=prod", "unused", "-"], b"v").ok();
    first.ctl(["service", "update", "--detach", "--label-add", "tier=front", "web"]).ok();
    let script = "grep -q red /colours && echo painted; exec sleep 1000";
    let everywhere = ["service", "create", "--detach", "--name", "everywhere", "--mode", "global"];
    let everywhere = everywhere.iter().chain(&["--config", "source=colours,target=/colours"]);
    let everywhere = everywhere.chain(&["--restart-max-attempts", "7", "--restart-delay", "1s"]);
    first.ctl(everywhere.chain(&["busybox", "sh", "-c", script])).ok();
    cluster.until_running_on(&[3, 3]);
    let before = shown(first);
    let made = first.ctl(["backup", "create", file, "--recipient", "recovery"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let mut keys = made.err.lines().map(str::trim).filter(|line| line.starts_with("SECRETD-"));
    let key = keys.next().unwrap().to_owned();
    // Nothing is left of any of them but that file and that key.
    drop(cluster);

    let mut cluster = Cluster::restored(file, &key);
    assert_eq!(shown(&cluster.nodes[0]), before);
    for role in ["manager", "manager", "worker"] {
        cluster.join(role);
    }
    cluster.until_ready(4);
    cluster.until_voters(3);
    // The machines that are no more give up their tasks, and then their rows.
    let gone = || {
        let said = cluster.ask(["node", "ls", "--format", "{{.ID}} {{.Status}}"]);
        let down =
            said.out.lines().filter_map(|line| line.strip_suffix(" Down").map(str::to_owned));
        down.collect::<Vec<_>>()
    };
    until("four machines to be down", || (gone().len() == 4).then_some(()));
    for node in gone() {
        cluster.ask(["node", "rm", &node]).ok();
    }
    // The payloads are delivered anew: each task runs only as long as it has the right one.
    cluster.until_running_on(&[3, 3]);
    until("the config to be everywhere", || {
        let said = cluster.ask(["service", "logs", "--raw", "everywhere"]);
        (said.out.lines().filter(|line| *line == "painted").count() >= 4).then_some(())
    });
    for node in &cluster.nodes[..3] {
        assert_eq!(shown(node), before);
    }
    // And it survives the loss of one of them, as before.
    cluster.kill(0);
    let leader = cluster.leader();
    cluster.nodes[leader].ctl_with(["create", "after", "-"], b"v").ok();
}
