//! The labels by which we know our containers again.

/// The node whose agent made the container; an engine may serve several.
pub(super) const NODE: &str = "io.secretd.node";
/// The task's id.
pub(super) const TASK: &str = "io.secretd.task";
/// The task's short name, `<service>.<slot>`.
pub(super) const TASK_NAME: &str = "io.secretd.task.name";
pub(super) const SERVICE: &str = "io.secretd.service";
pub(super) const SERVICE_NAME: &str = "io.secretd.service.name";
/// On containers made only to look into an image.
pub(super) const PROBE: &str = "io.secretd.probe";
