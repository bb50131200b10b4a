//! Services and tasks.

use super::{
    Client, ClientError,
    objects::{Control, first_page, id, next_page, wire_filters},
};
use crate::{
    kit::id::ServiceId,
    model::{filter::Filters, service::Service, task::Task},
    wire::v1,
};

/// A service with what `service ls` shows of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSummary {
    pub service: Service,
    /// Running, and meant to.
    pub running: u64,
    /// Meant to run.
    pub desired: u64,
}

impl Client {
    /// Makes a service. References may name their objects by name alone, and leave out the target.
    ///
    /// # Errors
    /// The spec breaks a rule, the name is taken, an object does not exist.
    pub async fn create_service(
        &self,
        spec: impl Into<v1::ServiceSpec>,
    ) -> Result<ServiceId, ClientError> {
        let request =
            v1::CreateServiceRequest { request: self.request_id(), spec: Some(spec.into()) };
        let send = |mut c: Control, request| async move { c.create_service(request).await };
        id(&self.call(request, send).await?.id)
    }

    /// All services that pass the filters, by name.
    ///
    /// # Errors
    /// A filter is unknown or makes no sense.
    pub async fn list_services(
        &self,
        filters: &Filters,
    ) -> Result<Vec<ServiceSummary>, ClientError> {
        let mut all = Vec::new();
        let mut page = first_page();
        loop {
            let filters = wire_filters(filters);
            let request = v1::ListServicesRequest { filters, page: Some(page) };
            let send = |mut c: Control, request| async move { c.list_services(request).await };
            let v1::ListServicesResponse { services, next } = self.call(request, send).await?;
            for entry in services {
                let v1::ServiceEntry { service, running, desired } = entry;
                let service = service.unwrap_or_default().try_into()?;
                all.push(ServiceSummary { service, running, desired });
            }
            match next_page(next) {
                Some(next) => page = next,
                None => return Ok(all),
            }
        }
    }

    /// One service by id, name, or the beginning of its id.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn service(&self, reference: &str) -> Result<Service, ClientError> {
        let request = v1::GetServiceRequest { reference: reference.to_owned() };
        let send = |mut c: Control, request| async move { c.get_service(request).await };
        Ok(self.call(request, send).await?.try_into()?)
    }

    /// Replaces a service's spec; only if it still stands at `index`, where given.
    ///
    /// # Errors
    /// The spec breaks a rule, somebody changed the service, an object does not exist.
    pub async fn update_service(
        &self,
        reference: &str,
        index: Option<u64>,
        spec: impl Into<v1::ServiceSpec>,
    ) -> Result<Service, ClientError> {
        let request = v1::UpdateServiceRequest {
            request: self.request_id(),
            reference: reference.to_owned(),
            index,
            spec: Some(spec.into()),
        };
        let send = |mut c: Control, request| async move { c.update_service(request).await };
        Ok(self.call(request, send).await?.try_into()?)
    }

    /// Returns a service to its previous spec.
    ///
    /// # Errors
    /// There is none to return to, or somebody changed the service.
    pub async fn roll_back_service(
        &self,
        reference: &str,
        index: Option<u64>,
    ) -> Result<Service, ClientError> {
        let request = v1::RollBackServiceRequest {
            request: self.request_id(),
            reference: reference.to_owned(),
            index,
        };
        let send = |mut c: Control, request| async move { c.roll_back_service(request).await };
        Ok(self.call(request, send).await?.try_into()?)
    }

    /// Removes a service; its tasks end soon after.
    ///
    /// # Errors
    /// There is no such service.
    pub async fn remove_service(&self, reference: &str) -> Result<ServiceId, ClientError> {
        let request = v1::RemoveServiceRequest {
            request: self.request_id(),
            reference: reference.to_owned(),
        };
        let send = |mut c: Control, request| async move { c.remove_service(request).await };
        id(&self.call(request, send).await?.id)
    }

    /// All tasks that pass the filters.
    ///
    /// # Errors
    /// A filter is unknown or makes no sense.
    pub async fn list_tasks(&self, filters: &Filters) -> Result<Vec<Task>, ClientError> {
        let mut all = Vec::new();
        let mut page = first_page();
        loop {
            let request = v1::ListTasksRequest { filters: wire_filters(filters), page: Some(page) };
            let send = |mut c: Control, request| async move { c.list_tasks(request).await };
            let v1::ListTasksResponse { tasks, next } = self.call(request, send).await?;
            for task in tasks {
                all.push(task.try_into()?);
            }
            match next_page(next) {
                Some(next) => page = next,
                None => return Ok(all),
            }
        }
    }

    /// One task by id, name, or the beginning of its id.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn task(&self, reference: &str) -> Result<Task, ClientError> {
        let request = v1::GetTaskRequest { reference: reference.to_owned() };
        let send = |mut c: Control, request| async move { c.get_task(request).await };
        Ok(self.call(request, send).await?.try_into()?)
    }
}
