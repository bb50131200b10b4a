//! Services: specs with all their parts, and how an update of one goes. A chapter: one pair of functions for each type.

use super::{
    Code, Malformed,
    parts::{At, convert, list, maybe, need, parse, span, wires},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        constraint::{Constraint, Operator},
        service::{
            ContainerSpec, FailureAction, Healthcheck, Mode, Mount, MountKind, Placement, Port,
            Protocol, Resources, RestartCondition, RestartPolicy, Service, ServiceSpec, TaskSpec,
            UpdateConfig, UpdateOrder, UpdateState, UpdateStatus,
        },
    },
    wire::v1,
};

impl From<&Mode> for v1::Mode {
    fn from(value: &Mode) -> Self {
        let mode = match value {
            Mode::Replicated { replicas } => {
                v1::mode::Mode::Replicated(v1::mode::Replicated { replicas: *replicas })
            }
            Mode::Global => v1::mode::Mode::Global(v1::mode::Global {}),
        };
        Self { mode: Some(mode) }
    }
}

impl TryFrom<v1::Mode> for Mode {
    type Error = Malformed;
    fn try_from(wire: v1::Mode) -> Result<Self, Malformed> {
        let v1::Mode { mode } = wire;
        Ok(match need(mode, "mode")? {
            v1::mode::Mode::Replicated(v1::mode::Replicated { replicas }) => {
                Self::Replicated { replicas }
            }
            v1::mode::Mode::Global(v1::mode::Global {}) => Self::Global,
        })
    }
}

impl From<&RestartPolicy> for v1::RestartPolicy {
    fn from(value: &RestartPolicy) -> Self {
        let RestartPolicy { condition, delay, max_attempts, window } = value;
        Self {
            condition: condition.code(),
            delay: Some(delay.into()),
            max_attempts: *max_attempts,
            window: Some(window.into()),
        }
    }
}

impl TryFrom<v1::RestartPolicy> for RestartPolicy {
    type Error = Malformed;
    fn try_from(wire: v1::RestartPolicy) -> Result<Self, Malformed> {
        let v1::RestartPolicy { condition, delay, max_attempts, window } = wire;
        Ok(Self {
            condition: RestartCondition::from_code(condition).at("condition")?,
            delay: span(delay, "delay")?,
            max_attempts,
            window: span(window, "window")?,
        })
    }
}

impl From<&UpdateConfig> for v1::UpdateConfig {
    fn from(value: &UpdateConfig) -> Self {
        let UpdateConfig { parallelism, delay, failure_action, monitor, max_failure_ratio, order } =
            value;
        Self {
            parallelism: *parallelism,
            delay: Some(delay.into()),
            failure_action: failure_action.code(),
            monitor: Some(monitor.into()),
            max_failure_ratio: *max_failure_ratio,
            order: order.code(),
        }
    }
}

impl TryFrom<v1::UpdateConfig> for UpdateConfig {
    type Error = Malformed;
    fn try_from(wire: v1::UpdateConfig) -> Result<Self, Malformed> {
        let v1::UpdateConfig {
            parallelism,
            delay,
            failure_action,
            monitor,
            max_failure_ratio,
            order,
        } = wire;
        // Not a number is in no range either.
        if !(0.0..=1.0).contains(&max_failure_ratio) {
            return Err(Malformed::new("must be from 0.0 to 1.0").within("max_failure_ratio"));
        }
        Ok(Self {
            parallelism,
            delay: span(delay, "delay")?,
            failure_action: FailureAction::from_code(failure_action).at("failure_action")?,
            monitor: span(monitor, "monitor")?,
            max_failure_ratio,
            order: UpdateOrder::from_code(order).at("order")?,
        })
    }
}

impl From<&Resources> for v1::Resources {
    fn from(value: &Resources) -> Self {
        let Resources {
            limit_nano_cpus,
            limit_memory_bytes,
            limit_pids,
            reserve_nano_cpus,
            reserve_memory_bytes,
        } = *value;
        Self {
            limit_nano_cpus,
            limit_memory_bytes,
            limit_pids,
            reserve_nano_cpus,
            reserve_memory_bytes,
        }
    }
}

impl TryFrom<v1::Resources> for Resources {
    type Error = Malformed;
    fn try_from(wire: v1::Resources) -> Result<Self, Malformed> {
        let v1::Resources {
            limit_nano_cpus,
            limit_memory_bytes,
            limit_pids,
            reserve_nano_cpus,
            reserve_memory_bytes,
        } = wire;
        Ok(Self {
            limit_nano_cpus,
            limit_memory_bytes,
            limit_pids,
            reserve_nano_cpus,
            reserve_memory_bytes,
        })
    }
}

impl From<&Constraint> for v1::Constraint {
    fn from(value: &Constraint) -> Self {
        let Constraint { key, operator, value } = value;
        Self { key: key.clone(), operator: operator.code(), value: value.clone() }
    }
}

