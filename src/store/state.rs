//! The state itself: persistent maps of shared values, with the indexes that queries need.

use super::{Change, Entity, Key};
use crate::{
    crypto::key::RootId,
    kit::{
        clock::Timestamp,
        id::{ClientId, NodeId, ObjectId, ServiceId, TaskId},
    },
    model::{
        cluster::Cluster,
        command::Answered,
        destroyed::Destroyed,
        node::{Node, Role},
        object::{Kind, Object, Version},
        service::{Service, TaskSpec},
        task::{Remnant, Task, TaskState},
    },
};
use imbl::{OrdMap, OrdSet};
use std::{collections::BTreeMap, sync::Arc};

/// All metadata of the cluster. A clone costs a few pointers, so readers keep one while writes go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    cluster: Option<Arc<Cluster>>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    objects: OrdMap<ObjectId, Arc<Object>>,
    services: OrdMap<ServiceId, Arc<Service>>,
    tasks: OrdMap<TaskId, Arc<Task>>,
    answered: OrdMap<ClientId, Arc<Answered>>,
    remnants: OrdMap<TaskId, Arc<Remnant>>,
    destroyed: OrdMap<ObjectId, Arc<Destroyed>>,
    index: Index,
}

/// What can be derived from the maps, kept so that nobody has to walk them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Index {
    /// By folded name; shared, because changing a persistent map copies the keys around the one that changes.
    secret_names: OrdMap<Arc<str>, ObjectId>,
    config_names: OrdMap<Arc<str>, ObjectId>,
    /// By folded name.
    service_names: OrdMap<String, ServiceId>,
    /// Services whose present or previous spec refers to an object.
    users: OrdSet<(ObjectId, ServiceId)>,
    /// By service and slot.
    service_tasks: OrdSet<(ServiceId, u64, TaskId)>,
    node_tasks: OrdSet<(NodeId, TaskId)>,
    node_remnants: OrdSet<(NodeId, TaskId)>,
    /// Tasks that wait for a node.
    waiting: OrdSet<TaskId>,
    /// Clients by when they last asked.
    clients: OrdSet<(Timestamp, ClientId)>,
    /// One copy of each service's task spec, shared by its tasks.
    specs: OrdMap<ServiceId, Arc<TaskSpec>>,
}

impl State {
    /// Builds the state from its rows, in whatever order they come.
    pub fn from_entities(entities: impl IntoIterator<Item = Entity>) -> Self {
        let mut state = Self::default();
        let mut tasks = Vec::new();
        for entity in entities {
            // Tasks last: they share the specs of their services.
            match entity {
                Entity::Task(task) => tasks.push(task),
                other @ (Entity::Cluster(_)
                | Entity::Node(_)
                | Entity::Object(_)
                | Entity::Service(_)
                | Entity::Answered(_)
                | Entity::Remnant(_)
                | Entity::Destroyed(_)) => state.put(other),
            }
        }
        for task in tasks {
            state.put(Entity::Task(task));
        }
        state
    }

