//! Daemons that die at every named place outside the log's own: while a node is set up, backed up, restored, recovered,
//! refilled, given another key header or another's whole state. The places of log, vote and state file are in
//! `src/raft/failpoint_test.rs`.

use crate::{
    cluster::{CANARY, Cluster, HOLDER, holders},
    kept::{HERE, Kept, codes, init_if_new, state},
    world::{SECRETCTL, Said, World, until},
};
use secretd::kit::failpoint::ALL;
use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const FAILPOINT: &str = "SECRETD_FAILPOINT";
const SIGKILL: i32 = 9;

/// The places whose names begin with one of these.
fn places(stories: &[&str]) -> impl Iterator<Item = &'static str> {
    ALL.iter().copied().filter(move |place| stories.iter().any(|story| place.starts_with(story)))
}

/// The daemon dies at the place, and nobody else kills it.
fn dies(world: &mut World, place: &str) {
    let ended = world.ended();
    assert_eq!(ended.signal(), Some(SIGKILL), "{place} was not reached: {ended}");
    world.unset(FAILPOINT);
}

/// A command to a daemon that dies fails with words for people, and does not hang.
fn broken(said: &Said, place: &str) {
    assert_ne!(said.code, 0, "{place}: {}", said.out);
    assert!(!said.err.trim().is_empty() && !said.err.contains("panicked"), "{place}: {}", said.err);
}

#[test]
fn every_place_belongs_to_a_story() {
    let stories = [
        "log.",
        "vote.",
        "state.",
        "init.",
        "replace.",
        "keyfile.",
        "keys.",
        "join.",
        "snapshot.",
        "install.",
        "refill.",
        "rekey.",
        "backup.",
        "restore.",
        "rotate.",
        "rewrap.",
        "debts.",
        "root.",
        "recover.",
    ];
    let told: Vec<_> = places(&stories).collect();
    assert_eq!(told, ALL, "a place without a story is never tried");
}

#[test]
fn an_init_that_is_cut_off_anywhere_is_whole_or_can_be_done_again() {
    for place in places(&["init.", "replace.", "keyfile."]) {
        // The header of the keys is the first file that is replaced, the identity the second.
        let times: &[u32] = if place.starts_with("replace.") { &[1, 2] } else { &[1] };
        for times in times {
            let place = format!("{place}:{times}");
            let mut world = World::new();
            world.set(FAILPOINT, place.clone());
            world.start();
            broken(&world.ctl(["init"].into_iter().chain(HERE)), &place);
            dies(&mut world, &place);
            world.start();
            let beside = world.path("data.key").parent().unwrap().read_dir().unwrap();
            let staged = beside.filter(|one| {
                one.as_ref().unwrap().file_name().to_str().unwrap().starts_with("data.key.")
            });
            assert_eq!(staged.count(), 0, "{place}: half a key file stays");
            init_if_new(&world);
            let mut kept = Kept::default();
            kept.fill(&world, 2);
            world.kill();
            world.start();
            kept.check(&world, &place);
        }
    }
}

#[test]
fn a_key_header_that_is_cut_off_opens_with_the_new_way_or_the_old() {
    for place in places(&["keys.", "replace."]) {
        let mut world = World::initialised();
        let mut kept = Kept::default();
        kept.fill(&world, 3);
        world.stop();
        world.set(FAILPOINT, place);
        world.start();
        // The answer may come before the header follows.
        let said = world.ctl(["update", "--autolock=true"]);
        dies(&mut world, place);
        world.start();
        if state(&world) == "locked" {
            let [key] = codes(&said.out).try_into().expect("locked by a key that was shown");
            world.ctl_with(["unlock"], key.as_bytes()).ok();
        }
        until("the store to be open", || (state(&world) == "active").then_some(()));
        kept.check(&world, place);
    }
}

#[test]
fn a_backup_that_is_cut_off_leaves_no_file_and_no_harm() {
    for place in places(&["backup."]) {
        let mut world = World::new();
        world.set(FAILPOINT, place);
        world.start();
        world.init();
        let mut kept = Kept::default();
        kept.fill(&world, 3);
        let file = world.path("backup").to_str().unwrap().to_owned();
        let said = world.ctl(["backup", "create", &file, "--recipient", "recovery"]);
        broken(&said, place);
        dies(&mut world, place);
        assert!(!world.path("backup").exists(), "{place}: a backup nobody verified has the name");
        world.start();
        kept.check(&world, place);
        world.ctl(["backup", "create", &file, "--recipient", "recovery"]).ok();
        world.ctl(["backup", "verify", &file]).ok();
    }
}

