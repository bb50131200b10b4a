//! The demo's throw-away house: a directory, a daemon in it, and the promise that nothing of it stays.

use super::{
    DemoArgs, DemoRuntime,
    stage::{Stage, quoted},
};
use crate::{
    agent::{
        place::Place,
        runtime::{
            Runtime,
            docker::DockerRuntime,
            process::{Options, ProcessRuntime},
        },
    },
    client::Client,
    ctl::{
        exit::{Code, Failure},
        output,
    },
    kit::{chain::chain, id::NodeId},
    model::{filter::Filters, object::Kind},
};
use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::{self, DirBuilder, File},
    io,
    net::TcpListener,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// A socket's path holds 107 bytes; this leaves room for ours below the directory.
const LONGEST_BASE: usize = 60;
/// How long the daemon may take to listen, its tasks to end, and itself to drain.
const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(15);
/// How often we look whether something has come about that nobody tells us of.
const PACE: Duration = Duration::from_millis(50);

/// Where Docker listens unless it was said otherwise.
const DOCKER_HOST: &str = "unix:///var/run/docker.sock";
const IMAGE: &str = "busybox";

#[derive(Debug)]
pub(super) struct House {
    args: DemoArgs,
    dir: PathBuf,
    program: PathBuf,
    daemon: Option<Child>,
    /// Known once a cluster was founded.
    node: Option<NodeId>,
    cleared: bool,
}

