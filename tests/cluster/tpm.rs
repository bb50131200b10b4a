//! A machine whose TPM opens its keys: it does so whatever becomes of the node on it.

use crate::{cluster::Cluster, swtpm::Swtpm, world::until};
use std::{fs, os::unix::process::ExitStatusExt as _};

const FAILPOINT: &str = "SECRETD_FAILPOINT";
const SIGKILL: i32 = 9;

fn state(cluster: &Cluster, n: usize) -> String {
    cluster.nodes[n].ctl(["status", "--format", "{{.State}} {{.Role}}"]).ok().trim().to_owned()
}

/// Kills the node and sees what it is when nobody but its machine opens it.
fn again(cluster: &mut Cluster, n: usize) -> String {
    cluster.kill(n);
    cluster.start(n);
    state(cluster, n)
}

#[test]
fn a_tpm_still_opens_a_node_that_was_demoted_promoted_and_refilled() {
    let dir = tempfile::Builder::new().prefix("sd").tempdir_in("/tmp").unwrap();
    let tpm = Swtpm::new(dir.path().join("tpm"));
    let mut cluster = Cluster::new(&[true, true]);
    // The others need a way too.
    cluster.nodes[0].ctl(["unlocker", "add", "recovery"]).ok();
    cluster.nodes[2].ctl(["unlocker", "add", "tpm2", "--device", &tpm.device()]).ok();
    cluster.nodes[0].ctl(["unlocker", "rm", "file"]).ok();
    let key_file = cluster.nodes[2].data_dir().with_extension("key");
    until("the key file to go", || (!key_file.exists()).then_some(()));
    assert_eq!(again(&mut cluster, 2), "active manager");

    // Each time its keys are put under another root key.
    for (order, role) in [("demote", "active worker"), ("promote", "active manager")] {
        cluster.ask(["node", order, cluster.id(2)]).ok();
        until(&format!("node 2 to be an {role}"), || (state(&cluster, 2) == role).then_some(()));
        // A worker has a key file of its own; a manager only what the cluster wants.
        assert_eq!(key_file.exists(), order == "demote");
        if key_file.exists() {
            fs::rename(&key_file, cluster.nodes[2].path("away")).unwrap();
        }
        assert_eq!(again(&mut cluster, 2), role, "the TPM alone has opened it");
    }
    cluster.until_voters(3);

    // Even in the middle of it.
    cluster.kill(2);
    fs::remove_dir_all(cluster.nodes[2].data_dir().join("raft/log")).unwrap();
    cluster.nodes[2].set(FAILPOINT, "rekey.written");
    cluster.start(2);
    cluster.nodes[2].ctl(["refill"]);
    assert_eq!(cluster.nodes[2].ended().signal(), Some(SIGKILL));
    cluster.nodes[2].unset(FAILPOINT);
    cluster.start(2);
    assert_eq!(state(&cluster, 2), "damaged manager");
    cluster.nodes[2].ctl(["refill"]).ok();
    cluster.until_voters(3);
    assert_eq!(again(&mut cluster, 2), "active manager");
}
