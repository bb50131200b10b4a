//! Decides what a deploy does to the services of a stack. Values in, values out.

use crate::model::service::{Service, ServiceSpec};
use std::collections::BTreeMap;

/// What happens to one service of the files.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Create(Box<ServiceSpec>),
    /// The service is there with another spec; `index` is what was seen of it.
    Update {
        service: Box<Service>,
        spec: Box<ServiceSpec>,
    },
    /// It is as it should be: nothing is sent, so nothing can restart.
    Keep(Box<Service>),
}

/// Steps for the wanted services in their order, and the services of the stack that are wanted no longer.
pub(super) fn steps(there: Vec<Service>, wanted: Vec<ServiceSpec>) -> (Vec<Step>, Vec<Service>) {
    let mut there: BTreeMap<String, Service> =
        there.into_iter().map(|service| (service.spec.name.folded(), service)).collect();
    let step = |mut spec: ServiceSpec| {
        let Some(service) = there.remove(&spec.name.folded()) else {
            return Step::Create(Box::new(spec));
        };
        // Files know nothing of forced updates; a deploy must not undo one, which would restart everything.
        spec.task.force_update = service.spec.task.force_update;
        // Nor can a service change its name, not even the case of its letters.
        spec.name = service.spec.name.clone();
        let service = Box::new(service);
        if service.spec == spec {
            Step::Keep(service)
        } else {
            Step::Update { service, spec: Box::new(spec) }
        }
    };
    let steps = wanted.into_iter().map(step).collect();
    (steps, there.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::id::ServiceId,
        model::{
            Meta,
            service::{Mode, TaskSpec},
        },
    };

    fn spec(name: &str, image: &str) -> ServiceSpec {
        let mut task = TaskSpec::default();
        task.container.image = image.to_owned();
        ServiceSpec {
            name: name.parse().unwrap(),
            labels: BTreeMap::new(),
            task,
            mode: Mode::Replicated { replicas: 1 },
            update: None,
            rollback: None,
        }
    }

    fn service(spec: ServiceSpec) -> Service {
        Service {
            id: ServiceId::random(),
            meta: Meta::default(),
            spec,
            spec_index: 1,
            previous: None,
            update: None,
        }
    }

    #[test]
    fn the_same_files_change_nothing() {
        let there = service(spec("st_a", "i"));
        let (steps, orphans) = steps(vec![there.clone()], vec![spec("st_a", "i")]);
        assert_eq!((steps, orphans), (vec![Step::Keep(Box::new(there))], vec![]));
    }

    #[test]
    fn a_forced_update_is_not_undone() {
        let mut forced = spec("st_a", "i");
        forced.task.force_update = 3;
        let (kept, _) = steps(vec![service(forced.clone())], vec![spec("st_a", "i")]);
        assert!(matches!(kept[..], [Step::Keep(_)]));
        let (updated, _) = steps(vec![service(forced)], vec![spec("st_a", "j")]);
        let [Step::Update { spec, .. }] = &updated[..] else { panic!("an update") };
        assert_eq!((spec.task.force_update, spec.task.container.image.as_str()), (3, "j"));
    }

    #[test]
    fn new_services_are_created_and_others_left_over() {
        let gone = service(spec("st_old", "i"));
        let (steps, orphans) = steps(vec![gone.clone()], vec![spec("st_new", "i")]);
        assert_eq!(steps, [Step::Create(Box::new(spec("st_new", "i")))]);
        assert_eq!(orphans, [gone]);
    }
}