impl House {
    /// Makes the directory, and finds out whether tasks can be started here at all.
    ///
    /// # Errors
    /// The sandbox or the engine cannot be used; the failure says why and what to do.
    pub(super) async fn build(args: DemoArgs) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::new(Code::Other, format!("cannot find this program: {error}"))
        })?;
        let dir = directory()?;
        let house = Self { args, dir, program, daemon: None, node: None, cleared: false };
        match house.args.runtime {
            DemoRuntime::Process => house.check_sandbox().await?,
            DemoRuntime::Docker => house.check_engine().await?,
        }
        Ok(house)
    }

    pub(super) fn image(&self) -> &str {
        self.args.image.as_deref().unwrap_or(IMAGE)
    }

    fn docker_host(&self) -> String {
        let from_env = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        self.args.docker_host.clone().or_else(from_env).unwrap_or_else(|| DOCKER_HOST.to_owned())
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    fn sandbox(&self) -> Result<ProcessRuntime, Failure> {
        let options = Options {
            run_dir: self.run_dir(),
            program: self.program.clone(),
            hide: vec![self.dir.join("data"), self.dir.join("data.key")],
        };
        ProcessRuntime::new(options)
            .map_err(|error| Failure::new(Code::Other, chain(&error).to_string()))
    }

    async fn check_sandbox(&self) -> Result<(), Failure> {
        self.sandbox()?.check().await.map_err(|error| {
            Failure::new(Code::NotReady, chain(&error).to_string())
                .hint("as root, with a Docker Engine: secretctl demo --runtime docker")
        })
    }

    async fn check_engine(&self) -> Result<(), Failure> {
        let (host, image) = (self.docker_host(), self.image());
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::new(
                Code::Denied,
                "the docker runtime keeps secrets on a tmpfs that only root may mount",
            )
            .hint("run this as root, or leave --runtime docker away"));
        }
        let away = |error: bollard::errors::Error| {
            Failure::new(Code::NotReady, format!("no Docker Engine answers at {host}: {error}"))
                .hint("start it, name it with --docker-host, or leave --runtime docker away")
        };
        let docker = bollard::Docker::connect_with_host(&host).map_err(away)?;
        docker.version().await.map_err(away)?;
        match docker.inspect_image(image).await {
            Ok(_) => Ok(()),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                Err(Failure::new(Code::NotFound, format!("the engine has no image '{image}'")).hint(
                    "make one from Debian's package busybox-static: mkdir -p b/bin && cp /bin/busybox b/bin && \
                     for c in sh ls cat wc sleep sha256sum; do ln -s busybox b/bin/$c; done && \
                     tar -C b -c . | docker import - busybox; or name another with --image",
                ))
            }
            Err(error) => Err(away(error)),
        }
    }

    /// Writes a file below the directory.
    pub(super) fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let path = self.dir.join(path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
            fs::write(&path, text)
        };
        write().map_err(|error| cannot("write", &path, &error))
    }

    /// Starts the daemon and waits until it listens.
    pub(super) async fn open(&mut self) -> Result<Stage, Failure> {
        let socket = self.run_dir().join("secretd.sock");
        let stage = Stage {
            program: self.program.clone(),
            dir: self.dir.clone(),
            host: format!("unix://{}", socket.display()),
            image: self.image().to_owned(),
        };
        let mut flags: Vec<String> = [
            ("--data-dir", self.dir.join("data")),
            ("--run-dir", self.run_dir()),
            ("--key-file", self.dir.join("data.key")),
        ]
        .iter()
        .flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()])
        .collect();
        flags.extend(["--runtime".to_owned(), self.args.runtime.flag().to_owned()]);
        if self.args.runtime == DemoRuntime::Docker {
            flags.extend(["--docker-host".to_owned(), self.docker_host()]);
        }
        stage.say(
            "Start a node. Everything it keeps lies in one directory, which goes at the end:",
        )?;
        stage.show(&format!("cd {}", quoted(&self.dir.display().to_string())))?;
        let typed: Vec<String> = flags.iter().map(|flag| quoted(flag)).collect();
        stage.show(&format!("secretd {} &", typed.join(" ")))?;
        stage.show(&format!("export SECRETD_HOST={}", quoted(&stage.host)))?;
        if stage.image != IMAGE {
            stage.show(&format!("export NERD_DINNER_IMAGE={}", quoted(&stage.image)))?;
        }

        let log = self.dir.join("secretd.log");
        let file = File::create(&log).map_err(|error| cannot("write", &log, &error))?;
        let mut command = Command::new(&self.program);
        command
            .arg(crate::ctl::DAEMON)
            .args(&flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        // A group of its own: Ctrl-C is for us, and we take the daemon down in order.
        command.process_group(0);
        for (key, _) in std::env::vars_os() {
            let secretd = key.to_str().is_some_and(|key| key.starts_with("SECRETD_"));
            if secretd || key == "NOTIFY_SOCKET" {
                command.env_remove(key);
            }
        }
        let child = command.spawn().map_err(|error| {
            Failure::new(Code::Other, format!("cannot start the daemon: {error}"))
        })?;
        self.daemon = Some(child);
        self.until_it_listens(&stage.host, &log).await?;
        Ok(stage)
    }

    async fn until_it_listens(&mut self, host: &str, log: &Path) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        loop {
            if Client::connect(host).await.is_ok() {
                return Ok(());
            }
            let ended = self.daemon.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_none() && Instant::now() < deadline {
                sleep(PACE).await;
                continue;
            }
            let what = match ended {
                Some(status) => format!("the daemon ended at once ({status})"),
                None => format!("the daemon did not listen within {} s", START.as_secs()),
            };
            let text = fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(10).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            return Err(Failure::new(Code::NotReady, format!("{what}\n{}", tail.join("\n"))));
        }
    }

    /// Takes everything away: services and their tasks, the daemon, mounts, files; then looks whether it is true.
    ///
    /// # Errors
    /// What could not be taken away, by name.
    pub(super) async fn clear(&mut self) -> Result<(), Failure> {
        // Whether anybody still reads along must not matter here.
        output::line("\n# Clear up: end all tasks, stop the node, remove its directory").ok();
        if self.daemon.is_some() {
            // Best in order; what that leaves is taken by force below.
            if let Ok(Err(failure)) = timeout(END, self.end_tasks()).await {
                output::failure(&failure);
            }
            self.stop_daemon().await;
        }
        self.remove_leftovers().await;
        self.remove_directory()?;
        self.cleared = true;
        output::line("Nothing is left: no process, no mount, no file.")
    }

    async fn end_tasks(&mut self) -> Result<(), Failure> {
        let host = format!("unix://{}", self.run_dir().join("secretd.sock").display());
        let client = Client::connect(&host).await?.with_patience(Duration::from_secs(5));
        let status = client.status().await?;
        self.node = status.node_id.parse().ok();
        if self.node.is_none() {
            // No cluster was founded yet, so there is nothing to end.
            return Ok(());
        }
        for summary in client.list_services(&Filters::default()).await? {
            client.remove_service(summary.service.id.as_str()).await?;
        }
        for kind in [Kind::Secret, Kind::Config] {
            for object in client.list_objects(kind, &Filters::default()).await? {
                client.remove_object(kind, object.id.as_str()).await?;
            }
        }
        while !client.list_tasks(&Filters::default()).await?.is_empty() || self.holds_tasks().await
        {
            sleep(PACE).await;
        }
        Ok(())
    }

    /// Whether the runtime still has something of ours.
    async fn holds_tasks(&self) -> bool {
        match self.runtime() {
            Some(runtime) => runtime.held().await.is_ok_and(|held| !held.is_empty()),
            None => false,
        }
    }

    /// The runtime seen from outside, without the daemon.
    fn runtime(&self) -> Option<Box<dyn Runtime>> {
        match self.args.runtime {
            DemoRuntime::Process => Some(Box::new(self.sandbox().ok()?)),
            DemoRuntime::Docker => {
                let place = Place::open(&self.run_dir()).ok()?;
                Some(Box::new(DockerRuntime::new(&self.docker_host(), self.node?, place)))
            }
        }
    }

    async fn stop_daemon(&mut self) {
        let Some(mut child) = self.daemon.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            kill_process(pid, Signal::TERM).ok();
        }
        let deadline = Instant::now() + DRAIN;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                child.kill().ok();
                child.wait().ok();
                return;
            }
            sleep(PACE).await;
        }
    }

    /// Removes what outlived the daemon: it lets tasks run on, by design.
    async fn remove_leftovers(&self) {
        if !self.run_dir().exists() {
            return;
        }
        let Some(runtime) = self.runtime() else { return };
        for held in runtime.held().await.unwrap_or_default() {
            runtime.remove(held.task).await.ok();
        }
    }

    fn remove_directory(&self) -> Result<(), Failure> {
        for mount in mounts_below(&self.dir) {
            match unmount(&mount, UnmountFlags::DETACH) {
                // Not a mount any more, or one that went with another.
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(cannot("unmount", &mount, &error.into())),
            }
        }
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot("remove", &self.dir, &error))
            }
            _ => Ok(()),
        }
    }
}

