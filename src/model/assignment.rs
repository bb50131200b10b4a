//! What one node must hold, without the payloads themselves.

use super::task::{ObjectVersion, Task};
use std::{collections::BTreeSet, sync::Arc};

/// The tasks of one node and the object versions they need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    pub tasks: Vec<Arc<Task>>,
    pub payloads: BTreeSet<ObjectVersion>,
}
