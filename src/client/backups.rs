//! Backups: from the daemon into a file, and back.

use super::{Client, ClientError};
use crate::{crypto::plaintext::Plaintext, wire::v1};
use std::{
    fs::File,
    io::{self, Read as _},
    sync::{Arc, Mutex, PoisonError},
};
use tonic::Streaming;

/// Bytes sent at once: well below what a message may have.
const PIECE: usize = 256 * 1024;

/// A backup on its way here.
#[derive(Debug)]
pub struct BackupStream {
    client: Client,
    stream: Streaming<v1::CreateBackupResponse>,
}

impl BackupStream {
    /// The next bytes, with the first of them the key that was asked for; none at the end.
    ///
    /// # Errors
    /// The daemon could not go on.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, Option<Plaintext>)>, ClientError> {
        let message = self.stream.message().await.map_err(|s| self.client.failed(&s))?;
        Ok(message.map(|v1::CreateBackupResponse { data, recovery_key }| {
            (data, recovery_key.map(v1::Payload::into_plaintext))
        }))
    }
}

/// What opens a backup, and where a manager that is made of it listens.
#[derive(Debug, Default)]
pub struct Opening {
    pub keys: Vec<Plaintext>,
    pub unlocker_id: String,
    pub listen_addr: String,
    pub advertise_addr: String,
}

impl Client {
    /// Begins a backup.
    ///
    /// # Errors
    /// The node is no manager, has no leader, or nothing could open the backup.
    pub async fn create_backup(
        &self,
        passphrase: Option<&Plaintext>,
        recovery_key: bool,
    ) -> Result<BackupStream, ClientError> {
        let passphrase = passphrase.map(v1::Payload::carry);
        let request = v1::CreateBackupRequest { passphrase, recovery_key };
        let stream = self.once(self.node_service().create_backup(request)).await?;
        Ok(BackupStream { client: self.clone(), stream })
    }

    /// Has the daemon open everything in a backup.
    ///
    /// # Errors
    /// The file cannot be read, is no backup, is damaged, or does not open.
    pub async fn verify_backup(
        &self,
        file: File,
        opening: &Opening,
    ) -> Result<v1::BackupSummary, ClientError> {
        let broken = Broken::default();
        let input = pieces(file, opening, broken.clone());
        let mut service = self.node_service();
        let done = self.once(service.verify_backup(input)).await;
        broken.or(done)
    }

    /// Has the daemon, which belongs to no cluster, found that of a backup anew.
    ///
    /// # Errors
    /// As [`Client::verify_backup`]; the node belongs to a cluster; an address is wrong or taken.
    pub async fn restore_backup(
        &self,
        file: File,
        opening: &Opening,
    ) -> Result<v1::RestoreBackupResponse, ClientError> {
        let broken = Broken::default();
        let input = pieces(file, opening, broken.clone());
        let mut service = self.node_service();
        let done = self.once(service.restore_backup(input)).await;
        broken.or(done)
    }
}

/// Why a file could not be read on, if so: a stream towards the daemon has no place for it.
#[derive(Debug, Clone, Default)]
struct Broken(Arc<Mutex<Option<io::Error>>>);

impl Broken {
    fn or<T>(&self, done: Result<T, ClientError>) -> Result<T, ClientError> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(ClientError::Failed {
                message: format!("cannot read the backup: {error}"),
                hint: None,
            }),
            None => done,
        }
    }
}

fn pieces(
    file: File,
    opening: &Opening,
    broken: Broken,
) -> impl futures::Stream<Item = v1::BackupInput> + use<> {
    let Opening { keys, unlocker_id, listen_addr, advertise_addr } = opening;
    let opening = v1::BackupOpening {
        keys: keys.iter().map(v1::Payload::carry).collect(),
        unlocker_id: unlocker_id.clone(),
        listen_addr: listen_addr.clone(),
        advertise_addr: advertise_addr.clone(),
    };
    let first = v1::BackupInput { opening: Some(opening), data: Vec::new() };
    let rest = futures::stream::unfold((file, broken), |(mut file, broken)| async move {
        let mut data = vec![0; PIECE];
        match file.read(&mut data) {
            Ok(0) => None,
            Ok(read) => {
                data.truncate(read);
                Some((v1::BackupInput { opening: None, data }, (file, broken)))
            }
            Err(error) => {
                *broken.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    });
    futures::StreamExt::chain(futures::stream::iter([first]), rest)
}
