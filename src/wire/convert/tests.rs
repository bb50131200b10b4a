//! What goes out comes back the same, and no bytes whatever make a decoder panic.

use super::*;
use crate::{
    crypto::{
        key::RootId,
        keyring::WrappedTerm,
        unlock::{
            Method, Unlocker,
            command::Helper,
            passphrase::Cost,
            recipient::Recipient,
            tpm::{Pcrs, Tpm2},
        },
    },
    kit::{
        clock::Timestamp,
        id::{ClientId, ClusterId, NodeId, ObjectId, ServiceId, TaskId, UnlockerId},
        testing::SplitMix,
    },
    model::{
        Labels, Meta,
        cluster::{
            AuthorityRotation, BackupStatus, ClusterSettings, Departure, FormerManager, Rekeying,
            Rewrapping, RootOffer, RootRotation, RootStatus, Token,
        },
        command::{Answer, Command, RequestId, Rewrapped, RewrappedAuthority, TaskChange},
        constraint::{Constraint, Operator},
        destroyed::Destroyed,
        node::{
            Availability, CertificateStatus, ManagerStatus, NodeDescription, NodeState, NodeStatus,
            Role, Standing,
        },
        object::{Kind, Version, VersionNumber},
        reference::{FileMode, OnChange, Owner, Reference, Target, VersionPick},
        refusal::{Refusal, RefusalKind},
        service::{
            ContainerSpec, FailureAction, Healthcheck, Mode, Mount, MountKind, Placement, Port,
            Protocol, Resources, RestartCondition, RestartPolicy, TaskSpec, UpdateConfig,
            UpdateOrder, UpdateState, UpdateStatus,
        },
        sightings::{KeyHash, Rival, ShownKey, Sightings},
        task::{ObjectVersion, Payload, TaskState, TaskStatus},
    },
};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

/// Draws values of the model from one seed: every field, every variant, the ends of the ranges.
struct Draw(SplitMix);

impl Draw {
    fn number(&mut self) -> u64 {
        self.0.number()
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.number() & 1 == 1
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn u64(&mut self) -> u64 {
        let any = self.number();
        self.pick(&[0, 1, u64::MAX, any])
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.number() >> 32).unwrap()
    }

    fn id<T>(&mut self, make: fn([u8; 17]) -> T) -> T {
        let mut bytes = [0; 17];
        bytes.fill_with(|| u8::try_from(self.number() & 0xff).unwrap());
        make(bytes)
    }

    fn text(&mut self) -> String {
        self.pick(&["", "a", "ä\n\0", "key=value", "a longer text, with a comma"]).to_owned()
    }

