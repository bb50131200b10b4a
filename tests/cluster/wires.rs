//! Wires between the nodes of a test: each node is told to the others by the address of a forwarder, which finds out who
//! calls and holds back every byte while one of the two is cut off. As on a real network, nobody is told: what was
//! sent arrives late or never.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};

/// How long nobody is looked for among the processes that call: its end of a connection is there before ours.
const CALLER: Duration = Duration::from_secs(5);

/// Between whom nothing passes: pairs, and who is cut off from all as a pair with itself.
type Cuts = BTreeSet<(usize, usize)>;

fn passes(cuts: &Cuts, from: usize, to: usize) -> bool {
    [(from, from), (to, to), (from, to), (to, from)].iter().all(|pair| !cuts.contains(pair))
}

/// All wires of a cluster. The nodes have the numbers in whose order the wires were laid.
pub(crate) struct Wires {
    /// Ends all forwarding when it goes.
    runtime: Runtime,
    cut: watch::Sender<Cuts>,
    /// Bytes that a connection carries each second, each way.
    rate: Arc<AtomicU32>,
    /// The directories by which the processes of each node are known.
    homes: Arc<Mutex<Vec<PathBuf>>>,
}

/// The wire to one node.
pub(crate) struct Wire {
    number: usize,
    addr: SocketAddr,
    homes: Arc<Mutex<Vec<PathBuf>>>,
}

impl Wires {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let rate = Arc::new(AtomicU32::new(u32::MAX));
        Self { runtime, cut: watch::Sender::default(), rate, homes: Arc::default() }
    }

    /// The wire to the next node.
    pub(crate) fn lay(&self) -> Wire {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let number = {
            let mut homes = self.homes.lock().unwrap();
            homes.push(PathBuf::new());
            homes.len() - 1
        };
        let (homes, cut) = (Arc::clone(&self.homes), self.cut.subscribe());
        let rate = Arc::clone(&self.rate);
        self.runtime.spawn(async move {
            loop {
                let Ok((caller, from)) = listener.accept().await else { continue };
                #[expect(clippy::disallowed_methods, reason = "all of them end with the runtime")]
                tokio::spawn(forward(
                    number,
                    caller,
                    from,
                    cut.clone(),
                    rate.clone(),
                    homes.clone(),
                ));
            }
        });
        Wire { number, addr, homes: Arc::clone(&self.homes) }
    }

    /// Lets nothing pass between the two, or between one and all others if it is named twice.
    pub(crate) fn cut(&self, pair: (usize, usize)) {
        self.cut.send_if_modified(|cuts| cuts.insert(pair));
    }

    pub(crate) fn slow(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    pub(crate) fn heal(&self, pair: (usize, usize)) {
        self.cut.send_if_modified(|cuts| cuts.remove(&pair));
    }
}

impl Wire {
    /// What the node tells others.
    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// The directory that stands in the command lines of the node's processes.
    pub(crate) fn from(&self, home: PathBuf) {
        self.homes.lock().unwrap()[self.number] = home;
    }
}

async fn forward(
    to: usize,
    caller: TcpStream,
    from: SocketAddr,
    mut cut: watch::Receiver<Cuts>,
    rate: Arc<AtomicU32>,
    homes: Arc<Mutex<Vec<PathBuf>>>,
) {
    let Ok(at) = caller.local_addr() else { return };
    let find = move || Some((caller_of(from, at.port(), &homes)?, homes));
    let found = tokio::task::spawn_blocking(find);
    let Some((from, homes)) = found.await.unwrap() else { return };
    let open = move |cuts: &Cuts| passes(cuts, from, to);
    if cut.wait_for(|cut| open(cut)).await.is_err() {
        return;
    }
    // Nobody listens there: to the caller it looks as if the connection had broken at once.
    let Some(target) = tokio::task::spawn_blocking(move || listener_of(to, &homes)).await.unwrap()
    else {
        return;
    };
    let Ok(called) = TcpStream::connect(target).await else { return };
    let (caller_in, caller_out) = caller.into_split();
    let (called_in, called_out) = called.into_split();
    tokio::join!(
        pump(caller_in, called_out, cut.clone(), open, &rate),
        pump(called_in, caller_out, cut, open, &rate)
    );
}

/// Moves bytes one way, but none while the wire is cut.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<Cuts>,
    open: impl Fn(&Cuts) -> bool,
    rate: &AtomicU32,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        // An end is news as well.
        if cut.wait_for(|cut| open(cut)).await.is_err() {
            return;
        }
        let rate = f64::from(rate.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate)).await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            // The other end may be gone already.
            to.shutdown().await.ok();
            return;
        }
    }
}

/// The node whose process holds the other end of a connection; nobody if it has ended meanwhile.
fn caller_of(from: SocketAddr, at: u16, homes: &Mutex<Vec<PathBuf>>) -> Option<usize> {
    let start = std::time::Instant::now();
    while start.elapsed() < CALLER {
        // A port may serve several connections; the pair of ports is one.
        let connected = sockets(CONNECTED);
        let (.., inode) = connected.into_iter().find(|(l, r, _)| (*l, *r) == (from.port(), at))?;
        let homes = homes.lock().unwrap().clone();
        let found = homes.iter().position(|home| inodes_of(home).contains(&inode));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Where a node listens.
fn listener_of(number: usize, homes: &Mutex<Vec<PathBuf>>) -> Option<SocketAddr> {
    let home = homes.lock().unwrap()[number].clone();
    let inodes = inodes_of(&home);
    let found = sockets(LISTENING).into_iter().find(|(.., inode)| inodes.contains(inode));
    found.map(|(port, ..)| SocketAddr::from(([127, 0, 0, 1], port)))
}

/// As `/proc/net/tcp` writes them.
const CONNECTED: &str = "01";
const LISTENING: &str = "0A";

/// Local port, remote port and inode of every IPv4 socket in this state.
fn sockets(wanted: &str) -> Vec<(u16, u16, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let entry = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = |at: usize| {
            let (_, port) = columns.get(at)?.split_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        let wanted = *columns.get(3)? == wanted;
        wanted.then_some((port(1)?, port(2)?, columns.get(9)?.parse().ok()?))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// The sockets of the processes in whose command line the directory stands.
fn inodes_of(home: &Path) -> BTreeSet<u64> {
    let home = home.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ours = processes.filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        !home.is_empty() && String::from_utf8_lossy(&line).contains(home)
    });
    let open = ours.filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten();
    open.filter_map(|fd| {
        let link = fs::read_link(fd.ok()?.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
    .collect()
}