impl TryFrom<v1::Constraint> for Constraint {
    type Error = Malformed;
    fn try_from(wire: v1::Constraint) -> Result<Self, Malformed> {
        let v1::Constraint { key, operator, value } = wire;
        let operator = Operator::from_code(operator).at("operator")?;
        let given = Self { key, operator, value };
        // The rules for keys and values stand where the text is parsed.
        let read: Self = given.to_string().parse().map_err(Malformed::new)?;
        if read == given { Ok(given) } else { Err(Malformed::new("must be `key == value`")) }
    }
}

impl From<&Placement> for v1::Placement {
    fn from(value: &Placement) -> Self {
        let Placement { constraints, preferences, max_replicas_per_node } = value;
        Self {
            constraints: wires(constraints),
            preferences: preferences.clone(),
            max_replicas_per_node: *max_replicas_per_node,
        }
    }
}

impl TryFrom<v1::Placement> for Placement {
    type Error = Malformed;
    fn try_from(wire: v1::Placement) -> Result<Self, Malformed> {
        let v1::Placement { constraints, preferences, max_replicas_per_node } = wire;
        Ok(Self {
            constraints: list(constraints, "constraints")?,
            preferences,
            max_replicas_per_node,
        })
    }
}

impl From<&Mount> for v1::Mount {
    fn from(value: &Mount) -> Self {
        let Mount { kind, source, target, read_only } = value;
        let kind = match kind {
            MountKind::Bind => v1::mount::Kind::Bind(v1::mount::Bind {}),
            MountKind::Volume => v1::mount::Kind::Volume(v1::mount::Volume {}),
            MountKind::Tmpfs { size, mode } => {
                v1::mount::Kind::Tmpfs(v1::mount::Tmpfs { size: *size, mode: *mode })
            }
        };
        Self {
            kind: Some(kind),
            source: source.clone(),
            target: target.clone(),
            read_only: *read_only,
        }
    }
}

impl TryFrom<v1::Mount> for Mount {
    type Error = Malformed;
    fn try_from(wire: v1::Mount) -> Result<Self, Malformed> {
        let v1::Mount { kind, source, target, read_only } = wire;
        let kind = match need(kind, "kind")? {
            v1::mount::Kind::Bind(v1::mount::Bind {}) => MountKind::Bind,
            v1::mount::Kind::Volume(v1::mount::Volume {}) => MountKind::Volume,
            v1::mount::Kind::Tmpfs(v1::mount::Tmpfs { size, mode }) => {
                MountKind::Tmpfs { size, mode }
            }
        };
        Ok(Self { kind, source, target, read_only })
    }
}

impl From<&Port> for v1::Port {
    fn from(value: &Port) -> Self {
        let Port { target, published, protocol } = value;
        Self { target: (*target).into(), published: (*published).into(), protocol: protocol.code() }
    }
}

impl TryFrom<v1::Port> for Port {
    type Error = Malformed;
    fn try_from(wire: v1::Port) -> Result<Self, Malformed> {
        let v1::Port { target, published, protocol } = wire;
        let port = |number: u32, field: &str| {
            u16::try_from(number)
                .map_err(|_| Malformed::new("a port is at most 65535").within(field))
        };
        Ok(Self {
            target: port(target, "target")?,
            published: port(published, "published")?,
            protocol: Protocol::from_code(protocol).at("protocol")?,
        })
    }
}

impl From<&Healthcheck> for v1::Healthcheck {
    fn from(value: &Healthcheck) -> Self {
        let Healthcheck { test, interval, timeout, start_period, retries } = value;
        Self {
            test: test.clone(),
            interval: Some(interval.into()),
            timeout: Some(timeout.into()),
            start_period: Some(start_period.into()),
            retries: *retries,
        }
    }
}

impl TryFrom<v1::Healthcheck> for Healthcheck {
    type Error = Malformed;
    fn try_from(wire: v1::Healthcheck) -> Result<Self, Malformed> {
        let v1::Healthcheck { test, interval, timeout, start_period, retries } = wire;
        Ok(Self {
            test,
            interval: span(interval, "interval")?,
            timeout: span(timeout, "timeout")?,
            start_period: span(start_period, "start_period")?,
            retries,
        })
    }
}

impl From<&ContainerSpec> for v1::ContainerSpec {
    fn from(value: &ContainerSpec) -> Self {
        let ContainerSpec {
            image,
            command,
            args,
            env,
            labels,
            dir,
            user,
            groups,
            hostname,
            tty,
            read_only,
            init,
            stop_signal,
            stop_grace,
            mounts,
            healthcheck,
            hosts,
            cap_add,
            cap_drop,
        } = value;
        Self {
            image: image.clone(),
            command: command.clone(),
            args: args.clone(),
            env: env.clone(),
            labels: labels.clone(),
            dir: dir.clone(),
            user: user.clone(),
            groups: groups.clone(),
            hostname: hostname.clone(),
            tty: *tty,
            read_only: *read_only,
            init: *init,
            stop_signal: stop_signal.clone(),
            stop_grace: stop_grace.as_ref().map(Into::into),
            mounts: wires(mounts),
            healthcheck: healthcheck.as_ref().map(Into::into),
            hosts: hosts.clone(),
            cap_add: cap_add.clone(),
            cap_drop: cap_drop.clone(),
        }
    }
}

