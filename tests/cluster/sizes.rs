//! Many secrets and large ones: no list, snapshot, start or assignment meets a wall.
//!
//! `SECRETD_MANY` says how many; `scripts/soak` takes 10 000, which unoptimised programs are too slow for otherwise.

use crate::{cluster::Cluster, load::Hand, world::until};
use secretd::{
    crypto::plaintext::Plaintext,
    kit::limits::{CONFIG_SIZE, REFERENCES_PER_SERVICE, SECRET_SIZE},
    model::{Labels, filter::Filters, object::Kind},
};
use std::time::Instant;

const MANY: usize = 1500;
/// Bytes of each of them.
const SIZE: usize = 4096;
/// Calls under way at the same time, over one connection.
const AT_ONCE: usize = 64;

fn create_many(socket: &str, count: usize) {
    let hand = Hand::to(socket).unwrap();
    hand.run(async |client| {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let one = async || {
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if n >= count {
                    return;
                }
                let payload = Plaintext::new(vec![b'x'; SIZE]);
                let name = format!("many-{n:05}");
                client.create_object(Kind::Secret, &name, Labels::new(), payload).await.unwrap();
            }
        };
        futures::future::join_all((0..AT_ONCE).map(|_| one())).await;
    });
}

#[test]
fn many_secrets_and_the_largest_ones_meet_no_wall() {
    let many = std::env::var("SECRETD_MANY").map_or(MANY, |text| text.parse().unwrap());
    let mut cluster = Cluster::new(&[false]);
    let mut at = Instant::now();
    let mut lap = |what: &str| {
        eprintln!("{what}: {:?}", at.elapsed());
        at = Instant::now();
    };
    create_many(&cluster.nodes[0].socket(), many);
    lap(&format!("{many} secrets of {SIZE} bytes created"));
    // Limits are exclusive.
    cluster.nodes[0].ctl_with(["create", "large", "-"], &vec![b's'; SECRET_SIZE - 1]).ok();
    let config = vec![b'c'; CONFIG_SIZE - 1];
    cluster.nodes[0].ctl_with(["config", "create", "larger", "-"], &config).ok();
    lap("the largest secret and config created");

    let listed = |cluster: &Cluster, n: usize| {
        let hand = Hand::to(&cluster.nodes[n].socket()).unwrap();
        hand.run(async |c| c.list_objects(Kind::Secret, &Filters::default()).await).unwrap().len()
    };
    assert_eq!(listed(&cluster, 0), many + 1);
    lap("listed");
    cluster.join("manager");
    cluster.until_voters(2);
    lap("a manager joined");
    assert_eq!(listed(&cluster, 2), many + 1);
    cluster.stop(2);
    cluster.stop(0);
    lap("both stopped");
    cluster.start(0);
    cluster.start(2);
    cluster.until_serving(2);
    cluster.until_ready(3);
    assert_eq!(listed(&cluster, 0), many + 1);
    lap("both started");

    let count = many.min(REFERENCES_PER_SERVICE - 2);
    let references: Vec<String> = (0..count).map(|n| format!("--secret=many-{n:05}")).collect();
    let look = "ls /run/secrets | wc -l; cat /run/secrets/many-* | wc -c; wc -c < /run/secrets/large; wc -c < /larger; trap 'exit 0' TERM; while :; do sleep 0.2; done";
    let create = ["service", "create", "--detach", "--name", "web", "--constraint"]
        .into_iter()
        .chain(["node.role == worker", "--secret", "large", "--config", "larger"])
        .chain(references.iter().map(String::as_str))
        .chain(["busybox", "sh", "-c", look]);
    cluster.nodes[0].ctl(create).ok();
    let wanted = [count + 1, count * SIZE, SECRET_SIZE - 1, CONFIG_SIZE - 1];
    until("the task to see everything", || {
        let said = cluster.nodes[0].ctl(["service", "logs", "--raw", "web"]);
        let seen: Vec<usize> = said.out.split_whitespace().map_while(|w| w.parse().ok()).collect();
        (seen == wanted).then_some(())
    });
    lap(&format!("{} files in a task", count + 2));
}
