//! Enumerations: variant by variant, and numbers nobody knows are refused.

use super::Malformed;
use crate::{
    model::{
        cluster::Departure,
        constraint::Operator,
        node::{Availability, NodeState, Role},
        object::Kind,
        reference::OnChange,
        refusal::RefusalKind,
        service::{FailureAction, Protocol, RestartCondition, UpdateOrder, UpdateState},
        task::TaskState,
    },
    wire::v1,
};

/// An enumeration as the number that stands for it in a message.
pub trait Code: Copy {
    fn code(self) -> i32;

    /// # Errors
    /// [`Malformed`]: the number stands for nothing, or was not set.
    fn from_code(code: i32) -> Result<Self, Malformed>;
}

macro_rules! codes {
    ($($model:ident = $wire:ident { $($variant:ident,)* })*) => {$(
        impl Code for $model {
            fn code(self) -> i32 {
                match self {
                    $(Self::$variant => v1::$wire::$variant.into(),)*
                }
            }

            fn from_code(code: i32) -> Result<Self, Malformed> {
                match v1::$wire::try_from(code) {
                    $(Ok(v1::$wire::$variant) => Ok(Self::$variant),)*
                    Ok(v1::$wire::Unspecified) => Err(Malformed::new("must be set")),
                    Err(_) => Err(Malformed::new(format_args!("{code} has no meaning here"))),
                }
            }
        }
    )*};
}

codes! {
    Departure = Departure { Demoted, Removed, Replaced, Abandoned, }
    Kind = Kind { Secret, Config, }
    OnChange = OnChange { Keep, }
    RestartCondition = RestartCondition { None, OnFailure, Any, }
    FailureAction = FailureAction { Pause, Continue, Rollback, }
    UpdateOrder = UpdateOrder { StopFirst, StartFirst, }
    UpdateState = UpdateState {
        Updating, Paused, Completed, RollbackStarted, RollbackPaused, RollbackCompleted,
    }
    Operator = ConstraintOperator { Equal, NotEqual, }
    Protocol = Protocol { Tcp, Udp, }
    TaskState = TaskState {
        New, Pending, Assigned, Accepted, Preparing, Ready, Starting, Running,
        Complete, Shutdown, Failed, Rejected, Remove, Orphaned,
    }
    Role = Role { Worker, Manager, }
    Availability = Availability { Active, Pause, Drain, }
    NodeState = NodeState { Unknown, Down, Ready, Disconnected, }
    RefusalKind = RefusalKind { Invalid, NotFound, Exists, Precondition, Conflict, Denied, }
}