    /// Every row.
    pub fn entities(&self) -> impl Iterator<Item = Entity> + '_ {
        self.cluster
            .iter()
            .map(|cluster| Entity::Cluster(cluster.clone()))
            .chain(self.nodes.values().map(|node| Entity::Node(node.clone())))
            .chain(self.objects.values().map(|object| Entity::Object(object.clone())))
            .chain(self.services.values().map(|service| Entity::Service(service.clone())))
            .chain(self.tasks.values().map(|task| Entity::Task(task.clone())))
            .chain(self.answered.values().map(|answered| Entity::Answered(answered.clone())))
            .chain(self.remnants.values().map(|remnant| Entity::Remnant(remnant.clone())))
            .chain(self.destroyed.values().map(|one| Entity::Destroyed(one.clone())))
    }

    /// The row of this key.
    pub fn entity(&self, key: Key) -> Option<Entity> {
        match key {
            Key::Cluster => self.cluster.clone().map(Entity::Cluster),
            Key::Node(id) => self.nodes.get(&id).cloned().map(Entity::Node),
            Key::Object(id) => self.objects.get(&id).cloned().map(Entity::Object),
            Key::Service(id) => self.services.get(&id).cloned().map(Entity::Service),
            Key::Task(id) => self.tasks.get(&id).cloned().map(Entity::Task),
            Key::Answered(id) => self.answered.get(&id).cloned().map(Entity::Answered),
            Key::Remnant(id) => self.remnants.get(&id).cloned().map(Entity::Remnant),
            Key::Destroyed(id) => self.destroyed.get(&id).cloned().map(Entity::Destroyed),
        }
    }

    /// Makes a change that another state's `apply` gave. Bodies are none of the state's business.
    pub fn replay(&mut self, change: &Change) {
        match change {
            Change::Put(entity) => self.put(entity.clone()),
            Change::Delete(key) => self.delete(*key),
            Change::PutBody { .. } | Change::PutKey { .. } | Change::DeleteBody { .. } => {}
        }
    }

    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// A manager other than `except` that was demoted and is still in the Raft group.
    pub fn leaving_manager(&self, except: NodeId) -> Option<&Arc<Node>> {
        let leaving = |node: &&Arc<Node>| node.role == Role::Worker && node.manager.is_some();
        self.nodes().filter(|node| node.id != except).find(leaving)
    }

    pub fn node_by_id(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// The node, if it belongs to the cluster: not one that has left, whose row is still there.
    pub fn member(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.node_by_id(id).filter(|node| !node.has_left())
    }

    pub fn object_by_id(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(&id)
    }

    pub fn service_by_id(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    pub fn task_by_id(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(&id)
    }

    /// Finds an object by its name, whatever the case.
    pub fn object_by_name(&self, kind: Kind, name: &str) -> Option<&Arc<Object>> {
        let id = self.index.names(kind).get(name.to_ascii_lowercase().as_str())?;
        self.objects.get(id)
    }

    /// Finds a service by its name, whatever the case.
    pub fn service_by_name(&self, name: &str) -> Option<&Arc<Service>> {
        let id = self.index.service_names.get(&name.to_ascii_lowercase())?;
        self.services.get(id)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// All objects of both kinds, by id.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// All services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// All tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// What was removed and is not gone from every manager's disk yet, by id.
    pub fn destroyed(&self) -> impl Iterator<Item = &Arc<Destroyed>> {
        self.destroyed.values()
    }

    pub fn destroyed_by_id(&self, id: ObjectId) -> Option<&Arc<Destroyed>> {
        self.destroyed.get(&id)
    }

    /// The tasks of a service, dead ones included, by slot; also after the service is gone.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.index
            .service_tasks
            .range((service, 0, TaskId::from_random([0; 17]))..)
            .take_while(move |(of, _, _)| *of == service)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// The tasks of one slot of a service; slot 0 holds all those of a global service.
    pub(in crate::store) fn tasks_in_slot(
        &self,
        service: ServiceId,
        slot: u64,
    ) -> impl Iterator<Item = &Arc<Task>> {
        self.index
            .service_tasks
            .range((service, slot, TaskId::from_random([0; 17]))..)
            .take_while(move |(of, at, _)| *of == service && *at == slot)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// The tasks of a node, dead ones included, by id.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.index
            .node_tasks
            .range((node, TaskId::from_random([0; 17]))..)
            .take_while(move |(on, _)| *on == node)
            .filter_map(|(_, id)| self.tasks.get(id))
    }

    /// What a deleted task may have left on its node.
    pub fn remnant(&self, task: TaskId) -> Option<&Arc<Remnant>> {
        self.remnants.get(&task)
    }

    /// What deleted tasks may have left, on whatever node, by task.
    pub fn remnants(&self) -> impl Iterator<Item = &Arc<Remnant>> {
        self.remnants.values()
    }

    /// What deleted tasks may have left on a node, by task.
    pub fn remnants_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Remnant>> {
        self.index
            .node_remnants
            .range((node, TaskId::from_random([0; 17]))..)
            .take_while(move |(on, _)| *on == node)
            .filter_map(|(_, id)| self.remnants.get(id))
    }

    /// The tasks that want to run and have no node yet, by id.
    pub fn waiting_tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.index.waiting.iter().filter_map(|id| self.tasks.get(id))
    }

    /// The versions whose data keys lie under a term before this one, by object.
    pub fn versions_before(&self, term: u32) -> impl Iterator<Item = (&Arc<Object>, &Version)> {
        self.objects().flat_map(move |object| {
            let old = object.versions.iter().filter(move |version| version.term < term);
            old.map(move |version| (object, version))
        })
    }

    /// The managers that do not keep this root key yet, also those that have still to come or to go.
    pub fn unprepared_managers(&self, root: RootId) -> Vec<NodeId> {
        let lacks = |node: &&Arc<Node>| {
            node.manager.as_ref().is_some_and(|manager| manager.prepared_root != Some(root))
        };
        self.nodes().filter(lacks).map(|node| node.id).collect()
    }

    /// How many versions lie under each term.
    pub fn versions_by_term(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for version in self.objects().flat_map(|object| &object.versions) {
            *counts.entry(version.term).or_default() += 1;
        }
        counts
    }

    /// The services whose present or previous spec refers to an object, by name.
    pub fn users(&self, object: ObjectId) -> Vec<&Arc<Service>> {
        let mut users: Vec<_> = self
            .index
            .users
            .range((object, ServiceId::from_random([0; 17]))..)
            .take_while(|(of, _)| *of == object)
            .filter_map(|(_, id)| self.services.get(id))
            .collect();
        users.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        users
    }

    /// The objects whose ids begin with `prefix`, by id.
    pub(in crate::store) fn objects_with_prefix(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = &Arc<Object>> {
        with_prefix(&self.objects, prefix, ObjectId::as_str)
    }

    pub(in crate::store) fn services_with_prefix(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = &Arc<Service>> {
        with_prefix(&self.services, prefix, ServiceId::as_str)
    }

    pub(in crate::store) fn tasks_with_prefix(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = &Arc<Task>> {
        with_prefix(&self.tasks, prefix, TaskId::as_str)
    }

    pub(in crate::store) fn nodes_with_prefix(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = &Arc<Node>> {
        with_prefix(&self.nodes, prefix, NodeId::as_str)
    }

    pub(in crate::store) fn answered(&self, client: ClientId) -> Option<&Arc<Answered>> {
        self.answered.get(&client)
    }

    /// How many clients' answers are remembered, when the last of them asked, and the one longest silent.
    pub(in crate::store) fn clients(&self) -> (usize, Option<Timestamp>, Option<ClientId>) {
        let clients = &self.index.clients;
        (clients.len(), clients.get_max().map(|(at, _)| *at), clients.get_min().map(|(_, id)| *id))
    }

    /// The task spec of a service's present spec, shared with its tasks.
    pub(in crate::store) fn task_spec(&self, service: ServiceId) -> Option<&Arc<TaskSpec>> {
        self.index.specs.get(&service)
    }

    /// Puts a row in place of the one with its key. Indexes are touched only where the new row stands elsewhere in them.
    pub(in crate::store) fn put(&mut self, entity: Entity) {
        match entity {
            Entity::Cluster(cluster) => self.cluster = Some(cluster),
            Entity::Node(node) => {
                self.nodes.insert(node.id, node);
            }
            Entity::Object(object) => self.put_object(object),
            Entity::Service(service) => {
                self.delete(Key::Service(service.id));
                self.put_service(service);
            }
            Entity::Task(task) => self.put_task(task),
            Entity::Answered(answered) => {
                let (at, client) = (answered.at, answered.client);
                let before = self.answered.insert(client, answered).map(|before| before.at);
                if before != Some(at) {
                    if let Some(before) = before {
                        self.index.clients.remove(&(before, client));
                    }
                    self.index.clients.insert((at, client));
                }
            }
            Entity::Remnant(remnant) => {
                self.index.node_remnants.insert((remnant.node, remnant.task));
                self.remnants.insert(remnant.task, remnant);
            }
            Entity::Destroyed(destroyed) => {
                self.destroyed.insert(destroyed.id, destroyed);
            }
        }
    }

    /// Takes a row away; one that is not there is no matter.
    pub(in crate::store) fn delete(&mut self, key: Key) {
        match key {
            Key::Cluster => self.cluster = None,
            Key::Node(id) => {
                self.nodes.remove(&id);
            }
            Key::Object(id) => {
                if let Some(object) = self.objects.remove(&id) {
                    self.index.names_mut(object.kind).remove(object.name.folded().as_str());
                }
            }
            Key::Service(id) => {
                if let Some(service) = self.services.remove(&id) {
                    self.index.service_names.remove(&service.spec.name.folded());
                    for object in used_by(&service) {
                        self.index.users.remove(&(object, id));
                    }
                    self.index.specs.remove(&id);
                }
            }
            Key::Task(id) => {
                if let Some(task) = self.tasks.remove(&id) {
                    self.index.service_tasks.remove(&(task.service, task.slot, id));
                    if let Some(node) = task.node {
                        self.index.node_tasks.remove(&(node, id));
                    }
                    self.index.waiting.remove(&id);
                }
            }
            Key::Answered(client) => {
                if let Some(answered) = self.answered.remove(&client) {
                    self.index.clients.remove(&(answered.at, client));
                }
            }
            Key::Remnant(task) => {
                if let Some(remnant) = self.remnants.remove(&task) {
                    self.index.node_remnants.remove(&(remnant.node, task));
                }
            }
            Key::Destroyed(id) => {
                self.destroyed.remove(&id);
            }
        }
    }

    fn put_object(&mut self, object: Arc<Object>) {
        let (id, kind, name) = (object.id, object.kind, object.name.folded());
        if let Some(before) = self.objects.insert(id, object) {
            let folded = before.name.folded();
            if (before.kind, folded.as_str()) == (kind, name.as_str()) {
                return;
            }
            self.index.names_mut(before.kind).remove(folded.as_str());
        }
        self.index.names_mut(kind).insert(name.into(), id);
    }

    fn put_service(&mut self, service: Arc<Service>) {
        let id = service.id;
        self.index.service_names.insert(service.spec.name.folded(), id);
        for object in used_by(&service) {
            self.index.users.insert((object, id));
        }
        let shared = self
            .tasks_of(id)
            .map(|task| &task.spec)
            .find(|spec| ***spec == service.spec.task)
            .cloned()
            .unwrap_or_else(|| Arc::new(service.spec.task.clone()));
        self.index.specs.insert(id, shared);
        self.services.insert(id, service);
    }

    fn put_task(&mut self, mut task: Arc<Task>) {
        if let Some(shared) = self.index.specs.get(&task.service)
            && !Arc::ptr_eq(shared, &task.spec)
            && *shared == task.spec
        {
            Arc::make_mut(&mut task).spec = shared.clone();
        }
        let (id, place, node) = (task.id, (task.service, task.slot, task.id), task.node);
        let waits = task.status.state < TaskState::Assigned && task.desired <= TaskState::Running;
        let before = self.tasks.insert(id, task);
        let stood = before.as_ref().map(|before| (before.service, before.slot, id));
        if stood != Some(place) {
            if let Some(stood) = stood {
                self.index.service_tasks.remove(&stood);
            }
            self.index.service_tasks.insert(place);
        }
        let was_on = before.and_then(|before| before.node);
        if was_on != node {
            if let Some(was_on) = was_on {
                self.index.node_tasks.remove(&(was_on, id));
            }
            if let Some(node) = node {
                self.index.node_tasks.insert((node, id));
            }
        }
        match (self.index.waiting.contains(&id), waits) {
            (true, false) => drop(self.index.waiting.remove(&id)),
            (false, true) => drop(self.index.waiting.insert(id)),
            (true, true) | (false, false) => {}
        }
    }
}

impl Index {
    fn names(&self, kind: Kind) -> &OrdMap<Arc<str>, ObjectId> {
        match kind {
            Kind::Secret => &self.secret_names,
            Kind::Config => &self.config_names,
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut OrdMap<Arc<str>, ObjectId> {
        match kind {
            Kind::Secret => &mut self.secret_names,
            Kind::Config => &mut self.config_names,
        }
    }
}

/// The objects that a service's present and previous specs refer to.
fn used_by(service: &Service) -> impl Iterator<Item = ObjectId> + '_ {
    std::iter::once(&service.spec)
        .chain(&service.previous)
        .flat_map(|spec| &spec.task.references)
        .map(|reference| reference.object)
}

/// The values whose keys begin with `prefix`. Ids are ordered as text, so they lie side by side.
fn with_prefix<'a, K: Ord + Copy + std::str::FromStr, V>(
    map: &'a OrdMap<K, Arc<V>>,
    prefix: &str,
    text: fn(&K) -> &str,
) -> impl Iterator<Item = &'a Arc<V>> {
    // Padded with the lowest digit it is the least id that begins so; what cannot be padded to an id begins none.
    let least = format!("{prefix:0<width$}", width = crate::kit::id::ID_LEN).parse::<K>().ok();
    let prefix = prefix.to_owned();
    least
        .into_iter()
        .flat_map(move |least| map.range(least..))
        .take_while(move |(key, _)| text(key).starts_with(&prefix))
        .map(|(_, value)| value)
}
