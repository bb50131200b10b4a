//! A throw-away daemon for benchmarks, on the disk of `target/` or of `SECRETD_BENCH_DIR`.

#![expect(dead_code, reason = "each benchmark uses its own part")]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tonic::transport::{Channel, Endpoint};

pub(crate) const SECRETCTL: &str = env!("CARGO_BIN_EXE_secretctl");

/// The argument of `--seconds`, or `default`.
pub(crate) fn seconds(default: u64) -> u64 {
    let args: Vec<_> = std::env::args().collect();
    args.windows(2).find(|w| w[0] == "--seconds").map_or(default, |w| w[1].parse().unwrap())
}

pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    run: tempfile::TempDir,
    child: Child,
}

impl Daemon {
    /// Starts and initialises a node, and waits until it leads.
    pub(crate) fn start(runtime: &str, docker_host: Option<&str>) -> Self {
        let disk = std::env::var_os("SECRETD_BENCH_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
        let dir = tempfile::Builder::new().prefix("bench").tempdir_in(disk).unwrap();
        let run = tempfile::Builder::new().prefix("sb").tempdir_in("/tmp").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretd"));
        command.arg("--data-dir").arg(dir.path().join("data"));
        command.arg("--run-dir").arg(run.path());
        command.args(["--runtime", runtime, "--log-level", "error"]);
        if let Some(host) = docker_host {
            command.args(["--docker-host", host]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let daemon = Self { dir, run, child };
        while !daemon.ctl(&["status"]).status.success() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let init =
            daemon.ctl(&["init", "--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"]);
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        daemon
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn socket(&self) -> PathBuf {
        self.run.path().join("secretd.sock")
    }

    pub(crate) fn ctl(&self, args: &[&str]) -> std::process::Output {
        Command::new(SECRETCTL)
            .env("SECRETD_HOST", format!("unix://{}", self.socket().display()))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        let path = self.socket();
        Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move {
                    tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new)
                }
            }))
            .await
            .unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let names = self.ctl(&["service", "ls", "-q"]);
        for id in String::from_utf8_lossy(&names.stdout).lines() {
            self.ctl(&["service", "rm", id]);
        }
        while std::fs::read_dir(self.run.path().join("process"))
            .is_ok_and(|mut d| d.next().is_some())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let place = self.run.path().join("place");
        if place.exists() {
            rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
}