/// A machine with a backup of a cluster that holds something, what it holds, and the key.
fn backed_up() -> (World, String, Kept, String) {
    let mut world = World::initialised();
    let mut kept = Kept::default();
    kept.fill(&world, 5);
    let file = world.path("backup").to_str().unwrap().to_owned();
    let said = world.ctl(["backup", "create", &file, "--recipient", "recovery"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let [key] = codes(&said.err).try_into().unwrap();
    world.kill();
    (world, file, kept, key)
}

fn restore(world: &World, file: &str, key: &str) -> Said {
    let args = ["backup", "restore", file, "--key", "-"].into_iter().chain(HERE);
    world.ctl_with(args, key.as_bytes())
}

/// A manager whose log does not begin at the beginning, so that whoever joins it needs a snapshot.
fn restored(file: &str, key: &str) -> World {
    let mut world = World::new();
    world.start();
    restore(&world, file, key).ok();
    world
}

#[test]
fn a_restore_that_is_cut_off_anywhere_is_whole_or_can_be_done_again() {
    let (_source, file, kept, key) = backed_up();
    for place in places(&["restore."]) {
        let mut world = World::new();
        world.set(FAILPOINT, place);
        world.start();
        broken(&restore(&world, &file, &key), place);
        dies(&mut world, place);
        world.start();
        if state(&world) == "inactive" {
            restore(&world, &file, &key).ok();
        }
        kept.check(&world, place);
        let mut more = kept.clone();
        more.create(&world, "after").ok();
        world.kill();
        world.start();
        more.check(&world, place);
    }
}

fn join(world: &World, first: &World) -> Said {
    Said::of(&ask_to_join(world, first).wait_with_output().unwrap())
}

fn ask_to_join(world: &World, first: &World) -> Child {
    let token = first.ctl(["join-token", "-q", "manager"]).ok();
    let token = world.file("token", token);
    let addr = first.ctl(["status", "--format", "{{.AdvertiseAddr}}"]).ok();
    let mut command = Command::new(SECRETCTL);
    command.env_clear().env("SECRETD_HOST", world.socket());
    command.args(["join", "--token-file", &token]).args(HERE).arg(addr.trim());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn voters(world: &World) -> usize {
    let status = world.json(["status", "--format", "json"]);
    let managers = status["RemoteManagers"].as_array().cloned().unwrap_or_default();
    managers.iter().filter(|manager| manager["Voter"] == true).count()
}

/// The second manager belongs to the cluster in the end, whatever it went through, and has all there is.
fn until_joined(second: &World, first: &World, place: &str) {
    if state(second) == "inactive" {
        let said = join(second, first);
        assert_eq!(said.code, 0, "{place}: {}", said.err);
    }
    until(&format!("two managers to vote after {place}"), || (voters(first) == 2).then_some(()));
    until(&format!("the second to answer after {place}"), || {
        (second.ctl(["config", "ls"]).code == 0).then_some(())
    });
}

/// Takes the second manager out again; one that was admitted and never came is in nobody's way.
fn part(second: &World, first: &World) {
    let id = second.ctl(["status", "--format", "{{.NodeID}}"]).ok();
    first.ctl(["node", "demote", id.trim()]).ok();
    until("one manager to be left", || (voters(first) == 1).then_some(()));
    // Nor is it one to rely on.
    for dead in absent(first) {
        let own = first.ctl(["node", "demote", "self"]).fails(5);
        assert!(own.contains("last manager"), "{own}");
        first.ctl(["node", "demote", &dead]).ok();
        first.ctl(["node", "rm", "--force", &dead]).ok();
    }
}

/// Who was admitted and never came.
fn absent(world: &World) -> Vec<String> {
    let listed = world.ctl(["node", "ls", "--format", "{{.ID}} {{.ManagerStatus}}"]).ok();
    listed.lines().filter_map(|line| line.strip_suffix(" Not joined")).map(str::to_owned).collect()
}

#[test]
fn a_manager_that_joins_and_dies_anywhere_harms_nobody_and_joins_in_the_end() {
    let (_source, file, mut kept, key) = backed_up();
    let mut first = restored(&file, &key);
    for (n, place) in places(&["join.", "snapshot.receive.", "install."]).enumerate() {
        let mut second = World::new();
        second.set(FAILPOINT, place);
        second.start();
        // The answer may come before the store is filled.
        join(&second, &first);
        dies(&mut second, place);
        second.start();
        until_joined(&second, &first, place);
        kept.create(&first, &format!("while-{n}")).ok();
        kept.check(&second, place);
        let died_before_it_kept_anything = ["join.admitted", "join.keys", "join.store"];
        let absent = absent(&first).len();
        assert_eq!(absent, usize::from(died_before_it_kept_anything.contains(&place)), "{place}");
        part(&second, &first);
        second.kill();
    }
    first.kill();
    first.start();
    kept.check(&first, "all joined and left");
}

#[test]
fn a_leader_that_dies_while_it_sends_its_state_sends_it_again() {
    let (_source, file, kept, key) = backed_up();
    for place in places(&["snapshot.build", "snapshot.send."]) {
        let mut first = restored(&file, &key);
        first.stop();
        first.set(FAILPOINT, place);
        let mut second = World::new();
        second.start();
        // A store whose log does not begin at the beginning looks for its snapshot when it is opened.
        if place == "snapshot.build" {
            first.spawn();
            dies(&mut first, place);
            first.start();
        } else {
            first.start();
            let asking = ask_to_join(&second, &first);
            dies(&mut first, place);
            first.start();
            // It waits for its leader, which is back; or gave up, and is asked again below.
            asking.wait_with_output().unwrap();
        }
        until_joined(&second, &first, place);
        kept.check(&second, place);
        // Before the other has no quorum to answer with.
        first.kill();
        second.kill();
    }
}

#[test]
fn a_manager_that_others_must_fill_answers_meanwhile_and_stops_when_it_is_told_to() {
    let (_source, file, _, key) = backed_up();
    let mut first = restored(&file, &key);
    let place = "snapshot.receive.rows";
    let mut second = World::new();
    second.set(FAILPOINT, place);
    second.start();
    join(&second, &first);
    dies(&mut second, place);
    // Nobody is left who could fill it.
    first.kill();
    second.start();
    let status = second.ctl(["status"]).ok();
    assert!(status.contains("pending") && status.contains("the other managers"), "{status}");
    let begun = Instant::now();
    assert_eq!(second.stop(), 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    second.start();
    first.start();
    until_joined(&second, &first, place);
}

#[test]
fn who_joins_while_the_last_leader_dies_for_good_ends_soon_and_says_what_to_do() {
    let (_source, file, _, key) = backed_up();
    let mut first = restored(&file, &key);
    first.stop();
    let place = "snapshot.send.header";
    first.set(FAILPOINT, place);
    first.start();
    let mut second = World::new();
    second.start();
    let begun = Instant::now();
    let asking = ask_to_join(&second, &first);
    dies(&mut first, place);
    let said = Said::of(&asking.wait_with_output().unwrap()).fails(5);
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    assert!(said.contains("it belongs to none: the store holds no cluster"), "{said}");
    assert!(said.contains("hint: ") && said.contains("secretctl node rm --force"), "{said}");
    assert_eq!(state(&second), "inactive");
    // It is no member, so it joins as any other node once somebody leads.
    first.start();
    until_joined(&second, &first, place);
}

#[test]
fn a_rotation_that_is_cut_off_anywhere_goes_on_by_itself() {
    for place in places(&["rotate.", "rewrap.", "debts.terms"]) {
        let mut world = World::new();
        world.set(FAILPOINT, place);
        world.start();
        world.init();
        let mut kept = Kept::default();
        kept.fill(&world, 3);
        // The answer may come before it dies.
        world.ctl(["key", "rotate", "--detach"]);
        dies(&mut world, place);
        world.start();
        until(&format!("nothing to be left under the old term after {place}"), || {
            let said = world.ctl(["key", "status"]).ok();
            let moved = said.contains("0 left, everything lies under term 2");
            (moved && said.contains("no manager's disk has anything from before term 2"))
                .then_some(())
        });
        kept.check(&world, place);
        kept.create(&world, "after").ok();
        world.kill();
        world.start();
        kept.check(&world, place);
    }
}

#[test]
fn a_root_key_whose_replacement_is_cut_off_anywhere_is_replaced_all_the_same() {
    for place in places(&["root."]) {
        let mut world = World::new();
        world.set(FAILPOINT, place);
        world.start();
        world.init();
        let mut kept = Kept::default();
        kept.fill(&world, 3);
        // The answer may come before it dies.
        world.ctl(["key", "rotate", "--root", "--detach"]);
        dies(&mut world, place);
        world.start();
        until(&format!("nothing to be left under the old root key after {place}"), || {
            let said = world.ctl(["key", "status"]).ok();
            let moved = said.contains("0 left, everything lies under term 2");
            let turned = said.contains("Root key: number 2, since")
                && said.contains("no manager's disk has anything that an older one opens");
            (moved && turned).then_some(())
        });
        kept.check(&world, place);
        kept.create(&world, "after").ok();
        world.kill();
        world.start();
        kept.check(&world, place);
    }
}

#[test]
fn a_destruction_that_is_cut_off_anywhere_is_completed() {
    for place in places(&["debts."]).filter(|place| *place != "debts.terms") {
        let mut world = World::new();
        world.set(FAILPOINT, place);
        world.start();
        world.init();
        let mut kept = Kept::default();
        kept.fill(&world, 3);
        world.ctl_with(["create", "gone", "-"], b"v").ok();
        world.ctl(["rm", "gone"]).ok();
        dies(&mut world, place);
        world.start();
        until(&format!("the destruction to be complete after {place}"), || {
            let status = world.ctl(["status", "--format", "{{.DestructionsPending}}"]).ok();
            (status.trim() == "0").then_some(())
        });
        kept.check(&world, place);
        world.kill();
    }
}

#[test]
fn a_recovery_that_is_cut_off_anywhere_is_done_again() {
    for place in places(&["recover."]) {
        let mut first = World::initialised();
        let mut second = World::new();
        second.start();
        join(&second, &first).ok();
        until_joined(&second, &first, place);
        let mut kept = Kept::default();
        kept.fill(&first, 3);
        let id = first.ctl(["status", "--format", "{{.ClusterID}}"]).ok();
        first.kill();
        second.kill();
        let recover = |world: &World| {
            let mut command = world.secretd();
            command.args(["recover", "--from-this-node", "--confirm", id.trim()]);
            command.stdin(Stdio::null()).output().unwrap()
        };
        first.set(FAILPOINT, place);
        assert_eq!(recover(&first).status.signal(), Some(SIGKILL), "{place} was not reached");
        first.unset(FAILPOINT);
        Said::of(&recover(&first)).ok();
        first.start();
        kept.check(&first, place);
        kept.create(&first, "after").ok();
    }
}

/// What a manager keeps of damaged stores.
fn damaged_stores(world: &World) -> usize {
    let names = fs::read_dir(world.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("damaged-")).count()
}

#[test]
fn a_refill_that_is_cut_off_anywhere_goes_on_or_is_done_again() {
    let mut cluster = Cluster::new(&[true, true]);
    let mut kept = Kept::default();
    kept.fill(&cluster.nodes[0], 5);
    cluster.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
    let service = ["service", "create", "--name", "web", "--mode", "global", "--secret", "s"];
    cluster.nodes[0].ctl(service.iter().chain(&["busybox", "sh", "-c", HOLDER])).ok();
    cluster.until_running_on(&[0, 1, 2]);
    let held = holders(&cluster.nodes[2]);
    assert_eq!(held.len(), 1);
    for place in places(&["refill.", "rekey."]) {
        cluster.kill(2);
        let node = &mut cluster.nodes[2];
        fs::remove_dir_all(node.data_dir().join("raft/log")).unwrap();
        node.set(FAILPOINT, place);
        node.start();
        assert_eq!(state(node), "damaged", "{place}");
        // The last places come after the answer.
        node.ctl(["refill"]);
        dies(node, place);
        kept.create(&cluster.nodes[0], place).ok();
        cluster.start(2);
        if state(&cluster.nodes[2]) == "damaged" {
            cluster.nodes[2].ctl(["refill"]).ok();
        }
        cluster.until_serving(2);
        cluster.until_voters(3);
        kept.check(&cluster.nodes[2], place);
        assert_eq!(holders(&cluster.nodes[2]), held, "{place}: its task was touched");
        until(&format!("what was damaged to go after {place}"), || {
            (damaged_stores(&cluster.nodes[2]) == 0).then_some(())
        });
    }
}
