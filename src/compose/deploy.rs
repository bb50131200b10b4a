//! Reads a service's `deploy` section: how many tasks, where, and how they are replaced.

use super::{error::Result, tree::Node, units, view::View};
use crate::{
    kit::limits::REPLICAS,
    model::{
        Labels,
        constraint::{BadConstraint, Constraint},
        service::{
            FailureAction, Mode, Placement, Resources, RestartCondition, RestartPolicy,
            UpdateConfig, UpdateOrder,
        },
    },
};
use std::collections::BTreeSet;

/// What the section says; everything unset is the default.
#[derive(Debug)]
pub(crate) struct Deploy {
    pub(crate) mode: Mode,
    pub(crate) labels: Labels,
    pub(crate) placement: Placement,
    pub(crate) resources: Resources,
    pub(crate) restart: RestartPolicy,
    pub(crate) update: Option<UpdateConfig>,
    pub(crate) rollback: Option<UpdateConfig>,
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            mode: Mode::Replicated { replicas: 1 },
            labels: Labels::new(),
            placement: Placement::default(),
            resources: Resources::default(),
            restart: RestartPolicy::default(),
            update: None,
            rollback: None,
        }
    }
}

pub(crate) fn read(view: &View<'_>, unsupported: &mut BTreeSet<String>) -> Result<Deploy> {
    let mut fields = view.fields()?;
    let global = fields.or_default("mode", |view| match view.text()? {
        "replicated" => Ok(false),
        "global" => Ok(true),
        "replicated-job" | "global-job" => Err(view.error("jobs are not supported")),
        _ => Err(view.error("must be one of: replicated, global")),
    })?;
    let replicas = fields.take("replicas");
    let mode = match (global, replicas) {
        (true, Some(replicas)) => {
            return Err(replicas.error("replicas can only be used with replicated mode"));
        }
        (true, None) => Mode::Global,
        (false, None) => Mode::Replicated { replicas: 1 },
        (false, Some(view)) => match view.whole()? {
            replicas if replicas <= REPLICAS => Mode::Replicated { replicas },
            _ => return Err(view.error(format!("must be at most {REPLICAS}"))),
        },
    };
    if fields.ignore("endpoint_mode") {
        unsupported.insert("deploy.endpoint_mode".to_owned());
    }
    let deploy = Deploy {
        mode,
        labels: fields.or_default("labels", labels)?,
        placement: fields.or_default("placement", placement)?,
        resources: fields.or_default("resources", |view| resources(view, unsupported))?,
        restart: fields.or_default("restart_policy", restart)?,
        update: fields.opt("update_config", |view| update(view, true))?,
        rollback: fields.opt("rollback_config", |view| update(view, false))?,
    };
    fields.finish()?;
    Ok(deploy)
}

/// A mapping of texts; a key without value has the empty one.
pub(crate) fn labels(view: &View<'_>) -> Result<Labels> {
    let map = view.map()?;
    let value = |node: &Node| node.as_text().unwrap_or_default().to_owned();
    Ok(map.iter().map(|(key, entry)| (key.clone(), value(&entry.node))).collect())
}

fn placement(view: &View<'_>) -> Result<Placement> {
    let mut fields = view.fields()?;
    let constraint = |view: &View<'_>| {
        view.text()?.parse::<Constraint>().map_err(|err| match err {
            BadConstraint::Operator => view.error(err.to_string()),
            BadConstraint::Key(_) => view.error("the key of the constraint is invalid"),
            BadConstraint::Value(_) => view.error("the value of the constraint is invalid"),
        })
    };
    let preference = |view: &View<'_>| {
        let mut fields = view.fields()?;
        let spread =
            fields.take("spread").ok_or_else(|| view.error("a preference needs a spread"))?;
        fields.finish()?;
        spread.owned()
    };
    let placement = Placement {
        constraints: fields
            .or_default("constraints", |view| view.list()?.iter().map(constraint).collect())?,
        preferences: fields
            .or_default("preferences", |view| view.list()?.iter().map(preference).collect())?,
        max_replicas_per_node: fields.or_default("max_replicas_per_node", View::whole)?,
    };
    fields.finish()?;
    Ok(placement)
}

fn resources(view: &View<'_>, unsupported: &mut BTreeSet<String>) -> Result<Resources> {
    let cpus = |view: &View<'_>| {
        units::nano_cpus(view.text()?)
            .ok_or_else(|| view.error("must be a number of processors, as 0.5"))
    };
    let mut fields = view.fields()?;
    let mut out = Resources::default();
    if let Some(view) = fields.take("limits") {
        let mut limits = view.fields()?;
        out.limit_nano_cpus = limits.or_default("cpus", cpus)?;
        out.limit_memory_bytes = limits.or_default("memory", View::bytes)?;
        out.limit_pids = limits.or_default("pids", View::whole)?;
        limits.finish()?;
    }
    if let Some(view) = fields.take("reservations") {
        let mut reservations = view.fields()?;
        out.reserve_nano_cpus = reservations.or_default("cpus", cpus)?;
        out.reserve_memory_bytes = reservations.or_default("memory", View::bytes)?;
        for key in ["generic_resources", "devices"] {
            if reservations.ignore(key) {
                unsupported.insert(format!("deploy.resources.reservations.{key}"));
            }
        }
        reservations.finish()?;
    }
    fields.finish()?;
    Ok(out)
}

fn restart(view: &View<'_>) -> Result<RestartPolicy> {
    let default = RestartPolicy::default();
    let conditions = [
        ("none", RestartCondition::None),
        ("on-failure", RestartCondition::OnFailure),
        ("any", RestartCondition::Any),
    ];
    let mut fields = view.fields()?;
    let policy = RestartPolicy {
        condition: fields
            .opt("condition", |view| view.word(&conditions))?
            .unwrap_or(default.condition),
        delay: fields.opt("delay", View::duration)?.unwrap_or(default.delay),
        max_attempts: fields.opt("max_attempts", View::whole)?.unwrap_or(default.max_attempts),
        window: fields.opt("window", View::duration)?.unwrap_or(default.window),
    };
    fields.finish()?;
    Ok(policy)
}

fn update(view: &View<'_>, may_roll_back: bool) -> Result<UpdateConfig> {
    let default = UpdateConfig::default();
    let actions = [
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
        ("rollback", FailureAction::Rollback),
    ];
    let actions = if may_roll_back { &actions[..] } else { &actions[..2] };
    let orders = [("stop-first", UpdateOrder::StopFirst), ("start-first", UpdateOrder::StartFirst)];
    let ratio = |view: &View<'_>| {
        view.text()?
            .parse::<f64>()
            .ok()
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .ok_or_else(|| view.error("must be a number from 0 to 1"))
    };
    let mut fields = view.fields()?;
    let config = UpdateConfig {
        parallelism: fields.opt("parallelism", View::whole)?.unwrap_or(default.parallelism),
        delay: fields.opt("delay", View::duration)?.unwrap_or(default.delay),
        failure_action: fields
            .opt("failure_action", |view| view.word(actions))?
            .unwrap_or(default.failure_action),
        monitor: fields.opt("monitor", View::duration)?.unwrap_or(default.monitor),
        max_failure_ratio: fields
            .opt("max_failure_ratio", ratio)?
            .unwrap_or(default.max_failure_ratio),
        order: fields.opt("order", |view| view.word(&orders))?.unwrap_or(default.order),
    };
    fields.finish()?;
    Ok(config)
}
