//! What a seed stands for: numbers, choices, and the specs made of them.

use crate::{
    kit::testing::SplitMix,
    manager::orchestrator::world,
    model::{
        node::{Availability, NodeState, Role},
        object::Object,
        reference::{OnChange, Reference, Target, VersionPick},
        service::{FailureAction, Mode, RestartCondition, ServiceSpec, UpdateConfig, UpdateOrder},
    },
};
use std::{sync::Arc, time::Duration};

pub(super) struct Draw(SplitMix);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.number()
    }

    /// 0 to `end` - 1.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len().max(1) as u64);
        from.get(usize::try_from(index).unwrap()).cloned()
    }

    pub(super) fn of<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        self.pick(&from).unwrap()
    }

    pub(super) fn role(&mut self) -> Role {
        self.of([Role::Worker, Role::Worker, Role::Manager])
    }

    pub(super) fn availability(&mut self) -> Availability {
        self.of([
            Availability::Active,
            Availability::Active,
            Availability::Pause,
            Availability::Drain,
        ])
    }

    pub(super) fn node_state(&mut self) -> NodeState {
        use NodeState::{Disconnected, Down, Ready, Unknown};
        self.of([Ready, Ready, Ready, Down, Down, Unknown, Disconnected])
    }

    /// A spec of any kind, referring to some of `objects`.
    pub(super) fn spec(&mut self, name: &str, objects: &[Arc<Object>]) -> ServiceSpec {
        let replicas = self.below(6);
        let mut spec = world::spec(name, replicas);
        if self.once_in(4) {
            spec.mode = Mode::Global;
        }
        for _ in 0..self.below(6) {
            self.vary(&mut spec, objects);
        }
        spec
    }

    /// Changes one thing about a spec.
    pub(super) fn vary(&mut self, spec: &mut ServiceSpec, objects: &[Arc<Object>]) {
        let task = &mut spec.task;
        match self.below(11) {
            0 => {
                if let Mode::Replicated { replicas } = &mut spec.mode {
                    *replicas = self.below(7);
                }
            }
            1 => task.container.image = self.of(["app:1", "app:2", "fails"]).to_owned(),
            2 | 3 => {
                task.references.clear();
                for _ in 0..self.below(3) {
                    if let Some(object) = self.pick(objects) {
                        task.references.retain(|other| other.object != object.id);
                        task.references.push(refer(&object));
                    }
                }
            }
            4 => {
                let constraint = self.of([
                    None,
                    None,
                    Some("node.labels.zone == a"),
                    Some("node.labels.zone != a"),
                    Some("node.role == worker"),
                ]);
                task.placement.constraints =
                    constraint.iter().map(|text| text.parse().unwrap()).collect();
            }
            5 => task.placement.max_replicas_per_node = self.below(3),
            6 => task.resources.reserve_nano_cpus = self.of([0, 0, 1_000_000_000, 3_000_000_000]),
            7 => {
                use RestartCondition::{Any, None, OnFailure};
                task.restart.condition = self.of([Any, Any, OnFailure, None]);
                task.restart.delay = Duration::from_secs(self.below(6));
                task.restart.max_attempts = self.of([0, 0, 2]);
                task.restart.window = Duration::from_secs(self.of([0, 10]));
            }
            8 => spec.update = Some(self.update()),
            9 => spec.rollback = Some(self.update()),
            _ => task.force_update += 1,
        }
    }

    fn update(&mut self) -> UpdateConfig {
        use FailureAction::{Continue, Pause, Rollback};
        UpdateConfig {
            parallelism: self.below(3),
            delay: Duration::from_secs(self.of([0, 0, 3])),
            failure_action: self.of([Pause, Continue, Rollback]),
            monitor: Duration::from_secs(self.of([0, 5])),
            max_failure_ratio: self.of([0.0, 0.5]),
            order: self.of([UpdateOrder::StopFirst, UpdateOrder::StartFirst]),
        }
    }
}

fn refer(object: &Object) -> Reference {
    Reference {
        kind: object.kind,
        object: object.id,
        name: object.name.clone(),
        version: VersionPick::Latest,
        target: Target::parse(object.kind, object.name.as_str()).unwrap(),
        uid: None,
        gid: None,
        mode: None,
        on_change: OnChange::Keep,
    }
}
