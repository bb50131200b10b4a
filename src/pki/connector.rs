//! Connects to managers: a tonic channel that reaches the very node it was made for, or nobody.

use super::{
    authority::CaDigest,
    listener::{CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW},
    peer::{Peer, dns_name},
    refusal::{TlsRefusal, in_our_words},
    stream::{Ending, of_client},
    tls::{Tls, pinned_config},
};
use crate::kit::{clock::Clock, id::NodeId};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    error, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// How long TCP and TLS together may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The address does not answer, or it is not the node we called.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {who} at {addr}")]
pub struct ConnectError {
    pub who: String,
    pub addr: String,
    #[source]
    err: Box<dyn error::Error + Send + Sync>,
}

impl ConnectError {
    fn new(who: String, addr: &str, err: tonic::transport::Error) -> Self {
        let err = match TlsRefusal::find(&err) {
            Some(refusal) => refusal.clone().into(),
            None => err.into(),
        };
        Self { who, addr: addr.to_owned(), err }
    }
}

/// The first meeting with a cluster: a channel, and the CA's certificate that the manager showed.
#[derive(Debug)]
pub struct Contact {
    pub channel: Channel,
    /// DER; its digest is the one that was pinned.
    pub ca: Vec<u8>,
}

/// Connects to manager `node` at `addr` (`host:port`); the channel reconnects by itself when the connection breaks.
///
/// Whether the manager accepts *our* certificate shows with the first call, not here.
///
/// # Errors
/// No answer within 5 s, or whoever answers does not prove to be `node`.
pub async fn connect(tls: &Tls, addr: &str, node: NodeId) -> Result<Channel, ConnectError> {
    let (endpoint, dial) = prepare(tls, addr, node);
    let connecting = endpoint.connect_with_connector(service_fn(move |_: Uri| dial.clone().dial()));
    connecting.await.map_err(|err| ConnectError::new(format!("node {node}"), addr, err))
}

/// As [`connect`], but does so with the first call: errors come from there.
pub fn channel(tls: &Tls, addr: &str, node: NodeId) -> Channel {
    let (endpoint, dial) = prepare(tls, addr, node);
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| dial.clone().dial()))
}

/// Connects, as nobody, to any manager under the pinned CA at `addr` (`host:port`).
///
/// # Errors
/// No answer within 5 s, or the pinned CA does not stand behind whoever answers.
pub async fn first_contact(
    addr: &str,
    ca: CaDigest,
    clock: &Clock,
) -> Result<Contact, ConnectError> {
    let name = ServerName::try_from("manager.internal").expect("a DNS name");
    let config = pinned_config(ca, clock);
    let dial = Dial { addr: addr.to_owned(), name, config, ours: None };
    let shown = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&shown);
    let connector = service_fn(move |_: Uri| {
        let (dial, keep) = (dial.clone(), Arc::clone(&keep));
        async move {
            let io = dial.dial().await?;
            let tls = io.inner().get_ref().get_ref().1;
            let chain = tls.peer_certificates().unwrap_or_default();
            if let Some(root) = chain.iter().find(|der| CaDigest::of(der) == ca) {
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = root.to_vec();
            }
            Ok::<_, io::Error>(io)
        }
    });
    let endpoint = endpoint("manager.internal");
    let channel = endpoint.connect_with_connector(connector).await;
    let channel =
        channel.map_err(|err| ConnectError::new("a manager of the cluster".into(), addr, err))?;
    let ca = std::mem::take(&mut *shown.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Contact { channel, ca })
}

fn prepare(tls: &Tls, addr: &str, node: NodeId) -> (Endpoint, Dial) {
    let name = dns_name(tls.cluster(), node);
    let endpoint = endpoint(&name);
    let name = ServerName::try_from(name).expect("ids make a DNS name");
    let (config, ours) = (tls.client_config(), Some(tls.clone()));
    (endpoint, Dial { addr: addr.to_owned(), name, config, ours })
}

/// "http" because tonic shall not bring its own TLS: ours can change its certificates.
fn endpoint(name: &str) -> Endpoint {
    Endpoint::from_shared(format!("http://{name}"))
        .expect("a DNS name makes a URI")
        .connect_timeout(CONNECT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

#[derive(Clone)]
struct Dial {
    addr: String,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    /// Unset at a first contact.
    ours: Option<Tls>,
}

impl Dial {
    async fn dial(self) -> io::Result<TokioIo<Ending<TlsStream<TcpStream>>>> {
        let stream = TcpStream::connect(&self.addr).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(self.config).connect(self.name, stream).await;
        let stream = stream.map_err(in_our_words)?;
        let end: Pin<Box<dyn Future<Output = &'static str> + Send>> = match self.ours {
            Some(ours) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let theirs = certificate.and_then(|der| Peer::parse(der).ok()?.issuer);
                Box::pin(of_client(ours, theirs))
            }
            None => Box::pin(std::future::pending()),
        };
        Ok(TokioIo::new(Ending::new(stream, end)))
    }
}