    fn word(&mut self) -> String {
        let number = self.number();
        self.pick(&["a", "web-1", "Nerd_dinner9", "x"]).to_owned() + &number.to_string()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(40)).map(|_| u8::try_from(self.number() & 0xff).unwrap()).collect()
    }

    fn many<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    fn texts(&mut self) -> Vec<String> {
        self.many(Self::text)
    }

    fn labels(&mut self) -> Labels {
        self.many(|d| (d.word(), d.text())).into_iter().collect()
    }

    fn time(&mut self) -> Timestamp {
        let any = i64::try_from(self.number() >> 1).unwrap();
        Timestamp(self.pick(&[0, -1, i64::MIN, i64::MAX, any]))
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.u64(), self.u32() % 1_000_000_000)
    }

    fn meta(&mut self) -> Meta {
        Meta { index: self.u64(), created_at: self.time(), updated_at: self.time() }
    }

    fn kind(&mut self) -> Kind {
        self.pick(&[Kind::Secret, Kind::Config])
    }

    fn version_number(&mut self) -> VersionNumber {
        VersionNumber(self.u64().max(1))
    }

    fn sealed(&mut self) -> Sealed {
        Sealed { term: self.u32(), wrapped_key: self.bytes(), body: self.bytes() }
    }

    fn object(&mut self) -> Object {
        let mut versions = self.many(|d| Version {
            number: d.version_number(),
            created_at: d.time(),
            size: d.u64(),
            term: d.u32().max(1),
        });
        if versions.is_empty() {
            versions.push(Version {
                number: VersionNumber::FIRST,
                created_at: self.time(),
                size: 1,
                term: 1,
            });
        }
        Object {
            kind: self.kind(),
            id: self.id(ObjectId::from_random),
            name: self.word().parse().unwrap(),
            labels: self.labels(),
            meta: self.meta(),
            versions,
        }
    }

    fn owner(&mut self) -> Owner {
        if self.flag() {
            Owner::Id(self.u32() % u32::MAX)
        } else {
            Owner::Name(self.pick(&["root", "www-data", "a.b_c"]).to_owned())
        }
    }

    fn reference(&mut self) -> Reference {
        let kind = self.kind();
        let target = self.pick(&["x", "/app/sa-password", "etc/app.conf"]);
        Reference {
            kind,
            object: self.id(ObjectId::from_random),
            name: self.word().parse().unwrap(),
            version: match self.maybe(Self::version_number) {
                Some(number) => VersionPick::Exact(number),
                None => VersionPick::Latest,
            },
            target: Target::parse(kind, target).unwrap(),
            uid: self.maybe(Self::owner),
            gid: self.maybe(Self::owner),
            mode: self.maybe(|d| FileMode::new(d.u32() % 0o1000).unwrap()),
            on_change: OnChange::Keep,
        }
    }

    fn mount(&mut self) -> Mount {
        let tmpfs = MountKind::Tmpfs { size: self.u64(), mode: self.u32() };
        let kind = match self.below(3) {
            0 => MountKind::Bind,
            1 => MountKind::Volume,
            _ => tmpfs,
        };
        Mount { kind, source: self.text(), target: self.text(), read_only: self.flag() }
    }

    fn health(&mut self) -> Healthcheck {
        Healthcheck {
            test: self.texts(),
            interval: self.duration(),
            timeout: self.duration(),
            start_period: self.duration(),
            retries: self.u64(),
        }
    }

    fn container(&mut self) -> ContainerSpec {
        ContainerSpec {
            image: self.text(),
            command: self.texts(),
            args: self.texts(),
            env: self.texts(),
            labels: self.labels(),
            dir: self.text(),
            user: self.text(),
            groups: self.texts(),
            hostname: self.text(),
            tty: self.flag(),
            read_only: self.flag(),
            init: self.maybe(Self::flag),
            stop_signal: self.text(),
            stop_grace: self.maybe(Self::duration),
            mounts: self.many(Self::mount),
            healthcheck: self.maybe(Self::health),
            hosts: self.texts(),
            cap_add: self.texts(),
            cap_drop: self.texts(),
        }
    }

    fn task_spec(&mut self) -> TaskSpec {
        let port = |d: &mut Self| Port {
            target: u16::try_from(d.number() & 0xffff).unwrap(),
            published: u16::MAX,
            protocol: d.pick(&[Protocol::Tcp, Protocol::Udp]),
        };
        let constraint = |d: &mut Self| Constraint {
            key: d.pick(&["node.labels.zone", "node.id"]).to_owned(),
            operator: d.pick(&[Operator::Equal, Operator::NotEqual]),
            value: d.pick(&["a", "a b", "v1.2"]).to_owned(),
        };
        TaskSpec {
            container: self.container(),
            references: self.many(Self::reference),
            resources: Resources {
                limit_nano_cpus: self.u64(),
                limit_memory_bytes: self.u64(),
                limit_pids: self.u64(),
                reserve_nano_cpus: self.u64(),
                reserve_memory_bytes: self.u64(),
            },
            restart: RestartPolicy {
                condition: self.pick(&[
                    RestartCondition::None,
                    RestartCondition::OnFailure,
                    RestartCondition::Any,
                ]),
                delay: self.duration(),
                max_attempts: self.u64(),
                window: self.duration(),
            },
            placement: Placement {
                constraints: self.many(constraint),
                preferences: self.texts(),
                max_replicas_per_node: self.u64(),
            },
            ports: self.many(port),
            force_update: self.u64(),
        }
    }

    fn update_config(&mut self) -> UpdateConfig {
        UpdateConfig {
            parallelism: self.u64(),
            delay: self.duration(),
            failure_action: self.pick(&[
                FailureAction::Pause,
                FailureAction::Continue,
                FailureAction::Rollback,
            ]),
            monitor: self.duration(),
            max_failure_ratio: self.pick(&[0.0, 0.25, 1.0]),
            order: self.pick(&[UpdateOrder::StopFirst, UpdateOrder::StartFirst]),
        }
    }

    fn service_spec(&mut self) -> ServiceSpec {
        let replicated = Mode::Replicated { replicas: self.u64() };
        ServiceSpec {
            name: self.word().parse().unwrap(),
            labels: self.labels(),
            task: self.task_spec(),
            mode: if self.flag() { Mode::Global } else { replicated },
            update: self.maybe(Self::update_config),
            rollback: self.maybe(Self::update_config),
        }
    }

    fn update_status(&mut self) -> UpdateStatus {
        UpdateStatus {
            state: self.pick(&[
                UpdateState::Updating,
                UpdateState::Paused,
                UpdateState::Completed,
                UpdateState::RollbackStarted,
                UpdateState::RollbackPaused,
                UpdateState::RollbackCompleted,
            ]),
            started_at: self.time(),
            completed_at: self.maybe(Self::time),
            message: self.text(),
        }
    }

    fn service(&mut self) -> Service {
        Service {
            id: self.id(ServiceId::from_random),
            meta: self.meta(),
            spec: self.service_spec(),
            spec_index: self.u64(),
            previous: self.maybe(Self::service_spec),
            update: self.maybe(Self::update_status),
        }
    }

    fn task_state(&mut self) -> TaskState {
        self.pick(&[
            TaskState::New,
            TaskState::Pending,
            TaskState::Assigned,
            TaskState::Accepted,
            TaskState::Preparing,
            TaskState::Ready,
            TaskState::Starting,
            TaskState::Running,
            TaskState::Complete,
            TaskState::Shutdown,
            TaskState::Failed,
            TaskState::Rejected,
            TaskState::Remove,
            TaskState::Orphaned,
        ])
    }

    fn task_status(&mut self) -> TaskStatus {
        TaskStatus {
            state: self.task_state(),
            at: self.time(),
            message: self.text(),
            error: self.text(),
            container_id: self.text(),
            pid: self.u32(),
            exit_code: self.maybe(|d| d.pick(&[0, -1, i32::MIN, 137])),
        }
    }

    fn task(&mut self) -> Task {
        Task {
            id: self.id(TaskId::from_random),
            meta: self.meta(),
            service: self.id(ServiceId::from_random),
            service_name: self.word().parse().unwrap(),
            service_labels: self.labels(),
            slot: self.u64(),
            node: self.maybe(|d| d.id(NodeId::from_random)),
            spec: Arc::new(self.task_spec()),
            spec_index: self.u64(),
            versions: self.many(|d| ObjectVersion {
                object: d.id(ObjectId::from_random),
                version: d.version_number(),
            }),
            desired: self.task_state(),
            status: self.task_status(),
            started_at: self.maybe(Self::time),
            wiped: self.below(2) == 0,
        }
    }

    fn remnant(&mut self) -> Remnant {
        Remnant {
            task: self.id(TaskId::from_random),
            node: self.id(NodeId::from_random),
            service_name: self.word().parse().unwrap(),
            since: self.time(),
            payloads: self.many(|d| Payload {
                kind: d.pick(&[Kind::Secret, Kind::Config]),
                name: d.word().parse().unwrap(),
                version: ObjectVersion {
                    object: d.id(ObjectId::from_random),
                    version: d.version_number(),
                },
            }),
        }
    }

    fn description(&mut self) -> NodeDescription {
        NodeDescription {
            hostname: self.text(),
            os: self.text(),
            arch: self.text(),
            nano_cpus: self.u64(),
            memory_bytes: self.u64(),
            runtime: self.text(),
            engine_version: self.text(),
            engine_labels: self.labels(),
            version: self.text(),
            runtime_error: self.text(),
        }
    }

    fn node_status(&mut self) -> NodeStatus {
        NodeStatus {
            state: self.pick(&[
                NodeState::Unknown,
                NodeState::Down,
                NodeState::Ready,
                NodeState::Disconnected,
            ]),
            message: self.text(),
            addr: self.text(),
            at: self.time(),
            dispatcher: self.maybe(|d| d.id(NodeId::from_random)),
        }
    }

    fn standing(&mut self) -> Standing {
        let left = Standing::Left { at: self.time(), wiped: self.below(2) == 0 };
        self.pick(&[Standing::Member, left])
    }

    fn availability(&mut self) -> Availability {
        self.pick(&[Availability::Active, Availability::Pause, Availability::Drain])
    }

    fn node(&mut self) -> Node {
        Node {
            id: self.id(NodeId::from_random),
            meta: self.meta(),
            role: self.role(),
            availability: self.availability(),
            labels: self.labels(),
            description: self.description(),
            renamed: self.maybe(Self::text),
            status: self.node_status(),
            standing: self.standing(),
            manager: self.maybe(|d| ManagerStatus {
                raft_id: d.u64(),
                addr: d.text(),
                oldest_term: d.u32(),
                root: d.u32(),
                prepared_root: d.maybe(|d| RootId(d.digest())),
            }),
            certificate: self.maybe(Self::certificate),
            runtime_failed_at: self.maybe(Self::time),
            sightings: self.sightings(),
        }
    }

    fn cluster(&mut self) -> Cluster {
        Cluster {
            id: self.id(ClusterId::from_random),
            meta: self.meta(),
            settings: ClusterSettings {
                heartbeat: self.duration(),
                certificate_life: self.duration(),
                task_history: self.u64(),
                key_max_age: self.maybe(Self::duration),
                come_back: self.duration(),
            },
            ca_certificate: self.bytes(),
            ca_key: self.sealed(),
            keyring: self.many(Self::wrapped_term),
            next_raft_id: self.u64(),
            rotation: self.maybe(Self::rotation),
            tokens: self.many(Self::token),
            unlockers: self.many(Self::unlocker),
            key_files: self.below(2) == 0,
            backup: self.maybe(Self::backup),
            former_managers: self.many(Self::former_manager),
            rekeying: Rekeying {
                due: self.below(2) == 0,
                running: self.maybe(|d| Rewrapping {
                    started_at: d.time(),
                    total: d.u64(),
                    rate: d.maybe(Self::u32),
                }),
            },
            root: RootStatus {
                number: self.u32(),
                id: RootId(self.digest()),
                since: self.time(),
                rotation: self.maybe(|d| RootRotation {
                    started_at: d.time(),
                    rate: d.maybe(Self::u32),
                    offered: d.maybe(Self::root_offer),
                }),
            },
        }
    }

    fn former_manager(&mut self) -> FormerManager {
        FormerManager {
            node: self.id(NodeId::from_random),
            raft_id: self.u64(),
            at: self.time(),
            departure: self.pick(&[
                Departure::Demoted,
                Departure::Removed,
                Departure::Replaced,
                Departure::Abandoned,
            ]),
        }
    }

    fn root_offer(&mut self) -> RootOffer {
        RootOffer { id: RootId(self.digest()), by: self.id(NodeId::from_random) }
    }

    fn wrapped_term(&mut self) -> WrappedTerm {
        WrappedTerm { term: self.u32(), created_at: self.time(), wrapped: self.bytes() }
    }

    fn rewrapped(&mut self) -> Rewrapped {
        let object = self.id(ObjectId::from_random);
        let version = ObjectVersion { object, version: self.version_number() };
        Rewrapped { version, from: self.u32(), wrapped: self.bytes() }
    }

    fn backup(&mut self) -> BackupStatus {
        BackupStatus { created_at: self.time(), verified_at: self.time(), index: self.u64() }
    }

    fn unlocker(&mut self) -> Unlocker {
        let method = match self.below(7) {
            0 => Method::File,
            1 => Method::Autolock,
            2 => Method::Recovery,
            3 => Method::Passphrase(Cost {
                salt: self.digest()[..16].try_into().unwrap(),
                memory_kib: self.u32(),
                passes: self.u32(),
                lanes: self.u32(),
            }),
            4 => Method::Shamir { shares: 5, threshold: 3 },
            5 => Method::Command(Helper { program: self.text().into(), wrapped_key: self.bytes() }),
            _ => Method::Tpm2(Tpm2 {
                device: self.text(),
                pcrs: Pcrs::from_bits(self.u32() >> 8).unwrap(),
                parent: self.digest(),
                public: self.bytes(),
                private: self.bytes(),
            }),
        };
        let (id, recipient) = (self.id(UnlockerId::from_random), Recipient(self.digest()));
        Unlocker { id, method, recipient, wrapped_root: self.bytes() }
    }

    fn role(&mut self) -> Role {
        self.pick(&[Role::Worker, Role::Manager])
    }

    fn digest(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap())
    }

    fn certificate(&mut self) -> CertificateStatus {
        CertificateStatus {
            issuer: self.digest(),
            role: self.role(),
            expires_at: self.time(),
            shown: self.flag(),
            key: self.key_hash(),
            former: self.maybe(Self::key_hash),
            used: self.maybe(Self::key_hash),
            dated: self.flag(),
        }
    }

    fn key_hash(&mut self) -> KeyHash {
        KeyHash(self.digest())
    }

    fn shown_key(&mut self) -> ShownKey {
        ShownKey { key: self.key_hash(), expires_at: self.time() }
    }

    fn sightings(&mut self) -> Sightings {
        let rival = |d: &mut Self| Rival {
            since: d.time(),
            last: d.time(),
            signs: d.u32(),
            addrs: d.many(Self::text),
        };
        Sightings { processes: self.many(Self::u64), rival: self.maybe(rival) }
    }

    fn token(&mut self) -> Token {
        Token {
            hash: self.digest(),
            role: self.role(),
            created_at: self.time(),
            expires_at: self.maybe(Self::time),
            uses_left: self.maybe(Self::u64),
        }
    }

    fn rotation(&mut self) -> AuthorityRotation {
        AuthorityRotation {
            previous: self.bytes(),
            cross_signed: self.bytes(),
            started_at: self.time(),
        }
    }

    fn change(&mut self) -> TaskChange {
        let id = self.id(TaskId::from_random);
        let node = self.id(NodeId::from_random);
        match self.below(7) {
            0 => TaskChange::Create(Box::new(self.task())),
            1 => TaskChange::Assign { id, node },
            2 => TaskChange::Desire { id, desired: self.task_state() },
            3 => TaskChange::Report { id, node, status: self.task_status() },
            4 => TaskChange::Note { id, status: self.task_status() },
            5 => TaskChange::Wiped { id, node },
            _ => TaskChange::Delete { id },
        }
    }

    fn command(&mut self) -> Command {
        let index = self.maybe(Self::u64);
        let object = self.id(ObjectId::from_random);
        let service = self.id(ServiceId::from_random);
        let node = self.id(NodeId::from_random);
        match self.below(40) {
            0 => Command::Found { cluster: Box::new(self.cluster()), node: Box::new(self.node()) },
            1 => Command::CreateObject {
                kind: self.kind(),
                id: object,
                name: self.word().parse().unwrap(),
                labels: self.labels(),
                size: self.u64(),
                sealed: self.sealed(),
            },
            2 => Command::SetObjectLabels {
                kind: self.kind(),
                id: object,
                index,
                labels: self.labels(),
            },
            3 => Command::RemoveObject { kind: self.kind(), id: object },
            4 => Command::CreateService { id: service, spec: Box::new(self.service_spec()) },
            5 => Command::UpdateService { id: service, index, spec: Box::new(self.service_spec()) },
            6 => Command::RemoveService { id: service },
            7 => Command::RollBackService { id: service, index, failure: self.maybe(Self::text) },
            8 => Command::NoteUpdate {
                id: service,
                spec_index: self.u64(),
                status: self.update_status(),
            },
            9 => Command::ChangeTasks { changes: self.many(Self::change) },
            10 => Command::ReportNode {
                id: node,
                description: self.maybe(|d| Box::new(d.description())),
                status: self.node_status(),
                held_by: self.maybe(|d| d.id(NodeId::from_random)),
            },
            11 => Command::SetNode {
                id: node,
                index,
                availability: self.availability(),
                labels: self.labels(),
                hostname: self.maybe(Self::text),
            },
            12 => Command::AddToken { token: self.token(), revoke: self.below(2) == 0 },
            13 => Command::JoinNode { token: self.digest(), node: Box::new(self.node()) },
            14 => Command::SetRole { id: node, index, role: self.role() },
            15 => Command::AdmitManager { id: node, addr: self.text() },
            16 => Command::RetireManager { id: node, raft_id: self.u64() },
            32 => Command::LeaveNode { id: node, wiped: self.below(2) == 0 },
            17 => Command::RemoveNode { id: node, force: self.below(2) == 0 },
            18 => Command::NoteCertificate {
                id: node,
                certificate: self.certificate(),
                shown: self.maybe(Self::shown_key),
            },
            19 => Command::RotateAuthority {
                ca_certificate: self.bytes(),
                ca_key: self.sealed(),
                rotation: self.rotation(),
            },
            20 => Command::FinishRotation,
            21 => Command::ChangeUnlockers {
                add: self.many(Self::unlocker),
                remove: self.many(|d| d.id(UnlockerId::from_random)),
                key_files: self.maybe(|d| d.below(2) == 0),
                root: RootId(self.digest()),
            },
            22 => Command::Reestablish { node: Box::new(self.node()) },
            23 => Command::AddTerm {
                term: self.wrapped_term(),
                rate: self.maybe(Self::u32),
                root: RootId(self.digest()),
            },
            24 => Command::Rewrap {
                term: self.u32(),
                keys: self.many(Self::rewrapped),
                authority: self
                    .maybe(|d| RewrappedAuthority { was: d.bytes(), wrapped: d.bytes() }),
            },
            25 => Command::DropTerms { before: self.u32() },
            26 => Command::NoteTerms { id: node, oldest: self.u32() },
            27 => Command::SetKeyMaxAge { age: self.maybe(Self::duration) },
            28 => Command::NoteBackup { backup: self.backup() },
            33 => Command::MoveManager { id: node, addr: self.text() },
            29 => Command::OpenSession {
                id: node,
                description: self.description(),
                status: self.node_status(),
                shown: self.shown_key(),
                process: self.u64(),
            },
            30 => Command::NoteCopy { id: node, addr: self.text() },
            31 => Command::SetComeBack { age: self.duration() },
            35 => Command::BeginRoot { rate: self.maybe(Self::u32) },
            36 => Command::OfferRoot { offer: self.root_offer() },
            37 => Command::NotePreparedRoot { node, root: RootId(self.digest()) },
            38 => Command::RotateRoot {
                root: RootId(self.digest()),
                keyring: self.many(Self::wrapped_term),
                unlockers: self.many(Self::unlocker),
            },
            39 => Command::NoteRoot { node, number: self.u32() },
            _ => {
                Command::NoteDestroyed { node, objects: self.many(|d| d.id(ObjectId::from_random)) }
            }
        }
    }

    fn destroyed(&mut self) -> Destroyed {
        Destroyed {
            kind: self.kind(),
            id: self.id(ObjectId::from_random),
            name: self.word().parse().unwrap(),
            created_at: self.time(),
            removed_at: self.time(),
            done: self.many(|d| d.id(NodeId::from_random)).into_iter().collect(),
        }
    }

    fn stamped(&mut self) -> Stamped {
        let request =
            |d: &mut Self| RequestId { client: d.id(ClientId::from_random), sequence: d.u64() };
        Stamped { request: self.maybe(request), at: self.time(), command: self.command() }
    }

    fn answered(&mut self) -> Answered {
        let outcome = |d: &mut Self| match d.below(5) {
            0 => Ok(Answer::Done),
            1 => {
                Ok(Answer::Object { id: d.id(ObjectId::from_random), version: d.version_number() })
            }
            2 => Ok(Answer::Service { id: d.id(ServiceId::from_random) }),
            3 => Ok(Answer::Manager { raft_id: d.u64() }),
            _ => Err(Refusal {
                kind: d.pick(&[
                    RefusalKind::Invalid,
                    RefusalKind::NotFound,
                    RefusalKind::Exists,
                    RefusalKind::Precondition,
                    RefusalKind::Conflict,
                    RefusalKind::Denied,
                ]),
                message: d.text(),
                hint: d.maybe(Self::text),
            }),
        };
        Answered {
            client: self.id(ClientId::from_random),
            at: self.time(),
            forgotten: self.u64(),
            outcomes: self.many(|d| (d.u64(), outcome(d))).into_iter().collect(),
        }
    }
}

