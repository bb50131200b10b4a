//! `secretctl demo`: the whole way once, on a throw-away node, with the very commands a reader can type.

mod house;
mod stage;

use super::{
    cli::{DemoArgs, DemoRuntime},
    exit::{Code, Failure},
    output,
};
use crate::kit::hex::Hex;
use house::House;
use sha2::{Digest, Sha256};
use stage::Stage;
use tokio::signal::unix::{SignalKind, signal};

/// The files of the example, so that the demo needs nothing but this program.
const FILES: &[(&str, &str)] = &[
    ("compose.yaml", include_str!("../../../examples/nerd-dinner/compose.yaml")),
    (APP_CONF, include_str!("../../../examples/nerd-dinner/app.conf")),
    (PASSWORD_FILE, PASSWORD),
];
const APP_CONF: &str = "app.conf";
const PASSWORD_FILE: &str = "sa-password.txt";
const PASSWORD: &str = include_str!("../../../examples/nerd-dinner/sa-password.txt");

const SECRET: &str = "nerd-dinner-db-sa-password";
const CONFIG: &str = "nerd-dinner-config";
const STACK: &str = "nerd-dinner";

/// Plays the demo and clears up, however it ends.
///
/// # Errors
/// What went wrong on stage, or what could not be cleared up.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let mut house = House::build(args).await?;
    let told = tokio::select! {
        told = tell(&mut house) => told,
        () = interrupted() => Err(Failure::new(Code::Interrupted, "")),
    };
    let cleared = house.clear().await;
    match (told, cleared) {
        (Err(told), Err(cleared)) => {
            output::failure(&cleared);
            Err(told)
        }
        (told, cleared) => told.and(cleared),
    }
}

/// Ctrl-C and whatever else asks us to go; from now on they do not end the process by themselves.
async fn interrupted() {
    let listen = |kind| signal(kind).ok();
    let (mut interrupt, mut terminate, mut hangup) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    );
    let wait = async |signal: &mut Option<tokio::signal::unix::Signal>| match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    };
    tokio::select! {
        () = wait(&mut interrupt) => {}
        () = wait(&mut terminate) => {}
        () = wait(&mut hangup) => {}
    }
}

async fn tell(house: &mut House) -> Result<(), Failure> {
    let image = house.image().to_owned();
    let examples = "examples/nerd-dinner";
    for (name, text) in FILES {
        house.write(&format!("{examples}/{name}"), text)?;
    }
    let stage = house.open().await?;

    stage.say("A node that has just been started belongs to no cluster. Found one:")?;
    let address = house::free_address()?;
    stage.live(&["init", "--listen-addr", &address, "--advertise-addr", &address]).await?;
    stage.live(&["status"]).await?;

    stage.say("Store a secret and a config. A value comes from a file, a pipe or a prompt, never from the command line:")?;
    stage.live(&["create", SECRET, &format!("{examples}/{PASSWORD_FILE}")]).await?;
    stage.live(&["config", "create", CONFIG, &format!("{examples}/{APP_CONF}")]).await?;
    stage.live(&["ls"]).await?;
    stage.live(&["config", "ls"]).await?;

    stage.say("Deploy a database and a web site that use them:")?;
    let compose = format!("{examples}/compose.yaml");
    stage.live(&["stack", "deploy", "-c", &compose, STACK]).await?;
    stage.live(&["stack", "ps", STACK]).await?;

    stage.say("What the tasks see at their target paths, in their own words:")?;
    let db = stage.captured(&["service", "logs", "nerd-dinner_db"]).await?;
    let bytes = format!("/app/sa-password has {} bytes", PASSWORD.len());
    stage.check(db.contains(&bytes), "the database did not find its password")?;
    let web = stage.captured(&["service", "logs", "nerd-dinner_web"]).await?;
    let conf = FILES.iter().find(|(name, _)| *name == APP_CONF).map_or("", |(_, text)| text);
    let last = conf.trim_end().lines().last().unwrap_or_default();
    stage.check(web.contains(last), "the web site did not find its settings")?;

    stage.say("A task of our own, to see that it is the same file byte for byte, readable for its owner only:")?;
    let look = "ls -ln /app/sa-password && sha256sum /app/sa-password";
    let source = format!("source={SECRET},target=/app/sa-password,mode=0400");
    stage
        .live(&[
            "service",
            "create",
            "--name",
            "look",
            "--restart-condition",
            "none",
            "--secret",
            &source,
            &image,
            "sh",
            "-c",
            look,
        ])
        .await?;
    let seen = stage.captured(&["service", "logs", "--raw", "look"]).await?;
    let digest = Hex(&Sha256::digest(PASSWORD.as_bytes())).to_string();
    stage.remark(&format!("sha256 of {examples}/{PASSWORD_FILE} here: {digest}"))?;
    stage.check(seen.contains(&digest), "the task saw another file")?;

    stage.say("No command shows a secret's value again; what is shown is all there is to see:")?;
    let shown = stage.captured(&["inspect", SECRET]).await?;
    stage.check(!shown.contains(PASSWORD), "inspect showed the value")?;
    stage.check(!shown.contains("\"Data\""), "inspect showed data")?;

    stage.say("What is in use cannot be removed:")?;
    stage.refused(&["rm", SECRET], Code::Refused).await?;

    stage.say("Take everything away again:")?;
    stage.live(&["service", "rm", "look"]).await?;
    stage.live(&["stack", "rm", STACK]).await?;
    stage.live(&["rm", SECRET]).await?;
    remove_config(&stage).await
}

/// The config is ours, but the stack may have taken it along.
async fn remove_config(stage: &Stage) -> Result<(), Failure> {
    if stage
        .silent(&["config", "ls", "-q", "--filter", &format!("name={CONFIG}")])
        .await?
        .is_empty()
    {
        return Ok(());
    }
    stage.live(&["config", "rm", CONFIG]).await
}

impl DemoRuntime {
    /// As the daemon's `--runtime` names it.
    fn flag(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }
}
