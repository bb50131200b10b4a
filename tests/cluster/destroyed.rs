//! A removed secret is destroyed once every manager has dropped it from log and state file; until then `inspect` says whom it waits for.

use crate::{
    cluster::{CANARY, Cluster},
    world::{World, until},
};
use serde_json::Value;
use std::{fs, os::unix::fs::MetadataExt as _};

/// The names of a manager's log segments.
fn segments(node: &World) -> Vec<String> {
    let names = fs::read_dir(node.data_dir().join("raft/log")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "spare").collect()
}

/// Which file a manager's state is in.
fn state_file(node: &World) -> u64 {
    fs::metadata(node.data_dir().join("raft/state.redb")).unwrap().ino()
}

/// What one manager says of something that is not there any more.
fn inspect<const N: usize>(cluster: &Cluster, args: [&str; N]) -> (String, String) {
    let said = cluster.ask_any(args);
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    (said.out, said.err)
}

fn pending(cluster: &Cluster) -> u64 {
    let status: Value =
        serde_json::from_str(&cluster.ask(["status", "--format", "json"]).out).unwrap();
    status["DestructionsPending"].as_u64().unwrap()
}

#[test]
fn a_destruction_is_pending_until_every_manager_has_dropped_it() {
    let mut cluster = Cluster::new(&[true, true]);
    cluster.nodes[0].ctl_with(["create", "kept", "-"], b"v").ok();
    let id = cluster.nodes[0].ctl_with(["create", "gone", "-"], CANARY).ok().trim().to_owned();
    cluster.nodes[0].ctl_with(["config", "create", "old", "-"], b"v").ok();
    let before: Vec<_> = cluster.nodes.iter().map(segments).collect();
    let state_files: Vec<_> = cluster.nodes.iter().map(state_file).collect();
    cluster.kill(2);
    cluster.ask(["rm", "gone"]).ok();
    cluster.ask(["config", "rm", "old"]).ok();

    // The two that are up have dropped it, and the third is named.
    let shown = until("two managers to have dropped it", || {
        let (out, err) = inspect(&cluster, ["inspect", "gone"]);
        let shown: Value = serde_json::from_str(&out).unwrap();
        (shown[0]["Destruction"]["Purged"] == 2).then_some((shown, err))
    });
    let (shown, said) = shown;
    assert!(said.contains("not found") && said.contains(cluster.id(2)), "{said}");
    assert_eq!(shown[0]["ID"], id);
    assert_eq!(shown[0]["Destruction"]["State"], "pending");
    assert_eq!(shown[0]["Destruction"]["WaitingFor"], serde_json::json!([cluster.id(2)]));
    for (node, before) in cluster.nodes.iter().zip(&before).take(2) {
        assert!(before.iter().all(|name| !segments(node).contains(name)), "{before:?} stayed");
    }
    for (node, before) in cluster.nodes.iter().zip(&state_files).take(2) {
        assert_ne!(state_file(node), *before, "free pages stayed");
    }
    let (by_id, _) = inspect(&cluster, ["inspect", "--pretty", &id]);
    assert!(by_id.contains("purged on 2 of 3 managers"), "{by_id}");
    let (config, _) = inspect(&cluster, ["config", "inspect", "--pretty", "old"]);
    assert!(config.contains("pending") && !config.contains("Data"), "{config}");
    let format = "{{.Name}} {{.Purged}}";
    let listed = cluster.ask(["ls", "--filter", "destroyed=pending", "--format", format]).out;
    assert_eq!(listed, "gone 2/3\n");
    assert_eq!(pending(&cluster), 2);
    // Its name is free meanwhile, and belongs to the new one.
    cluster.ask(["ls"]);
    let leader = cluster.leader();
    cluster.nodes[leader].ctl_with(["create", "gone", "-"], b"another").ok();
    let shown = cluster.nodes[leader].json(["inspect", "gone"]);
    assert_eq!(shown[0]["Destruction"], Value::Null, "{shown}");

    // It lacks what the others have purged, so it is sent a snapshot; and then it drops what it had.
    cluster.start(2);
    cluster.until_serving(2);
    until("the destruction to be complete", || (pending(&cluster) == 0).then_some(()));
    assert!(before[2].iter().all(|name| !segments(&cluster.nodes[2]).contains(name)));
    let (gone, said) = inspect(&cluster, ["inspect", &id]);
    assert!(gone.trim() == "[]" && !said.contains("purged"), "{gone}{said}");
    assert_eq!(cluster.ask(["ls", "--filter", "destroyed=pending", "-q"]).out, "");
    assert_eq!(cluster.nodes[2].ctl(["ls", "--format", "{{.Name}}"]).ok(), "gone\nkept\n");
    // All of them start again from what is left.
    for n in 0..3 {
        cluster.kill(n);
        cluster.start(n);
        cluster.until_serving(n);
    }
    assert_eq!(cluster.nodes[1].ctl(["ls", "--format", "{{.Name}}"]).ok(), "gone\nkept\n");
}
