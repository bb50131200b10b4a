//! Three Docker Engines as managers of one swarm, in a network and a process namespace of their own, and a client that
//! creates secrets through the leader's socket.

use super::load::Client;
use crate::common;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::UnixStream,
};

pub(crate) struct Swarm {
    dir: tempfile::TempDir,
    engines: u8,
    /// `unshare`; when it is killed, so is everything inside.
    inside: Child,
}

/// A connection to an engine: plain HTTP/1.1, kept open.
pub(crate) struct Creator {
    stream: BufStream<UnixStream>,
}

impl Creator {
    async fn connect(socket: &Path) -> Option<Self> {
        let stream = BufStream::new(UnixStream::connect(socket).await.ok()?);
        Some(Self { stream })
    }

    async fn call(&mut self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let body = body.to_string();
        let mut text = format!("POST {path} HTTP/1.1\r\nHost: engine\r\n");
        write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())
            .ok()?;
        text.push_str(&body);
        self.answer(&text).await
    }

    async fn get(&mut self, path: &str) -> Option<(u16, Value)> {
        self.answer(&format!("GET {path} HTTP/1.1\r\nHost: engine\r\n\r\n")).await
    }

    async fn answer(&mut self, request: &str) -> Option<(u16, Value)> {
        self.stream.write_all(request.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()?;
        let (mut code, mut length, mut chunked) = (0, 0, false);
        loop {
            let line = self.line().await?;
            let lower = line.to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                code = rest.get(..3)?.parse().ok()?;
            } else if let Some(rest) = lower.strip_prefix("content-length:") {
                length = rest.trim().parse().ok()?;
            } else if lower.starts_with("transfer-encoding:") {
                chunked = true;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = Vec::new();
        loop {
            let size =
                if chunked { usize::from_str_radix(&self.line().await?, 16).ok()? } else { length };
            let at = body.len();
            body.resize(at + size, 0);
            self.stream.read_exact(&mut body[at..]).await.ok()?;
            if !chunked {
                break;
            }
            self.line().await?;
            if size == 0 {
                break;
            }
        }
        Some((code, serde_json::from_slice(&body).unwrap_or_default()))
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    }
}

impl Client for Creator {
    fn write(&mut self, name: String, bytes: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // "ZZZ…", padded to whole groups.
            let data = "Wlpa".repeat(bytes / 3) + ["", "Wg==", "Wlo="][bytes % 3];
            let body = json!({ "Name": name, "Data": data });
            let (code, answer) =
                self.call("/secrets/create", &body).await.expect("the engine answers");
            assert_eq!(code, 201, "{answer}");
        })
    }
}

impl Swarm {
    /// So many engines; nothing if `dockerd` is not installed or this is not root.
    pub(crate) async fn start(engines: u8) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        Command::new("dockerd").arg("--version").stdout(Stdio::null()).status().ok()?;
        let dir = common::directory();
        std::fs::write(dir.path().join("daemon.json"), "{}").unwrap();
        let inside = spawn(dir.path(), engines);
        let swarm = Self { dir, engines, inside };
        for n in 1..=engines {
            swarm.engine(n).await;
        }
        let addr = |n: u8| format!("127.0.0.{n}");
        let listen = |n: u8| format!("127.0.0.{n}:2377");
        let init = json!({ "ListenAddr": listen(1), "AdvertiseAddr": addr(1) });
        swarm.must(1, "/swarm/init", &init).await;
        let (_, info) = swarm.engine(1).await.get("/swarm").await.expect("the swarm is there");
        for n in 2..=engines {
            let join = json!({
                "ListenAddr": listen(n),
                "AdvertiseAddr": addr(n),
                "RemoteAddrs": [listen(1)],
                "JoinToken": info["JoinTokens"]["Manager"],
            });
            swarm.must(n, "/swarm/join", &join).await;
        }
        Some(swarm)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn kill(&mut self) {
        self.inside.kill().unwrap();
        self.inside.wait().unwrap();
    }

    /// Starts all engines again after [`Swarm::kill`], and does not wait.
    pub(crate) fn spawn(&mut self) {
        for n in 1..=self.engines {
            // In their new process namespace the numbers in these may be somebody's.
            for stale in [format!("pid{n}"), format!("exec{n}/containerd/containerd.pid")] {
                let _absent = std::fs::remove_file(self.dir.path().join(stale));
            }
        }
        self.inside = spawn(self.dir.path(), self.engines);
    }

    /// Whether the first engine knows a secret of this name.
    pub(crate) async fn has(&self, name: &str) -> bool {
        let Some(mut engine) = Creator::connect(&self.socket(1)).await else { return false };
        let path = format!("/secrets?filters=%7B%22name%22%3A%5B%22{name}%22%5D%7D");
        let answer = engine.get(&path).await;
        answer.is_some_and(|(code, found)| {
            code == 200 && found.as_array().is_some_and(|found| !found.is_empty())
        })
    }

    fn socket(&self, n: u8) -> PathBuf {
        self.dir.path().join(format!("{n}.sock"))
    }

    /// A connection to an engine, as soon as it answers.
    async fn engine(&self, n: u8) -> Creator {
        for _ in 0..3000 {
            if let Some(mut engine) = Creator::connect(&self.socket(n)).await
                && let Some((200, _)) = engine.get("/info").await
            {
                return engine;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("dockerd does not come up; its log is in {}", self.dir.path().display());
    }

    async fn must(&self, n: u8, path: &str, body: &Value) {
        let (code, answer) = self.engine(n).await.call(path, body).await.expect("it answers");
        assert_eq!(code, 200, "{path}: {answer}");
    }

    /// Clients of the first manager, which leads.
    pub(crate) async fn clients(&self, count: usize) -> Vec<Creator> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.engine(1).await);
        }
        all
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the engines. Their bridges and sockets for overlays stay inside.
fn spawn(dir: &Path, engines: u8) -> Child {
    let script = r#"
        ip link set lo up
        n=1
        while [ $n -le $1 ]; do
            dockerd --host "unix://$0/$n.sock" --data-root "$0/data$n" --exec-root "$0/exec$n" \
                --pidfile "$0/pid$n" --config-file "$0/daemon.json" --group 0 \
                --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs >"$0/log$n" 2>&1 &
            n=$((n + 1))
        done
        wait"#;
    Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", script])
        .arg(dir)
        .arg(engines.to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}
