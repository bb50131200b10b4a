//! Whole documents, feature by feature: what they become, what they warn of, and where they are wrong.

use super::*;
use crate::{
    kit::id::ObjectId,
    model::{
        object::Kind,
        service::{FailureAction, Mode, MountKind, RestartCondition, UpdateOrder},
    },
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

struct Disk(BTreeMap<&'static str, &'static str>);

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or(FileError::NotFound)
    }
}

fn document(texts: &[&str]) -> Result<Document, ComposeError> {
    let env = [("TAG", "1.36"), ("EMPTY", ""), ("HOME", "/home/u"), ("PASS_THROUGH", "from-shell")];
    let env = Environment::new(env.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let disk = Disk(BTreeMap::from([
        ("/w/a.env", "A=from-a\nB=from-a\nPASS_THROUGH=from-file\n"),
        ("/w/b.env", "B=from-b\nC='single $TAG'\nD=\"tag $TAG\"\n"),
    ]));
    let name = |n| if n == 0 { "compose.yaml".to_owned() } else { format!("over{n}.yaml") };
    let file = |(n, text): (usize, &&str)| File { path: name(n), bytes: text.as_bytes().to_vec() };
    let files: Vec<File> = texts.iter().enumerate().map(file).collect();
    load(&files, "/w", &env, &disk)
}

fn project(text: &str) -> Result<Project, ComposeError> {
    document(&[text])?.project(&"st".parse().unwrap())
}

/// A project with one service `a`, whose image is given.
fn service(fields: &str) -> Result<ServicePlan, ComposeError> {
    let fields = fields.replace('\n', "\n    ");
    let text = format!(
        "secrets: {{s: {{external: true}}}}\nconfigs: {{c: {{content: x}}}}\nvolumes: {{data: }}\nservices:\n  a:\n    image: i\n    {fields}\n"
    );
    project(&text).map(|mut project| project.services.remove(0))
}

#[track_caller]
fn fails(text: &str, expected: &str) {
    assert_eq!(project(text).map(|_| ()).unwrap_err().to_string(), expected);
}

const NERD_DINNER: &str = "
services:
  db:
    image: busybox:${TAG}
    command: sh -c 'sleep 9'
    secrets:
      - source: nerd-dinner-db-sa-password
        target: /app/sa-password
        uid: '10001'
        gid: www-data
        mode: 0400
    configs: [conf]
    deploy: {replicas: 2, labels: {tier: data}}
    labels: [visible=yes]
  web:
    image: busybox
    secrets: [nerd-dinner-db-sa-password]
secrets:
  nerd-dinner-db-sa-password: {external: true}
configs:
  conf:
    file: ./app.conf
    labels: [a=b]
";

#[test]
fn a_stack_becomes_services_with_references() {
    let project = project(NERD_DINNER).unwrap();
    assert!(project.warnings.is_empty(), "{:?}", project.warnings);
    let [db, web] = &project.services[..] else { panic!("two services") };
    assert_eq!(db.spec.name.as_str(), "st_db");
    assert_eq!(db.spec.task.container.image, "busybox:1.36");
    assert_eq!(db.spec.task.container.args, ["sh", "-c", "sleep 9"]);
    assert_eq!(db.spec.mode, Mode::Replicated { replicas: 2 });
    let labels: Vec<_> = db.spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        labels,
        ["com.docker.stack.image=busybox:1.36", "com.docker.stack.namespace=st", "tier=data"]
    );
    let labels: Vec<_> =
        db.spec.task.container.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["com.docker.stack.namespace=st", "visible=yes"]);
    assert_eq!(web.uses[0].target.as_str(), "/run/secrets/nerd-dinner-db-sa-password");
    assert_eq!((web.uses[0].uid.clone(), web.uses[0].mode), (None, None));

    let ids = [ObjectId::from_random([1; 17]), ObjectId::from_random([2; 17])];
    let lookup = |kind: Kind, name: &crate::kit::name::ObjectName| match (kind, name.as_str()) {
        (Kind::Secret, "nerd-dinner-db-sa-password") => Some((ids[0], name.clone())),
        (Kind::Config, "st_conf") => Some((ids[1], "ST_conf".parse().unwrap())),
        _ => None,
    };
    let specs = project.to_specs(lookup).unwrap();
    let [secret, config] = &specs[0].task.references[..] else { panic!("two references") };
    assert_eq!((secret.object, secret.target.as_str()), (ids[0], "/app/sa-password"));
    assert_eq!(secret.uid.as_ref().unwrap().to_string(), "10001");
    assert_eq!(secret.gid.as_ref().unwrap().to_string(), "www-data");
    assert_eq!(secret.mode.unwrap().bits(), 0o400);
    assert_eq!((config.object, config.target.as_str()), (ids[1], "/conf"));
    assert_eq!(config.name.as_str(), "ST_conf", "as the store spells it");

    assert_eq!(
        project.to_specs(|_, _| None).unwrap_err().to_string(),
        "service db: secret not found: nerd-dinner-db-sa-password"
    );
    let externals: Vec<_> = project.externals().map(|(o, s)| (o.name.as_str(), s)).collect();
    assert_eq!(externals, [("nerd-dinner-db-sa-password", "db")]);
}

