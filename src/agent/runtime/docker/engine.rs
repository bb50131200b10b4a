//! The connection to the engine: made when first needed, made again when it broke, and its errors in our words.

use super::users::Ids;
use crate::{agent::runtime::RuntimeError, kit::chain::chain};
use bollard::{Docker, errors::Error, models::SystemInfo};
use std::{sync::Mutex, time::Duration};

/// Where Docker listens unless told otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The oldest Engine API we speak: Docker 20.10.
const OLDEST_API: (usize, usize) = (1, 41);

/// How long the engine may take to begin an answer; pulling and stopping have their own.
const ANSWER: Duration = Duration::from_secs(60);

/// One engine, reachable or not.
#[derive(Debug)]
pub(super) struct Engine {
    host: String,
    /// The client once the API version is settled.
    ready: Mutex<Option<Docker>>,
    /// What the engine adds to the ids of its containers' users: with `userns-remap`, root in a container is
    /// somebody else on the host.
    shift: Mutex<Ids>,
}

impl Engine {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), ready: Mutex::new(None), shift: Mutex::new(NO_SHIFT) }
    }

    /// The ids on the host of what a container knows under these.
    pub(super) fn on_host(&self, ids: Ids) -> Ids {
        let shift = *self.shift.lock().expect("no panic while held");
        Ids { uid: ids.uid.saturating_add(shift.uid), gid: ids.gid.saturating_add(shift.gid) }
    }

    /// Returns a client that speaks a version of the API the engine knows.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] when nobody answers, [`RuntimeError::Other`] for an address or an engine we
    /// cannot work with.
    pub(super) async fn client(&self) -> Result<Docker, RuntimeError> {
        let ready = self.ready.lock().expect("no panic while held").clone();
        if let Some(docker) = ready {
            return Ok(docker);
        }
        let docker = Docker::connect_with_host(&self.host).map_err(|e| self.explain(e))?;
        let docker =
            docker.with_timeout(ANSWER).negotiate_version().await.map_err(|e| self.explain(e))?;
        let version = docker.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(RuntimeError::Other(format!(
                "the Docker Engine at {} speaks API {}.{}, and we need {}.{} (Docker 20.10) or later",
                self.host, version.major_version, version.minor_version, OLDEST_API.0, OLDEST_API.1
            )));
        }
        let info = docker.info().await.map_err(|e| self.explain(e))?;
        *self.shift.lock().expect("no panic while held") = shift(&info);
        *self.ready.lock().expect("no panic while held") = Some(docker.clone());
        Ok(docker)
    }

    /// Says what an error of the client means. After one of the connection, the API version is settled anew:
    /// the engine that comes back may be another.
    pub(super) fn explain(&self, error: Error) -> RuntimeError {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                if message.contains("client version") {
                    self.forget();
                }
                match status_code {
                    400..=499 => RuntimeError::Rejected(message),
                    _ => RuntimeError::Other(message),
                }
            }
            Error::DockerStreamError { error } => RuntimeError::Other(error),
            error @ (Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. }
            | Error::RequestTimeoutError
            | Error::SocketNotFoundError(_)) => {
                self.forget();
                let hint = if self.host == DEFAULT_HOST {
                    "is it running (systemctl status docker), and may this user use its socket?"
                } else {
                    "is it running, and is the address right?"
                };
                RuntimeError::Unreachable(format!("{}: {}; {hint}", self.host, chain(&error)))
            }
            Error::UnsupportedURISchemeError { uri } => RuntimeError::Other(format!(
                "cannot reach a Docker Engine at '{uri}': only unix:// and tcp:// are supported"
            )),
            other => RuntimeError::Other(chain(&other).to_string()),
        }
    }

    fn forget(&self) {
        *self.ready.lock().expect("no panic while held") = None;
    }
}

const NO_SHIFT: Ids = Ids { uid: 0, gid: 0 };

/// An engine with `userns-remap` keeps everything in a directory named after what it adds: `…/165536.165536`.
fn shift(info: &SystemInfo) -> Ids {
    let remapped = info
        .security_options
        .iter()
        .flatten()
        .any(|option| option.split(',').any(|part| part == "name=userns"));
    let named = || {
        let (uid, gid) = info.docker_root_dir.as_deref()?.rsplit('/').next()?.split_once('.')?;
        Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    };
    if remapped { named().unwrap_or(NO_SHIFT) } else { NO_SHIFT }
}

/// The HTTP status of the engine's refusal, if it is one.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_unreachable_with_its_address() {
        let engine = Engine::new("unix:///nowhere/docker.sock");
        let error = engine.client().await.unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Unreachable(why) if why.contains("/nowhere/docker.sock")),
            "{error}"
        );
    }

    #[test]
    fn ids_are_shifted_only_where_the_engine_remaps_them() {
        let info = |options: &[&str], root: &str| SystemInfo {
            security_options: Some(options.iter().map(|o| (*o).to_owned()).collect()),
            docker_root_dir: Some(root.to_owned()),
            ..SystemInfo::default()
        };
        let remapped = info(&["name=seccomp,profile=default", "name=userns"], "/d/165536.165537");
        assert_eq!(shift(&remapped), Ids { uid: 165_536, gid: 165_537 });
        assert_eq!(shift(&info(&["name=seccomp"], "/d/1.2")), NO_SHIFT);
        assert_eq!(shift(&info(&["name=userns"], "/var/lib/docker")), NO_SHIFT);
        let engine = Engine::new("unix:///x");
        *engine.shift.lock().unwrap() = shift(&remapped);
        assert_eq!(engine.on_host(Ids { uid: 1, gid: 0 }), Ids { uid: 165_537, gid: 165_537 });
    }

    #[tokio::test]
    async fn an_address_of_another_kind_is_no_engine() {
        let error = Engine::new("ssh://x").client().await.unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Other(why) if why.contains("only unix://")),
            "{error}"
        );
    }
}
