//! The operators' Unix socket: where it lies, and the gate every call passes.

use super::operators::{GROUP, authorise, group_id};
use crate::wire::status::status;
use futures::{FutureExt as _, future::BoxFuture};
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    task::{Context, Poll},
};
use tokio::net::UnixListener;
use tonic::{Code, Status, body::Body, transport::server::UdsConnectInfo};
use tower::{Layer, Service};
use tracing::Instrument as _;

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another secretd answers on {}", .0.display())]
    Taken(PathBuf),
    #[error("cannot listen on {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Makes the run directory if need be (0711) and listens in it; for group `secretd` if this machine has it (0660).
    ///
    /// # Errors
    /// Another daemon answers there, or the directory cannot be used.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let io = |source| SocketError::Io { path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o711).create(dir).map_err(io)?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(SocketError::Taken(path.to_owned()));
        }
        // Bound under another name first, so that nobody finds it before its mode is right.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(io)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600)).map_err(io)?;
        if let Some(group) = group_id() {
            match chown(&fresh, None, Some(group)) {
                Ok(()) => fs::set_permissions(&fresh, Permissions::from_mode(0o660)).map_err(io)?,
                Err(error) => tracing::warn!(%error, "cannot give the socket to group {GROUP}"),
            }
        }
        fs::rename(&fresh, path).map_err(io)?;
        Ok((Self { path: path.to_owned() }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket's file was gone already");
        }
    }
}

/// Lets only operators through, judged by the credentials of this very connection.
#[derive(Debug, Clone)]
pub struct Gate {
    own_uid: u32,
}

impl Gate {
    pub fn new() -> Self {
        Self { own_uid: rustix::process::geteuid().as_raw() }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;
    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

#[derive(Debug, Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures::future::Either<
        BoxFuture<'static, Result<S::Response, S::Error>>,
        std::future::Ready<Result<S::Response, S::Error>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let operator = caller.as_ref().and_then(|caller| authorise(caller, self.gate.own_uid));
        if let Some(operator) = operator {
            // At the level of errors, so that no filter takes the name of who asked from a line that it lets through.
            let span = tracing::error_span!("operator", uid = operator.uid);
            let call = changes(request.uri().path()).map(str::to_owned);
            request.extensions_mut().insert(operator);
            let answer = {
                let _here = span.enter();
                self.inner.call(request)
            };
            let told = async move {
                let answer = answer.await;
                if let (Some(call), Ok(answer)) = (call, &answer) {
                    match Status::from_header_map(answer.headers()).map(|status| status.code()) {
                        None | Some(Code::Ok) => tracing::info!(call, "an operator's order"),
                        Some(code) => {
                            tracing::info!(call, ?code, "an operator's order was refused");
                        }
                    }
                }
                answer
            };
            return futures::future::Either::Left(told.instrument(span).boxed());
        }
        let uid = caller.map_or_else(|| "unknown".to_owned(), |caller| caller.uid().to_string());
        tracing::warn!(uid, path = request.uri().path(), "refused a caller who is no operator");
        let refused = status(
            Code::PermissionDenied,
            format!("user {uid} may not operate secretd"),
            Some(format!("use root, or add the user to group {GROUP} and log in again")),
        );
        futures::future::Either::Right(std::future::ready(Ok(refused.into_http())))
    }
}

/// The name of a call that may change something: all but those that only look.
fn changes(path: &str) -> Option<&str> {
    let call = path.rsplit('/').next()?;
    let looks = ["Get", "List", "Watch", "Status", "ServiceLogs", "Verify"];
    (!looks.iter().any(|look| call.starts_with(look))).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/s.sock");
        let (socket, listener) = Socket::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::Taken(_))));
        drop(listener);
        let (_second, _listener) = Socket::bind(&path).unwrap();
        drop(socket);
    }

    #[test]
    fn calls_that_only_look_are_told_from_those_that_change() {
        for call in
            ["GetNode", "ListTasks", "WatchService", "ServiceLogs", "Status", "VerifyBackup"]
        {
            assert_eq!(changes(&format!("/secretd.v1.Control/{call}")), None);
        }
        for call in ["CreateObject", "SetNodeRole", "RemoveService", "Init", "CreateBackup"] {
            assert_eq!(changes(&format!("/secretd.v1.Node/{call}")), Some(call));
        }
    }

    #[tokio::test]
    async fn others_cannot_open_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let (_socket, _listener) = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
    }
}