#[test]
fn objects_say_where_they_come_from_and_what_they_are_called() {
    let project = project(
        "
services: {a: {image: i, secrets: [f], configs: [c]}}
secrets:
  f: {file: ./f.txt}
  e: {environment: PASS, name: given-name}
  x: {external: true}
  y: {external: {name: old}}
configs:
  c: {content: \"tag=${TAG} $$HOME\\n\", labels: {k: v}}
",
    )
    .unwrap();
    let shown: Vec<_> = project
        .objects
        .iter()
        .map(|o| format!("{} {} {} {:?} {}", o.kind, o.key, o.name, o.source, o.labels.len()))
        .collect();
    assert_eq!(
        shown,
        [
            "secret e given-name Environment(PASS) 1",
            "secret f st_f File(/w/f.txt) 1",
            "secret x x External 0",
            "secret y old External 0",
            "config c st_c Content(..) 2",
        ]
    );
    assert_eq!(project.objects[4].source, Source::Content("tag=1.36 $HOME\n".into()));
    assert_eq!(project.objects[0].place, "compose.yaml:5:3: secrets.e");
    // An external object that no service uses need not be there.
    assert_eq!(project.externals().count(), 0);
}

#[test]
fn all_fields_of_a_service_reach_its_spec() {
    let plan = service(
        "entrypoint: /bin/sh -c
command: ['echo', 'a b']
environment: {A: 1, B: '', PASS_THROUGH: , NOT_SET: }
user: app:app
working_dir: /srv
hostname: h
tty: yes
read_only: true
init: true
stop_signal: SIGINT
stop_grace_period: 1m30s
group_add: [44, video]
cap_add: [NET_ADMIN]
cap_drop: [ALL]
extra_hosts: ['db:10.0.0.1']
tmpfs: /run
volumes: ['data:/data', './x:/x:ro', {type: tmpfs, target: /t, tmpfs: {size: 1m}}]
ports: ['8080:80', {target: 53, published: '53', protocol: udp, mode: host}]
healthcheck: {test: [CMD, 'true'], interval: 10s, timeout: 1s, retries: 3, start_period: 2s}",
    )
    .unwrap();
    let c = &plan.spec.task.container;
    assert_eq!(c.command, ["/bin/sh", "-c"]);
    assert_eq!(c.args, ["echo", "a b"]);
    assert_eq!(c.env, ["A=1", "B=", "PASS_THROUGH=from-shell"]);
    assert_eq!((c.user.as_str(), c.dir.as_str(), c.hostname.as_str()), ("app:app", "/srv", "h"));
    assert_eq!((c.tty, c.read_only, c.init), (true, true, Some(true)));
    assert_eq!((c.stop_signal.as_str(), c.stop_grace), ("SIGINT", Some(Duration::from_secs(90))));
    assert_eq!(c.groups, ["44", "video"]);
    assert_eq!((&c.cap_add[..], &c.cap_drop[..]), (&["NET_ADMIN".into()][..], &["ALL".into()][..]));
    assert_eq!(c.hosts, ["db:10.0.0.1"]);
    let mounts: Vec<_> =
        c.mounts.iter().map(|m| (m.source.as_str(), m.target.as_str(), m.read_only)).collect();
    assert_eq!(
        mounts,
        [("st_data", "/data", false), ("/w/x", "/x", true), ("", "/t", false), ("", "/run", false)]
    );
    assert_eq!(c.mounts[2].kind, MountKind::Tmpfs { size: 1 << 20, mode: 0o1777 });
    let ports: Vec<_> = plan.spec.task.ports.iter().map(|p| (p.published, p.target)).collect();
    assert_eq!(ports, [(8080, 80), (53, 53)]);
    let health = c.healthcheck.as_ref().unwrap();
    assert_eq!((health.retries, health.interval), (3, Duration::from_secs(10)));
}

#[test]
fn the_deploy_section_is_kept_in_full() {
    let plan = service(
        "deploy:
  mode: replicated
  replicas: 3
  labels: [a=b]
  placement:
    constraints: [node.role == worker, 'node.labels.zone!=b']
    preferences: [{spread: node.labels.zone}]
    max_replicas_per_node: 2
  update_config: {parallelism: 2, delay: 10s, failure_action: rollback, monitor: 1m, max_failure_ratio: 0.2, order: start-first}
  rollback_config: {parallelism: 0, failure_action: continue}
  restart_policy: {condition: on-failure, delay: 1s, max_attempts: 3, window: 2m}
  resources:
    limits: {cpus: '0.50', memory: 50M, pids: 100}
    reservations: {cpus: 0.25, memory: 20M}",
    )
    .unwrap();
    let spec = &plan.spec;
    assert_eq!(spec.mode, Mode::Replicated { replicas: 3 });
    let placement = &spec.task.placement;
    assert_eq!(placement.constraints[1].to_string(), "node.labels.zone != b");
    assert_eq!(
        (&placement.preferences[0][..], placement.max_replicas_per_node),
        ("node.labels.zone", 2)
    );
    let update = spec.update.as_ref().unwrap();
    assert_eq!((update.parallelism, update.delay), (2, Duration::from_secs(10)));
    assert_eq!(
        (update.failure_action, update.order),
        (FailureAction::Rollback, UpdateOrder::StartFirst)
    );
    assert!((update.max_failure_ratio - 0.2).abs() < f64::EPSILON);
    let rollback = spec.rollback.as_ref().unwrap();
    assert_eq!((rollback.parallelism, rollback.failure_action), (0, FailureAction::Continue));
    let restart = &spec.task.restart;
    assert_eq!((restart.condition, restart.max_attempts), (RestartCondition::OnFailure, 3));
    let resources = &spec.task.resources;
    assert_eq!(
        (resources.limit_nano_cpus, resources.reserve_nano_cpus),
        (500_000_000, 250_000_000)
    );
    assert_eq!((resources.limit_memory_bytes, resources.limit_pids), (50 << 20, 100));

    assert_eq!(service("deploy: {mode: global}").unwrap().spec.mode, Mode::Global);
    let bad = |text: &str| service(text).unwrap_err().to_string();
    assert!(
        bad("deploy: {mode: global, replicas: 2}")
            .ends_with("replicas can only be used with replicated mode")
    );
    assert!(bad("deploy: {replicas: 100001}").ends_with("must be at most 100000"));
    assert!(bad("deploy: {replicas: -1}").ends_with("must be a whole number, 0 or more"));
    assert!(
        bad("deploy: {rollback_config: {failure_action: rollback}}")
            .ends_with("must be one of: pause, continue")
    );
    assert!(
        bad("deploy: {update_config: {max_failure_ratio: NaN}}")
            .ends_with("must be a number from 0 to 1")
    );
    assert!(bad("deploy: {mode: replicated-job}").ends_with("jobs are not supported"));
}

#[test]
fn env_files_lie_below_the_environment_and_later_ones_win() {
    let plan = service("env_file: [a.env, {path: ./b.env}, {path: gone.env, required: false}]\nenvironment: [A=own, PASS_THROUGH]").unwrap();
    assert_eq!(
        plan.spec.task.container.env,
        ["A=own", "B=from-b", "C=single $TAG", "D=tag 1.36", "PASS_THROUGH=from-shell"]
    );
    assert_eq!(
        service("env_file: gone.env").unwrap_err().to_string(),
        "compose.yaml:7:15: services.a.env_file[0].path: env file /w/gone.env not found"
    );
    assert_eq!(
        service("env_file: {path: b.env}").unwrap_err().why,
        "must be a list, not a mapping"
    );
}

#[test]
fn later_files_lie_over_earlier_ones() {
    let over = "
services:
  db: {image: 'other', configs: [{source: conf, target: /etc/app}], secrets: !reset []}
  extra: {image: e}
configs: {conf: {labels: {c: d}}}
";
    let project = document(&[NERD_DINNER, over]).unwrap().project(&"st".parse().unwrap()).unwrap();
    let names: Vec<_> = project.services.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(names, ["db", "extra", "web"]);
    let db = &project.services[0];
    assert_eq!(db.spec.task.container.image, "other");
    let targets: Vec<_> = db.uses.iter().map(|u| u.target.as_str()).collect();
    assert_eq!(targets, ["/conf", "/etc/app"]);
    assert_eq!(project.objects[1].labels.len(), 3);
}

#[test]
fn anchors_and_extensions_are_understood() {
    let project = project(
        "
x-common: &common
  image: i
  environment: &env {A: '1'}
services:
  a:
    <<: *common
    x-note: anything
    environment: {<<: *env, B: '2'}
x-more: [1, 2]
",
    )
    .unwrap();
    assert_eq!(project.services[0].spec.task.container.env, ["A=1", "B=2"]);
}

#[test]
fn what_a_stack_cannot_use_is_named() {
    let project = project(
        "
version: '3.8'
name: something
services:
  a:
    image: i:${NOT_SET}
    build: .
    depends_on: [b]
    container_name: x
    restart: always
    networks: [front]
    ports: [{target: 1, mode: ingress}]
    configs: [{source: c, mode: 440}]
configs: {c: {content: x}}
networks: {front: , default: }
volumes: {v: {driver: nfs}}
",
    )
    .unwrap();
    assert_eq!(
        project.warnings,
        [
            "Ignoring unsupported options: build, depends_on, ports.mode: ingress, restart, volumes.driver",
            "Ignoring deprecated options:\n\ncontainer_name: Setting the container name is not supported.",
            "The \"NOT_SET\" variable is not set. Defaulting to a blank string.",
            "Ignoring networks: front: tasks use the engine's default network",
            "services.a.configs[0].mode: mode 440 is a decimal number, 0670 in octal; write 0440 if you mean octal",
        ]
    );
}

#[test]
fn errors_name_file_line_column_and_path() {
    for (text, expected) in [
        (
            "services:\n  db:\n    image: i\n    secrets:\n      - source: s\n        target: ../x\nsecrets: {s: {external: true}}\n",
            "compose.yaml:6:17: services.db.secrets[0].target: must not contain '..'",
        ),
        (
            "services:\n  db:\n    image: i\n    secrets: [nope]\n",
            "compose.yaml:4:15: services.db.secrets[0].source: service db refers to undefined secret nope",
        ),
        (
            "services:\n  db:\n    image: i\n    configs: [nope]\nsecrets: {nope: {external: true}}\n",
            "compose.yaml:4:15: services.db.configs[0].source: service db refers to undefined config nope",
        ),
        (
            "services:\n  db:\n    image: i\n    secrets: [s, {source: c, target: /run/secrets/s}]\nsecrets: {s: {external: true}, c: {external: true}}\n",
            "compose.yaml:4:18: services.db.secrets[1]: secret 's' and secret 'c' have a conflicting target: '/run/secrets/s'",
        ),
        ("services:\n  a:\n    build: .\n", "compose.yaml:2:3: services.a: no image specified"),
        ("services:\n  a:\n", "compose.yaml:2:3: services.a: no image specified"),
        (
            "services:\n  a.b: {image: i}\n",
            "compose.yaml:2:3: services.a.b: cannot be the name of a service in stack st: name must be valid as a DNS name component",
        ),
        ("services: [a]\n", "compose.yaml:1:11: services: must be a mapping, not a list"),
        ("- a\n", "compose.yaml:1:1: a Compose file is a mapping, not a list"),
        ("", "compose.yaml: empty compose file"),
        ("services: {}\n", "compose.yaml:1:1: services: no service defined"),
        ("service:\n  a: {image: i}\n", "compose.yaml:1:1: service: unknown field"),
        (
            "services:\n  a:\n    image: i\n    deploy: {replica: 1}\n",
            "compose.yaml:4:14: services.a.deploy.replica: unknown field",
        ),
        (
            "services: {a: {image: 'x${'}}\n",
            "compose.yaml:1:23: services.a.image: invalid interpolation: ${ is not closed",
        ),
        (
            "services: {a: {image: '${IMG:?say which}'}}\n",
            "compose.yaml:1:23: services.a.image: required variable IMG is missing a value: say which",
        ),
        (
            "services: {a: {image: i, cpus: 2}}\n",
            "compose.yaml:1:32: services.a.cpus: is not supported by a stack: Set resource limits using deploy.resources",
        ),
        (
            "services: {a: {image: i, volumes: ['no:/x']}}\n",
            "compose.yaml:1:36: services.a.volumes[0].source: names a volume that the document does not define",
        ),
        (
            "secrets: {s: {content: x}}\n",
            "compose.yaml:1:24: secrets.s.content: a secret must not stand in the document",
        ),
        (
            "secrets: {s: {file: x, external: true}}\n",
            "compose.yaml:1:21: secrets.s.file: external and file exclude each other",
        ),
        (
            "configs: {s: {file: x, content: y}}\n",
            "compose.yaml:1:33: configs.s.content: file and content exclude each other",
        ),
        (
            "secrets: {s: }\n",
            "compose.yaml:1:11: secrets.s: does not say where the secret comes from",
        ),
        (
            "secrets: {s: {file: x, name: 'a b'}}\n",
            "compose.yaml:1:30: secrets.s.name: invalid name, only 253 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
        ),
        (
            "include: [x.yaml]\nservices: {a: {image: i}}\n",
            "compose.yaml:1:10: include: cannot be used in a stack: give the files with -c",
        ),
    ] {
        fails(text, expected);
    }
}

#[test]
fn values_never_get_into_an_error() {
    for text in [
        "services: {a: {image: i, environment: {A: [hunter2]}}}",
        "services: {a: {image: i, deploy: {replicas: hunter2}}}",
        "services: {a: {image: i, ports: [hunter2]}}",
        "services: {a: {image: i, volumes: ['hunter2:x']}}",
        "services: {a: {image: i, volumes: ['./hunter2:/x:hunter2']}}",
        "services: {a: {image: i, stop_grace_period: hunter2}}",
        "services: {a: {image: i, init: hunter2}}",
        "services: {a: {image: i, command: \"sh 'hunter2\"}}",
        "services: {a: {image: i, healthcheck: {test: [hunter2]}}}",
        "services: {a: {image: i, deploy: {placement: {constraints: ['hunter2 == ;']}}}}",
        "services: {a: {image: i, deploy: {placement: {constraints: ['h == hunter2;']}}}}",
        "services: {a: {image: i, deploy: {resources: {limits: {memory: hunter2}}}}}",
        "services: {a: {image: i, secrets: [{source: s, target: /hunter2/..}]}}\nsecrets: {s: {external: true}}",
        "services: {a: {image: i, secrets: [{source: s, uid: hunter2 }]}}\nsecrets: {s: {external: true, name: 'hunter2 '}}",
        "services: {a: {image: i, secrets: [{source: s, mode: hunter2}]}}\nsecrets: {s: {external: true}}",
        "services: {a: hunter2}",
        "services: {a: {image: \"hunter2$\"}}",
        "services: {a: {image: i, tmpfs: '/x:size=hunter2'}}",
        "services: {a: {image: i, extra_hosts: [hunter2]}}",
        "configs: {c: {external: hunter2}}",
        "secrets: {c: {content: hunter2}}",
    ] {
        let err = project(text).map(|_| text).unwrap_err();
        let shown = format!("{err} {err:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_written_document_loads_to_the_same_again() {
    let first = document(&[NERD_DINNER]).unwrap();
    let yaml = first.to_yaml();
    assert_eq!(
        yaml,
        "services:
  db:
    command:
    - sh
    - -c
    - sleep 9
    configs:
    - source: conf
    deploy:
      labels:
        tier: data
      replicas: 2
    image: busybox:1.36
    labels:
      visible: \"yes\"
    secrets:
    - gid: www-data
      mode: \"0400\"
      source: nerd-dinner-db-sa-password
      target: /app/sa-password
      uid: \"10001\"
  web:
    image: busybox
    secrets:
    - source: nerd-dinner-db-sa-password
secrets:
  nerd-dinner-db-sa-password:
    external: true
configs:
  conf:
    file: /w/app.conf
    labels:
      a: b
"
    );
    let again = document(&[&yaml]).unwrap();
    assert_eq!(again.to_yaml(), yaml);
    let name = "st".parse().unwrap();
    let (mut a, mut b) = (first.project(&name).unwrap(), again.project(&name).unwrap());
    for object in a.objects.iter_mut().chain(&mut b.objects) {
        object.place.clear();
    }
    assert_eq!(a, b);
}

#[test]
fn dollars_survive_being_written() {
    let text =
        "services: {a: {image: i, command: ['echo', '$$HOME ${TAG}'], environment: {A: 'x$$y'}}}";
    let yaml = document(&[text]).unwrap().to_yaml();
    assert!(yaml.contains("$$HOME 1.36"), "{yaml}");
    assert_eq!(document(&[&yaml]).unwrap().to_yaml(), yaml);
}

#[test]
fn an_unfilled_document_keeps_its_variables() {
    let base = b"services: {a: {image: 'i:${TAG:-x}', ports: ['${P}:80'], command: echo $A, environment: [A=$B]}}";
    let over = b"services: {a: {ports: ['81:81'], environment: {C: '$$'}}}";
    let file = |path: &str, text: &[u8]| File { path: path.into(), bytes: text.to_vec() };
    let document = load_unfilled(&[file("a", base), file("b", over)], "/w").unwrap();
    assert_eq!(
        document.to_yaml(),
        "services:
  a:
    command: echo $A
    environment:
      A: $B
      C: $$
    image: i:${TAG:-x}
    ports:
    - ${P}:80
    - protocol: tcp
      published: 81
      target: 81
"
    );
}

#[test]
fn stack_names_are_checked() {
    for bad in ["", "a b", "-a", "a.b", "a/b"] {
        bad.parse::<StackName>().unwrap_err();
    }
    assert_eq!(
        "".parse::<StackName>().unwrap_err().to_string(),
        "invalid stack name: name must be provided"
    );
}

/// Words that make documents interesting, put together at random.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "services:",
        "secrets:",
        "configs:",
        "volumes:",
        "a:",
        "b:",
        "image: i",
        "deploy:",
        "replicas: 2",
        "secrets: [s]",
        "- s",
        "{external: true}",
        "s: {external: true}",
        "environment: [A, B=$TAG]",
        "ports: ['80-81:80-81']",
        "volumes: ['a:/b']",
        "command: a 'b",
        "!reset",
        "!override",
        "&x",
        "*x",
        "<<: *x",
        "null",
        "mode: 0400",
        "env_file: a.env",
        "healthcheck: {test: x}",
        "tmpfs: /x",
        "extra_hosts: {a: [b]}",
        "file: x",
        "content: y",
        "[",
        "]",
        "{",
        "}",
        ",",
        "x-y: 1",
    ];
    proptest::collection::vec((0..words.len(), 0..4_usize, any::<bool>()), 0..25).prop_map(
        move |parts| {
            let mut out = String::new();
            for (word, indent, line) in parts {
                out += if line { "\n" } else { " " };
                if line {
                    out += &"  ".repeat(indent);
                }
                out += words[word];
            }
            out
        },
    )
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(a in fragment(), b in fragment()) {
        if let Ok(document) = document(&[&a, &b]) {
            drop(document.project(&"st".parse().unwrap()));
            drop(document.to_yaml());
        }
    }

    #[test]
    fn whatever_loads_is_written_and_loads_again(a in fragment()) {
        let text = format!("services:\n  a:\n    image: i\n{a}");
        if let Ok(document_a) = document(&[&text]) {
            let yaml = document_a.to_yaml();
            prop_assert_eq!(document(&[&yaml]).map(|d| d.to_yaml()), Ok(yaml));
        }
    }
}
