//! Throw-away daemons for benchmarks, on the disk of `target/` or of `SECRETD_BENCH_DIR`.

#![expect(dead_code, reason = "each benchmark uses its own part")]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tonic::transport::{Channel, Endpoint};

pub(crate) const SECRETCTL: &str = env!("CARGO_BIN_EXE_secretctl");

/// The argument of `--seconds`, or `default`.
pub(crate) fn seconds(default: u64) -> u64 {
    let args: Vec<_> = std::env::args().collect();
    args.windows(2).find(|w| w[0] == "--seconds").map_or(default, |w| w[1].parse().unwrap())
}

/// The argument behind `name`, or `default`.
pub(crate) fn argument(name: &str, default: usize) -> usize {
    let args: Vec<_> = std::env::args().collect();
    args.windows(2).find(|w| w[0] == name).map_or(default, |w| w[1].parse().unwrap())
}

/// Whether to measure, as `cargo bench` asks; `cargo test --benches` only sees that it starts.
pub(crate) fn asked() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// Whether to leave the peers out, for whoever works on ours.
pub(crate) fn only_ours() -> bool {
    std::env::args().any(|arg| arg == "--ours")
}

/// A new directory on the disk that is measured.
pub(crate) fn directory() -> tempfile::TempDir {
    let disk = std::env::var_os("SECRETD_BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    tempfile::Builder::new().prefix("bench").tempdir_in(disk).unwrap()
}

pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Waits until `ready` gives a value.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(value) = ready() {
            return value;
        }
        pause();
    }
    panic!("waited a minute for {what}");
}

pub(crate) async fn unix(path: PathBuf) -> Channel {
    try_unix(path).await.unwrap()
}

async fn try_unix(path: PathBuf) -> Option<Channel> {
    Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new)
            }
        }))
        .await
        .ok()
}

/// One node; everything it made goes with it.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    run: tempfile::TempDir,
    runtime: String,
    docker_host: Option<String>,
    child: Option<Child>,
}

impl Daemon {
    /// Starts and initialises a node, and waits until it leads.
    pub(crate) fn start(runtime: &str, docker_host: Option<&str>) -> Self {
        let daemon = Self::bare(runtime, docker_host);
        let here = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
        daemon.ask(&[&["init"][..], &here].concat());
        daemon
    }

    /// Starts a node that is in no cluster.
    pub(crate) fn bare(runtime: &str, docker_host: Option<&str>) -> Self {
        let run = tempfile::Builder::new().prefix("sb").tempdir_in("/tmp").unwrap();
        let (runtime, docker_host) = (runtime.to_owned(), docker_host.map(str::to_owned));
        let mut daemon = Self { dir: directory(), run, runtime, docker_host, child: None };
        daemon.spawn();
        until("the daemon to answer", || daemon.ctl(&["status"]).status.success().then_some(()));
        daemon
    }

    /// Starts the daemon again after [`Daemon::kill`], and does not wait.
    pub(crate) fn spawn(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretd"));
        command.arg("--data-dir").arg(self.dir.path().join("data"));
        command.arg("--run-dir").arg(self.run.path());
        command.args(["--runtime", &self.runtime, "--log-level", "error"]);
        if let Some(host) = &self.docker_host {
            command.args(["--docker-host", host]);
        }
        // What managers say when the others go is of no use here.
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run.path().join("secretd.sock")
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn ctl(&self, args: &[&str]) -> Output {
        Command::new(SECRETCTL)
            .env("SECRETD_HOST", self.host())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The answer to a command that must work.
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        let output = self.ctl(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) async fn channel(&self) -> Channel {
        unix(self.socket()).await
    }

    /// Nothing while nobody listens.
    pub(crate) async fn try_channel(&self) -> Option<Channel> {
        try_unix(self.socket()).await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() {
            let names = self.ctl(&["service", "ls", "-q"]);
            for id in String::from_utf8_lossy(&names.stdout).lines() {
                self.ctl(&["service", "rm", id]);
            }
            let tasks = self.run.path().join("process");
            while std::fs::read_dir(&tasks).is_ok_and(|mut d| d.next().is_some()) {
                pause();
            }
        }
        self.kill();
        let place = self.run.path().join("place");
        if place.exists() {
            rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
}

/// A cluster of managers, each a daemon of its own; they talk over TLS on loopback.
pub(crate) struct Managers(pub(crate) Vec<Daemon>);

impl Managers {
    pub(crate) fn start(count: usize) -> Self {
        let first = Daemon::start("process", None);
        let addr = first.ask(&["status", "--format", "{{.AdvertiseAddr}}"]);
        let token = first.ask(&["join-token", "-q", "manager"]);
        let file = first.dir().join("token");
        std::fs::write(&file, token).unwrap();
        let mut all = vec![first];
        for _ in 1..count {
            let daemon = Daemon::bare("process", None);
            let here = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
            let token = ["join", "--token-file", file.to_str().unwrap()];
            daemon.ask(&[&token[..], &here, &[&addr]].concat());
            all.push(daemon);
        }
        let all = Self(all);
        all.until_whole();
        all
    }

    /// Waits until every manager votes and is up with the others.
    pub(crate) fn until_whole(&self) {
        until("all managers to vote", || {
            let count = self.0.len();
            self.0
                .iter()
                .all(|daemon| {
                    let status = daemon.ctl(&["status", "--format", "json"]).stdout;
                    let status: serde_json::Value =
                        serde_json::from_slice(&status).unwrap_or_default();
                    let all = status["RemoteManagers"].as_array();
                    let good =
                        |m: &&serde_json::Value| m["Voter"] == true && m["Reachable"] != false;
                    all.is_some_and(|all| all.iter().filter(good).count() == count)
                })
                .then_some(())
        });
    }

    pub(crate) fn leader(&self) -> usize {
        until("a leader", || {
            self.0.iter().position(|daemon| {
                let said = daemon.ctl(&["status", "--format", "{{.Leader}}"]);
                said.stdout.starts_with(b"true")
            })
        })
    }
}

/// Nobody waits for managers that the others have lost.
impl Drop for Managers {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Daemon::kill);
    }
}