impl TryFrom<v1::ContainerSpec> for ContainerSpec {
    type Error = Malformed;
    fn try_from(wire: v1::ContainerSpec) -> Result<Self, Malformed> {
        let v1::ContainerSpec {
            image,
            command,
            args,
            env,
            labels,
            dir,
            user,
            groups,
            hostname,
            tty,
            read_only,
            init,
            stop_signal,
            stop_grace,
            mounts,
            healthcheck,
            hosts,
            cap_add,
            cap_drop,
        } = wire;
        Ok(Self {
            image,
            command,
            args,
            env,
            labels,
            dir,
            user,
            groups,
            hostname,
            tty,
            read_only,
            init,
            stop_signal,
            stop_grace: maybe(stop_grace, "stop_grace")?,
            mounts: list(mounts, "mounts")?,
            healthcheck: maybe(healthcheck, "healthcheck")?,
            hosts,
            cap_add,
            cap_drop,
        })
    }
}

impl From<&TaskSpec> for v1::TaskSpec {
    fn from(value: &TaskSpec) -> Self {
        let TaskSpec { container, references, resources, restart, placement, ports, force_update } =
            value;
        Self {
            container: Some(container.into()),
            references: wires(references),
            resources: Some(resources.into()),
            restart: Some(restart.into()),
            placement: Some(placement.into()),
            ports: wires(ports),
            force_update: *force_update,
        }
    }
}

impl TryFrom<v1::TaskSpec> for TaskSpec {
    type Error = Malformed;
    fn try_from(wire: v1::TaskSpec) -> Result<Self, Malformed> {
        let v1::TaskSpec {
            container,
            references,
            resources,
            restart,
            placement,
            ports,
            force_update,
        } = wire;
        Ok(Self {
            container: convert(container, "container")?,
            references: list(references, "references")?,
            resources: maybe(resources, "resources")?.unwrap_or_default(),
            restart: maybe(restart, "restart")?.unwrap_or_default(),
            placement: maybe(placement, "placement")?.unwrap_or_default(),
            ports: list(ports, "ports")?,
            force_update,
        })
    }
}

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(value: &ServiceSpec) -> Self {
        let ServiceSpec { name, labels, task, mode, update, rollback } = value;
        Self {
            name: name.to_string(),
            labels: labels.clone(),
            task: Some(task.into()),
            mode: Some(mode.into()),
            update: update.as_ref().map(Into::into),
            rollback: rollback.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::ServiceSpec> for ServiceSpec {
    type Error = Malformed;
    fn try_from(wire: v1::ServiceSpec) -> Result<Self, Malformed> {
        let v1::ServiceSpec { name, labels, task, mode, update, rollback } = wire;
        Ok(Self {
            name: parse(&name, "name")?,
            labels,
            task: convert(task, "task")?,
            mode: convert(mode, "mode")?,
            update: maybe(update, "update")?,
            rollback: maybe(rollback, "rollback")?,
        })
    }
}

impl From<&UpdateStatus> for v1::UpdateStatus {
    fn from(value: &UpdateStatus) -> Self {
        let UpdateStatus { state, started_at, completed_at, message } = value;
        Self {
            state: state.code(),
            started_at_ms: started_at.0,
            completed_at_ms: completed_at.map(|at| at.0),
            message: message.clone(),
        }
    }
}

impl TryFrom<v1::UpdateStatus> for UpdateStatus {
    type Error = Malformed;
    fn try_from(wire: v1::UpdateStatus) -> Result<Self, Malformed> {
        let v1::UpdateStatus { state, started_at_ms, completed_at_ms, message } = wire;
        Ok(Self {
            state: UpdateState::from_code(state).at("state")?,
            started_at: Timestamp(started_at_ms),
            completed_at: completed_at_ms.map(Timestamp),
            message,
        })
    }
}

impl From<&Service> for v1::Service {
    fn from(value: &Service) -> Self {
        let Service { id, meta, spec, spec_index, previous, update } = value;
        Self {
            id: id.to_string(),
            meta: Some(meta.into()),
            spec: Some(spec.into()),
            spec_index: *spec_index,
            previous: previous.as_ref().map(Into::into),
            update: update.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = Malformed;
    fn try_from(wire: v1::Service) -> Result<Self, Malformed> {
        let v1::Service { id, meta, spec, spec_index, previous, update } = wire;
        Ok(Self {
            id: parse(&id, "id")?,
            meta: convert(meta, "meta")?,
            spec: convert(spec, "spec")?,
            spec_index,
            previous: maybe(previous, "previous")?,
            update: maybe(update, "update")?,
        })
    }
}
