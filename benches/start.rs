//! From `service create` to RUNNING on the Docker Engine, beside a bare `docker run -d` of the same image.
//!
//! Needs `SECRETD_TEST_DOCKER_HOST` and the image `secretd-test:1`: run it with `scripts/bench`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use common::Daemon;
use secretd::wire::v1::{self, control_client::ControlClient};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tonic::transport::Channel;

const IMAGE: &str = "secretd-test:1";
const ROUNDS: usize = 15;
/// Ends at once when it is asked to, so that the rounds do not wait for a grace period.
const COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"];

fn median(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    (ms(times[times.len() / 2]), ms(times[times.len() - 1]))
}

fn docker(host: &str, args: &[&str]) {
    let status = Command::new("docker")
        .args(["-H", host])
        .args(args)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "docker {args:?}");
}

/// Starts a service and waits until the manager has seen its task running.
async fn until_running(
    daemon: &Daemon,
    control: &mut ControlClient<Channel>,
    args: &[&str],
    name: &str,
) -> Duration {
    let one = Instant::now();
    let created = daemon.ctl(args);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let filter = v1::Filter { key: "service".to_owned(), value: name.to_owned() };
    loop {
        let request = v1::ListTasksRequest { filters: vec![filter.clone()], page: None };
        let tasks = control.list_tasks(request).await.unwrap().into_inner().tasks;
        let running = |task: &v1::Task| {
            task.status.as_ref().is_some_and(|status| status.state() == v1::TaskState::Running)
        };
        if tasks.iter().any(running) {
            return one.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn main() {
    let host = std::env::var("SECRETD_TEST_DOCKER_HOST").expect("run this with scripts/bench");
    let daemon = Daemon::start("docker", Some(&host));
    let secret = daemon.dir().join("secret");
    std::fs::write(&secret, "bench").unwrap();
    assert!(daemon.ctl(&["create", "bench", secret.to_str().unwrap()]).status.success());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut control = ControlClient::new(runtime.block_on(daemon.channel()));
    let (mut bare, mut ours, mut with_secret) = (Vec::new(), Vec::new(), Vec::new());
    // One after the other in each round, so that a busy moment hits all.
    for round in 0..ROUNDS {
        let name = format!("bare{round}");
        let one = Instant::now();
        docker(&host, &[&["run", "-d", "--name", &name, IMAGE], &COMMAND[..]].concat());
        bare.push(one.elapsed());
        docker(&host, &["rm", "-f", &name]);
        for (times, secret) in [(&mut ours, false), (&mut with_secret, true)] {
            let name = format!("ours{round}{secret}");
            let mut args = vec!["service", "create", "--detach", "--name", &name];
            if secret {
                args.extend(["--secret", "bench"]);
            }
            args.push(IMAGE);
            args.extend(COMMAND);
            times.push(runtime.block_on(until_running(&daemon, &mut control, &args, &name)));
            daemon.ctl(&["service", "rm", &name]);
            let filter = format!("name=^{name}");
            let left = || {
                let args = ["-H", &host, "ps", "-aq", "--filter", &filter];
                Command::new("docker").args(args).output().unwrap().stdout
            };
            while !left().is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    println!("| {:<46} | {:>9} | {:>9} |", "what (medians of 15 rounds)", "p50 ms", "max ms");
    println!("|{:-<48}|{:->11}|{:->11}|", "", ":", ":");
    let (base, most) = median(bare);
    println!("| {:<46} | {base:>9.0} | {most:>9.0} |", "docker run -d");
    for (what, times) in
        [("service create to RUNNING", ours), ("the same with a secret", with_secret)]
    {
        let (p50, most) = median(times);
        println!("| {what:<46} | {p50:>9.0} | {most:>9.0} | {:+.0} ms (aim: +60)", p50 - base);
    }
}
