//! Managers that are restarted, join and leave while clients work.

use crate::{
    cluster::{Cluster, holders},
    load::{Load, sockets},
    world::until,
};

#[test]
fn managers_are_restarted_one_after_another_and_no_task_and_no_client_is_disturbed() {
    let mut cluster = Cluster::new(&[true, true, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 3]);
    let tasks = holders(&cluster.nodes[3]);
    assert_eq!(tasks.len(), 2);
    let load = Load::new();
    let managers = sockets(&cluster.nodes[..3]);
    load.around(&managers, || {
        for n in 0..3 {
            load.until_more(30);
            cluster.stop(n);
            load.until_more(30);
            cluster.start(n);
            // As an operator would: the next one only when this one is back.
            cluster.until_serving(n);
        }
        load.until_more(30);
    });
    load.check(&cluster);
    cluster.until_ready(4);
    cluster.until_running_on(&[3, 3]);
    assert_eq!(holders(&cluster.nodes[3]), tasks, "tasks were restarted");
}

#[test]
fn managers_join_and_leave_while_clients_write() {
    let mut cluster = Cluster::new(&[true, true]);
    let load = Load::new();
    let first = sockets(&cluster.nodes);
    load.around(&first, || {
        load.until_more(30);
        cluster.join("manager");
        cluster.join("manager");
        cluster.until_voters(5);
        load.until_more(30);
        cluster.nodes[3].ctl(["leave", "--force"]).ok();
        cluster.until_voters(4);
        load.until_more(30);
        cluster.ask(["node", "demote", cluster.id(4)]).ok();
        cluster.until_voters(3);
        load.until_more(30);
    });
    load.check(&cluster);
    cluster.ask(["node", "rm", "--force", cluster.id(4)]).ok();
    until("the removed manager to know", || {
        let said = cluster.nodes[4].ctl(["status", "--format", "{{.State}}"]);
        (said.out.trim() == "inactive").then_some(())
    });
}