/// For a panic, or a failure before the stage was set: by force, without words.
impl Drop for House {
    fn drop(&mut self) {
        if self.cleared {
            return;
        }
        if let Some(mut child) = self.daemon.take() {
            child.kill().ok();
            child.wait().ok();
        }
        // A runtime of its own: this one may be the reason why we are here.
        std::thread::scope(|scope| {
            let remove = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                if let Ok(runtime) = runtime {
                    runtime.block_on(self.remove_leftovers());
                }
            };
            scope.spawn(remove).join().ok();
        });
        self.remove_directory().ok();
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Other, format!("cannot {what} {}: {error}", path.display()))
}

/// A directory of our own with a name short enough for a socket below it.
fn directory() -> Result<PathBuf, Failure> {
    let temp = std::env::temp_dir();
    let base = if temp.as_os_str().len() <= LONGEST_BASE { temp } else { PathBuf::from("/tmp") };
    let tag = NodeId::random().as_str()[..8].to_owned();
    let dir = base.join(format!("secretd-demo-{tag}"));
    DirBuilder::new().mode(0o700).create(&dir).map_err(|error| cannot("make", &dir, &error))?;
    Ok(dir)
}

/// A port on the loopback that nobody uses now.
pub(super) fn free_address() -> Result<String, Failure> {
    let found = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    found
        .map(|address| address.to_string())
        .map_err(|error| Failure::new(Code::Other, format!("cannot find a free port: {error}")))
}

/// Mount points below `dir`, the deepest first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        // Blanks are written as \040; our names have none.
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(dir))
        .collect();
    found.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_ours_alone_and_its_name_is_short() {
        use std::os::unix::fs::PermissionsExt;
        let dir = directory().unwrap();
        assert!(dir.join("run/secretd.sock").as_os_str().len() < 107);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn nothing_is_mounted_below_a_directory_that_is_not_there() {
        assert_eq!(mounts_below(Path::new("/nowhere")), Vec::<PathBuf>::new());
        assert!(!mounts_below(Path::new("/proc")).is_empty());
    }
}
