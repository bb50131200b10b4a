//! Three members of etcd with TLS towards clients and each other, and a client that puts.

use super::load::Client;
use crate::common;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// `etcdserverpb.PutRequest`, as much of it as we need; so are the others.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(int64, tag = "4")]
    count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

pub(crate) struct Etcd {
    dir: tempfile::TempDir,
    commands: Vec<Command>,
    members: Vec<Child>,
    tls: Arc<ClientConfig>,
    /// Ports of each member: with TLS, without.
    ports: Vec<(u16, u16)>,
}

pub(crate) struct Putter(Grpc<Channel>);

async fn call<T, R>(grpc: &mut Grpc<Channel>, path: &'static str, message: T) -> Option<R>
where
    T: prost::Message + 'static,
    R: prost::Message + Default + 'static,
{
    grpc.ready().await.ok()?;
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(Request::new(message), path, ProstCodec::<T, R>::default()).await;
    answer.ok().map(tonic::Response::into_inner)
}

impl Client for Putter {
    fn write(&mut self, name: String, bytes: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let put = PutRequest { key: name.into_bytes(), value: vec![0x5a; bytes] };
            let PutResponse {} =
                call(&mut self.0, "/etcdserverpb.KV/Put", put).await.expect("etcd stores it");
        })
    }
}

impl Etcd {
    /// So many members; nothing if etcd is not installed.
    pub(crate) fn start(count: usize) -> Option<Self> {
        Command::new("etcd").arg("--version").stdout(Stdio::null()).status().ok()?;
        let dir = common::directory();
        let tls = certificates(dir.path());
        let ports: Vec<[u16; 3]> = (0..count).map(|_| free_ports()).collect();
        let peers: Vec<_> =
            (0..count).map(|n| format!("m{n}=https://127.0.0.1:{}", ports[n][2])).collect();
        let mut commands = Vec::new();
        for (n, [secure, plain, peer]) in ports.iter().enumerate() {
            let clients = format!("https://127.0.0.1:{secure},http://127.0.0.1:{plain}");
            let peer = format!("https://127.0.0.1:{peer}");
            let [ca, cert, key] =
                ["ca.pem", "cert.pem", "key.pem"].map(|name| dir.path().join(name));
            let mut command = Command::new("etcd");
            command.args(["--name", &format!("m{n}"), "--log-level", "error", "--logger", "zap"]);
            // A gibibyte of values and more is beyond its default of 2 GiB while old revisions are kept.
            command.args(["--quota-backend-bytes", "8589934592"]);
            command.arg("--data-dir").arg(dir.path().join(format!("m{n}")));
            command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &peers.join(",")]);
            for kind in ["", "peer-"] {
                command.arg(format!("--{kind}client-cert-auth"));
                command.arg(format!("--{kind}trusted-ca-file")).arg(&ca);
                command.arg(format!("--{kind}cert-file")).arg(&cert);
                command.arg(format!("--{kind}key-file")).arg(&key);
            }
            let log = std::fs::File::create(dir.path().join(format!("log{n}"))).unwrap();
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            commands.push(command);
        }
        let ports = ports.into_iter().map(|[secure, plain, _]| (secure, plain)).collect();
        let mut etcd = Self { dir, commands, members: Vec::new(), tls, ports };
        etcd.spawn();
        Some(etcd)
    }

    /// Starts all members, for the first time or after [`Etcd::kill`], and does not wait.
    pub(crate) fn spawn(&mut self) {
        self.members = self.commands.iter_mut().map(|command| command.spawn().unwrap()).collect();
    }

    pub(crate) fn kill(&mut self) {
        for mut member in self.members.drain(..) {
            member.kill().unwrap();
            member.wait().unwrap();
        }
    }

    /// Whether the first member reads this key, confirmed by a majority.
    pub(crate) async fn has(&self, key: &str) -> bool {
        let Some(mut grpc) = self.try_connect(0, true).await else { return false };
        let range = RangeRequest { key: key.as_bytes().to_vec() };
        let found: Option<RangeResponse> = call(&mut grpc, "/etcdserverpb.KV/Range", range).await;
        found.is_some_and(|found| found.count == 1)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The member that leads, once there is one.
    pub(crate) async fn leader(&self) -> usize {
        for _ in 0..1000 {
            for n in 0..self.ports.len() {
                let Some(mut grpc) = self.try_connect(n, true).await else { continue };
                let path = "/etcdserverpb.Maintenance/Status";
                let status: Option<StatusResponse> = call(&mut grpc, path, StatusRequest {}).await;
                let Some(StatusResponse { header: Some(header), leader }) = status else {
                    continue;
                };
                if leader != 0 && leader == header.member_id {
                    return n;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("etcd has no leader; its log is in {}", self.dir.path().display());
    }

    /// Clients of one member, over TLS or without.
    pub(crate) async fn clients(&self, member: usize, count: usize, secure: bool) -> Vec<Putter> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Putter(self.try_connect(member, secure).await.expect("etcd answers")));
        }
        all
    }

    async fn try_connect(&self, member: usize, secure: bool) -> Option<Grpc<Channel>> {
        let (tls_port, plain_port) = self.ports[member];
        let endpoint = Endpoint::from_static("http://localhost");
        let tls = self.tls.clone();
        let channel = if secure {
            let dial = move |_| {
                let tls = TlsConnector::from(tls.clone());
                async move {
                    let tcp = TcpStream::connect(("127.0.0.1", tls_port)).await?;
                    tcp.set_nodelay(true)?;
                    let name = ServerName::try_from("localhost").expect("a name");
                    tls.connect(name, tcp).await.map(TokioIo::new)
                }
            };
            endpoint.connect_with_connector(tower::service_fn(dial)).await
        } else {
            let dial = move |_| async move {
                let tcp = TcpStream::connect(("127.0.0.1", plain_port)).await?;
                tcp.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(tcp))
            };
            endpoint.connect_with_connector(tower::service_fn(dial)).await
        };
        channel.ok().map(Grpc::new)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that are free now; held together, so that they differ.
fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// One CA and one certificate for all, in files; and what a client shows and trusts.
fn certificates(dir: &Path) -> Arc<ClientConfig> {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.signed_by(&key, &issuer).unwrap();
    for (name, text) in
        [("ca.pem", ca.pem()), ("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
