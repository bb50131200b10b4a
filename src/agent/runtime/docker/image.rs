//! Images: found or pulled, and asked who their users are without running anything from them.

use super::{
    engine::{Engine, status},
    labels,
    tar::{Entry, first_entry},
    users::Users,
};
use crate::{agent::runtime::RuntimeError, kit::id::NodeId};
use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptions, CreateImageOptions, DownloadFromContainerOptions,
        RemoveContainerOptions,
    },
};
use futures::StreamExt;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

/// What we need to know of an image that is here.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// `sha256:…`: names the content, so what was read from it stays true.
    pub(super) id: String,
    /// `USER`; empty for root.
    pub(super) user: String,
}

/// Longest `/etc/passwd` or `/etc/group` we read, in bytes.
const USERS_FILE: usize = 1024 * 1024;
/// Links followed on the way to one file, as many as a careful system uses.
const LINKS: usize = 8;
/// Images whose users are remembered.
const REMEMBERED: usize = 64;

/// Remembers the users of images.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<String, Arc<Users>>>);

/// Finds the image on this node, or pulls it.
pub(super) async fn find_or_pull(
    engine: &Engine,
    docker: &Docker,
    name: &str,
) -> Result<Image, RuntimeError> {
    if !is_reference(name) {
        return Err(RuntimeError::Rejected(format!("invalid image name '{name}'")));
    }
    if let Some(image) = find(engine, docker, name).await? {
        return Ok(image);
    }
    tracing::info!(image = name, "pulling");
    let why = match pull(docker, name).await {
        Ok(()) => match find(engine, docker, name).await? {
            Some(image) => return Ok(image),
            None => "it is not there after pulling".to_owned(),
        },
        Err(error) => match engine.explain(error) {
            RuntimeError::Rejected(why) | RuntimeError::Other(why) => why,
            gone @ (RuntimeError::Unreachable(_) | RuntimeError::Gone) => return Err(gone),
        },
    };
    Err(RuntimeError::Rejected(format!(
        "No such image: {name}; it is not on this node and cannot be pulled ({why}); load it here, or correct the name"
    )))
}

async fn find(engine: &Engine, docker: &Docker, name: &str) -> Result<Option<Image>, RuntimeError> {
    match docker.inspect_image(name).await {
        Ok(found) => Ok(Some(Image {
            id: found.id.unwrap_or_default(),
            user: found.config.and_then(|c| c.user).unwrap_or_default(),
        })),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(engine.explain(error)),
    }
}

async fn pull(docker: &Docker, name: &str) -> Result<(), bollard::errors::Error> {
    let options = CreateImageOptions { from_image: Some(tagged(name)), ..Default::default() };
    let mut progress = std::pin::pin!(docker.create_image(Some(options), None, None));
    while let Some(step) = progress.next().await {
        step?;
    }
    Ok(())
}

/// Without a tag the engine would pull every one there is.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

/// Whether the text can be part of a path in the engine's API and mean an image there.
fn is_reference(name: &str) -> bool {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    name.bytes().all(plain)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && !name.contains("..")
        && !name.contains("//")
        && !name.ends_with('/')
}

impl Known {
    /// Returns the users of the image, read through a container that is made for it and never started.
    pub(super) async fn users(
        &self,
        engine: &Engine,
        docker: &Docker,
        node: NodeId,
        image: &Image,
    ) -> Result<Arc<Users>, RuntimeError> {
        if let Some(users) = self.0.lock().expect("no panic while held").get(&image.id) {
            return Ok(Arc::clone(users));
        }
        let probe = labels::probe_name();
        let body = ContainerCreateBody {
            image: Some(image.id.clone()),
            entrypoint: Some(vec!["/never-started".to_owned()]),
            network_disabled: Some(true),
            labels: Some(HashMap::from([
                (labels::NODE.to_owned(), node.to_string()),
                (labels::PROBE.to_owned(), String::new()),
            ])),
            ..Default::default()
        };
        let options = CreateContainerOptions { name: Some(probe.clone()), ..Default::default() };
        docker.create_container(Some(options), body).await.map_err(|e| engine.explain(e))?;
        let read = async {
            let passwd = read_file(engine, docker, &probe, "/etc/passwd").await?;
            let group = read_file(engine, docker, &probe, "/etc/group").await?;
            Ok(Arc::new(Users::parse(&passwd.unwrap_or_default(), &group.unwrap_or_default())))
        };
        let users = read.await;
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        if let Err(error) = docker.remove_container(&probe, Some(options)).await {
            tracing::warn!(probe, error = %engine.explain(error), "left for the next start to remove");
        }
        let users = users?;
        let mut known = self.0.lock().expect("no panic while held");
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(image.id.clone(), Arc::clone(&users));
        Ok(users)
    }
}

/// Reads a file of a container that does not run; `None` if there is none. The engine resolves every path within
/// the container's root, and hands over a link as a link, so nothing leads outside.
async fn read_file(
    engine: &Engine,
    docker: &Docker,
    container: &str,
    path: &str,
) -> Result<Option<Vec<u8>>, RuntimeError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let options = DownloadFromContainerOptions { path: path.clone() };
        let mut parts = std::pin::pin!(docker.download_from_container(container, Some(options)));
        let mut tar = Vec::new();
        while let Some(part) = parts.next().await {
            match part {
                Ok(part) => tar.extend_from_slice(&part),
                Err(error) if status(&error) == Some(404) => return Ok(None),
                Err(error) => return Err(engine.explain(error)),
            }
            if tar.len() > USERS_FILE {
                return Err(RuntimeError::Rejected(format!(
                    "cannot look up users in the image: {path} is larger than {USERS_FILE} bytes"
                )));
            }
        }
        match first_entry(&tar) {
            Ok(Entry::File(body)) => return Ok(Some(body)),
            Ok(Entry::Link(to)) => path = follow(&path, &to),
            Ok(Entry::Other) => return Ok(None),
            Err(bad) => {
                return Err(RuntimeError::Rejected(format!(
                    "cannot look up users in the image: {path}: {bad}"
                )));
            }
        }
    }
    Err(RuntimeError::Rejected(format!(
        "cannot look up users in the image: too many links at {path}"
    )))
}

/// Where a link at `path` leads.
fn follow(path: &str, to: &str) -> String {
    if to.starts_with('/') {
        return to.to_owned();
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{parent}/{to}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_tag_means_latest() {
        assert_eq!(tagged("a/b"), "a/b:latest");
        assert_eq!(tagged("host:5000/b"), "host:5000/b:latest");
        assert_eq!(tagged("a:1"), "a:1");
        assert_eq!(tagged("a@sha256:00"), "a@sha256:00");
    }

    #[test]
    fn a_name_that_would_bend_the_request_is_refused() {
        for bad in ["", "a?b", "a/../b", "a b", "/a", "a//b", "a#b", "a%2fb", "a/", "é"] {
            assert!(!is_reference(bad), "{bad}");
        }
        assert!(is_reference("reg.example:5000/a/b_c:1.2-3"));
    }

    #[test]
    fn links_are_followed_as_the_kernel_would() {
        assert_eq!(follow("/etc/passwd", "../usr/passwd"), "/etc/../usr/passwd");
        assert_eq!(follow("/etc/passwd", "/usr/passwd"), "/usr/passwd");
        assert_eq!(follow("/etc/passwd", "pw"), "/etc/pw");
    }
}
