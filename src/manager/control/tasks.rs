//! Lists of tasks.

use super::{
    ControlService,
    lists::{Cut, cut, filters},
};
use crate::wire::v1;
use tonic::Status;

impl ControlService {
    pub(super) async fn tasks(
        &self,
        request: v1::ListTasksRequest,
    ) -> Result<v1::ListTasksResponse, Status> {
        let v1::ListTasksRequest { filters: wanted, page } = request;
        let all = self.newest().await?.list_tasks(&filters(wanted))?;
        let Cut { entries, next } = cut(&all, page, |t| t.id.as_str(), |t| t.as_ref().into())?;
        Ok(v1::ListTasksResponse { tasks: entries, next })
    }
}