/// A value of each kind as it travels: a command first, then an object.
pub(crate) fn samples(seed: u64) -> Vec<Vec<u8>> {
    let mut draw = Draw(SplitMix(seed));
    vec![
        encode(&draw.stamped()),
        encode(&draw.object()),
        encode(&draw.answered()),
        encode(&draw.cluster()),
        encode(&draw.node()),
        encode(&draw.service()),
        encode(&draw.service_spec()),
        encode(&draw.task()),
        encode(&draw.sealed()),
        v1::Unlocker::from(&draw.unlocker()).encode_to_vec(),
    ]
}

fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = encode(value);
    assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    assert_eq!(encode(&decode::<T>(&bytes).unwrap()), bytes);
}

proptest! {
    #[test]
    fn every_value_comes_back_from_its_bytes(seed: u64) {
        let mut draw = Draw(SplitMix(seed));
        comes_back(&draw.stamped());
        comes_back(&draw.answered());
        comes_back(&draw.remnant());
        comes_back(&draw.destroyed());
        comes_back(&draw.cluster());
        comes_back(&draw.node());
        comes_back(&draw.object());
        comes_back(&draw.service());
        comes_back(&draw.task());
        comes_back(&draw.sealed());
        let commands = draw.many(Draw::stamped);
        prop_assert_eq!(unbatch(batch(&commands)).unwrap(), commands);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_another_value_never_a_panic(seed: u64) {
        let mut draw = Draw(SplitMix(seed));
        let mut bytes = encode(&draw.stamped());
        for _ in 0..=draw.below(4) {
            let at = draw.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << draw.below(8);
            }
        }
        bytes.truncate(bytes.len() - draw.below(bytes.len() / 4 + 1));
        if let Ok(value) = decode::<Stamped>(&bytes) {
            comes_back(&value);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        drop(decode::<Stamped>(&bytes));
        drop(decode::<Answered>(&bytes));
        drop(decode::<Cluster>(&bytes));
        drop(decode::<Node>(&bytes));
        drop(decode::<Object>(&bytes));
        drop(decode::<Service>(&bytes));
        drop(decode::<Task>(&bytes));
    }
}

#[test]
fn a_fault_is_named_by_its_path() {
    let mut draw = Draw(SplitMix(7));
    let mut spec = v1::ServiceSpec::from(&draw.service_spec());
    let task = spec.task.as_mut().unwrap();
    task.references = vec![(&draw.reference()).into(), (&draw.reference()).into()];
    task.references[1].target = "/a/../b".into();
    let fault = ServiceSpec::try_from(spec).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "task.references[1].target: target '/a/../b' must not contain '..'"
    );
}

#[test]
fn what_must_be_set_and_unknown_numbers_are_refused() {
    let mut object = v1::Object::from(&Draw(SplitMix(1)).object());
    object.kind = 0;
    assert_eq!(Object::try_from(object.clone()).unwrap_err().to_string(), "kind: must be set");
    object.kind = 99;
    assert_eq!(Object::try_from(object).unwrap_err().to_string(), "kind: 99 has no meaning here");
    let stamped = v1::Stamped::default();
    assert_eq!(Stamped::try_from(stamped).unwrap_err().to_string(), "command: must be set");
}
