//! Answers that go on: a service being watched, the output of its tasks.

use super::{Client, ClientError, objects::id};
use crate::{
    kit::id::TaskId,
    model::{service::Service, task::Task},
    wire::v1,
};
use std::collections::BTreeMap;
use tonic::Streaming;

/// A service with its tasks as they change. Once begun it has to be begun again by the caller if it breaks.
#[derive(Debug)]
pub struct ServiceWatch {
    client: Client,
    stream: Streaming<v1::WatchServiceResponse>,
    seen: Seen,
}

/// What is known of a watched service now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Unset before the first message only.
    pub service: Option<Service>,
    /// All its tasks that are not forgotten, by id.
    pub tasks: BTreeMap<TaskId, Task>,
}

impl ServiceWatch {
    /// Waits for the next change and returns everything that is known then; nothing if the service is gone.
    ///
    /// # Errors
    /// The connection broke, or the manager leads no longer.
    pub async fn next(&mut self) -> Result<Option<&Seen>, ClientError> {
        let message = self.stream.message().await.map_err(|s| self.client.failed(&s))?;
        let Some(v1::WatchServiceResponse { service, tasks, gone_task_ids, gone }) = message else {
            return Ok(None);
        };
        if gone {
            return Ok(None);
        }
        if let Some(service) = service {
            self.seen.service = Some(service.try_into()?);
        }
        for task in tasks {
            let task = Task::try_from(task)?;
            self.seen.tasks.insert(task.id, task);
        }
        for text in gone_task_ids {
            self.seen.tasks.remove(&id(&text)?);
        }
        Ok(Some(&self.seen))
    }
}

/// Lines of tasks as they come.
#[derive(Debug)]
pub struct LogStream {
    client: Client,
    stream: Streaming<v1::ServiceLogsResponse>,
}

impl LogStream {
    /// Waits for the next lines; nothing at the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<v1::ServiceLogsResponse>, ClientError> {
        self.stream.message().await.map_err(|status| self.client.failed(&status))
    }
}

impl Client {
    /// Watches a service and its tasks.
    ///
    /// # Errors
    /// There is no such service.
    pub async fn watch_service(&self, reference: &str) -> Result<ServiceWatch, ClientError> {
        let request = v1::WatchServiceRequest { reference: reference.to_owned() };
        let send = |mut c: super::objects::Control, r| async move { c.watch_service(r).await };
        let stream = self.call(request, send).await?;
        Ok(ServiceWatch { client: self.clone(), stream, seen: Seen::default() })
    }

    /// Reads what the tasks of a service (or one task) wrote.
    ///
    /// # Errors
    /// There is no such service or task.
    pub async fn logs(
        &self,
        reference: &str,
        options: v1::LogOptions,
    ) -> Result<LogStream, ClientError> {
        let request =
            v1::ServiceLogsRequest { reference: reference.to_owned(), options: Some(options) };
        let send = |mut c: super::objects::Control, r| async move { c.service_logs(r).await };
        Ok(LogStream { client: self.clone(), stream: self.call(request, send).await? })
    }
}
