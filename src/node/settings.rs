//! What an operator may set: flags, then `SECRETD_*`, then the file given by `--config`, then the defaults.

use super::{
    address::{self, BadAddress},
    recover::RecoverFlags,
};
use crate::kit::source;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Runs a node of a secretd cluster. It waits for `secretctl init` and comes back as what it was after a restart.
#[derive(Debug, Default, Parser)]
#[command(name = "secretd", version, max_term_width = 100)]
pub struct Flags {
    /// Where the encrypted store lives [default: /var/lib/secretd]
    #[arg(long, global = true, env = "SECRETD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where the socket and delivered files live; should be a tmpfs [default: /run/secretd]
    #[arg(long, global = true, env = "SECRETD_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,

    /// The key that unlocks the store; must lie outside the data directory; by default DATA-DIR.key
    #[arg(long, global = true, env = "SECRETD_KEY_FILE", value_name = "PATH")]
    pub key_file: Option<PathBuf>,

    /// What starts tasks; auto keeps to what this node was, at first Docker for root [default: auto]
    #[arg(long, global = true, env = "SECRETD_RUNTIME", value_enum)]
    pub runtime: Option<RuntimeChoice>,

    /// The Docker Engine [default: unix:///var/run/docker.sock]
    #[arg(long, global = true, env = "SECRETD_DOCKER_HOST", value_name = "URL")]
    pub docker_host: Option<String>,

    /// Where a manager listens, IP or IP:PORT; by default what init or join was told
    #[arg(long, global = true, env = "SECRETD_LISTEN_ADDR", value_name = "ADDR")]
    pub listen_addr: Option<String>,

    /// Where the others reach this manager, IP or IP:PORT; given after its address has changed, the others hear of it
    #[arg(long, global = true, env = "SECRETD_ADVERTISE_ADDR", value_name = "ADDR")]
    pub advertise_addr: Option<String>,

    /// Where managers are now, IP or IP:PORT, comma-separated, if none is where this node knew them
    #[arg(
        long,
        global = true,
        env = "SECRETD_MANAGERS",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub managers: Vec<String>,

    /// How log lines look [default: text]
    #[arg(long, global = true, env = "SECRETD_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// What is logged: error, warn, info, debug, trace, or a filter as `info,secretd::raft=debug` [default: info]
    #[arg(long, global = true, env = "SECRETD_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Reads these settings from a TOML file (keys as the flags, without dashes in front)
    #[arg(long, global = true, env = "SECRETD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of running a node.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring a cluster back whose managers are lost for ever, but for this one; the daemon must be stopped
    Recover(RecoverFlags),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeChoice {
    Auto,
    Docker,
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// The file behind `--config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFile {
    data_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    key_file: Option<PathBuf>,
    runtime: Option<RuntimeChoice>,
    docker_host: Option<String>,
    listen_addr: Option<String>,
    advertise_addr: Option<String>,
    managers: Option<Vec<String>>,
    log_format: Option<LogFormat>,
    log_level: Option<String>,
}

/// The settings as they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub key_file: PathBuf,
    pub runtime: RuntimeChoice,
    pub docker_host: String,
    /// Where a manager listens, if it shall be elsewhere than it was.
    pub listen_addr: Option<String>,
    /// Where it is reached, the same way.
    pub advertise_addr: Option<String>,
    /// Where managers are said to be, `IP:PORT`.
    pub managers: Vec<String>,
    pub log_format: LogFormat,
    pub log_level: String,
}

/// Why the settings do not hold.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the config file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the config file {} is not valid: {message}", path.display())]
    Parse { path: PathBuf, message: String },
    #[error("{0} must be an absolute path, not {shown}", shown = .1.display())]
    Relative(&'static str, PathBuf),
    #[error("the key file {} lies inside the data directory", .0.display())]
    KeyInside(PathBuf),
    #[error("the run directory {} is too long for a Unix socket inside it", .0.display())]
    RunDirTooLong(PathBuf),
    #[error("{0} is of no use")]
    Address(&'static str, #[source] BadAddress),
    #[error("'{0}' is not a log level or filter")]
    LogLevel(String),
}

impl SettingsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::KeyInside(_) => Some(
                "whoever copies the data directory must not get its key; choose another place with --key-file",
            ),
            Self::RunDirTooLong(_) => {
                Some("choose a shorter --run-dir: a socket's path has at most 107 bytes")
            }
            Self::LogLevel(_) => Some(
                "use error, warn, info, debug or trace, or a filter as info,secretd::raft=debug",
            ),
            Self::Read { .. } | Self::Parse { .. } | Self::Relative(..) | Self::Address(..) => None,
        }
    }
}

/// The file behind `--config`, in bytes: far more than all settings and their comments.
const CONFIG_FILE: u64 = 1024 * 1024;

/// A socket's path must fit in `sockaddr_un` with its terminating zero.
const SOCKET_PATH_LEN: usize = 107;

impl Settings {
    /// The socket operators use.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("secretd.sock")
    }

    /// Joins flags, environment (clap has read it into the flags) and config file.
    ///
    /// # Errors
    /// An unreadable or malformed config file, and settings that contradict each other.
    pub fn resolve(flags: Flags) -> Result<Self, SettingsError> {
        let Flags {
            data_dir,
            run_dir,
            key_file,
            runtime,
            docker_host,
            listen_addr,
            advertise_addr,
            managers,
            log_format,
            log_level,
            config,
            command: _,
        } = flags;
        let file = match &config {
            Some(path) => read(path)?,
            None => ConfigFile::default(),
        };
        let data_dir = data_dir.or(file.data_dir).unwrap_or_else(|| "/var/lib/secretd".into());
        let run_dir = run_dir.or(file.run_dir).unwrap_or_else(|| "/run/secretd".into());
        let key_file = key_file.or(file.key_file).unwrap_or_else(|| {
            let mut beside = data_dir.as_os_str().to_owned();
            beside.push(".key");
            beside.into()
        });
        for (name, path) in
            [("--data-dir", &data_dir), ("--run-dir", &run_dir), ("--key-file", &key_file)]
        {
            if !path.is_absolute() {
                return Err(SettingsError::Relative(name, path.clone()));
            }
        }
        if key_file.starts_with(&data_dir) {
            return Err(SettingsError::KeyInside(key_file));
        }
        let listen_addr = listen_addr.or(file.listen_addr);
        let advertise_addr = advertise_addr.or(file.advertise_addr);
        let bad = |flag| move |error| SettingsError::Address(flag, error);
        if let Some(addr) = &listen_addr {
            address::listen(addr).map_err(bad("--listen-addr"))?;
        }
        if let Some(addr) = &advertise_addr {
            address::advertise(addr).map_err(bad("--advertise-addr"))?;
        }
        let managers =
            if managers.is_empty() { file.managers.unwrap_or_default() } else { managers };
        let managers = managers.iter().map(|addr| address::peer(addr).map(|addr| addr.to_string()));
        let managers = managers.collect::<Result<_, _>>().map_err(bad("--managers"))?;
        let log_level = log_level.or(file.log_level).unwrap_or_else(|| "info".into());
        if tracing_subscriber::EnvFilter::try_new(&log_level).is_err() {
            return Err(SettingsError::LogLevel(log_level));
        }
        let settings = Self {
            data_dir,
            run_dir,
            key_file,
            runtime: runtime.or(file.runtime).unwrap_or(RuntimeChoice::Auto),
            docker_host: docker_host
                .or(file.docker_host)
                .unwrap_or_else(|| "unix:///var/run/docker.sock".into()),
            listen_addr,
            advertise_addr,
            managers,
            log_format: log_format.or(file.log_format).unwrap_or(LogFormat::Text),
            log_level,
        };
        if settings.socket().as_os_str().len() > SOCKET_PATH_LEN {
            return Err(SettingsError::RunDirTooLong(settings.run_dir));
        }
        Ok(settings)
    }
}

fn read(path: &Path) -> Result<ConfigFile, SettingsError> {
    let text = source::read_text(path, CONFIG_FILE)
        .map_err(|source| SettingsError::Read { path: path.into(), source })?;
    toml::from_str(&text).map_err(|error| SettingsError::Parse {
        path: path.into(),
        message: error.to_string().trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags { data_dir: Some("/srv/s".into()), ..Flags::default() }
    }

    #[test]
    fn the_key_file_lies_beside_the_data_directory() {
        assert_eq!(Settings::resolve(flags()).unwrap().key_file, PathBuf::from("/srv/s.key"));
    }

    #[test]
    fn a_key_inside_the_data_directory_is_refused() {
        let inside = Flags { key_file: Some("/srv/s/key".into()), ..flags() };
        assert!(matches!(Settings::resolve(inside), Err(SettingsError::KeyInside(_))));
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "data-dir = \"/from/file\"\nruntime = \"process\"\n").unwrap();
        let settings = Settings::resolve(Flags { config: Some(file.clone()), ..flags() }).unwrap();
        assert_eq!(settings.data_dir, PathBuf::from("/srv/s"));
        assert_eq!(settings.runtime, RuntimeChoice::Process);
        assert_eq!(settings.log_format, LogFormat::Text);
        std::fs::write(&file, "data-dri = \"/typo\"\n").unwrap();
        let error = Settings::resolve(Flags { config: Some(file), ..flags() }).unwrap_err();
        assert!(error.to_string().contains("data-dri"), "{error}");
    }

    #[test]
    fn relative_paths_long_sockets_and_odd_levels_are_refused() {
        let relative = Flags { run_dir: Some("run".into()), ..flags() };
        assert!(matches!(
            Settings::resolve(relative),
            Err(SettingsError::Relative("--run-dir", _))
        ));
        let long = Flags { run_dir: Some(format!("/{}", "x".repeat(100)).into()), ..flags() };
        assert!(matches!(Settings::resolve(long), Err(SettingsError::RunDirTooLong(_))));
        let odd = Flags { log_level: Some("secretd=loud".into()), ..flags() };
        assert!(matches!(Settings::resolve(odd), Err(SettingsError::LogLevel(_))));
    }

    #[test]
    fn addresses_that_can_never_work_are_refused_with_the_flag_they_came_by() {
        let flags = |managers: &str, advertise: &str| Flags {
            managers: vec![managers.into()],
            advertise_addr: Some(advertise.into()),
            ..flags()
        };
        let settings = Settings::resolve(flags("10.0.0.1", "10.0.0.2")).unwrap();
        assert_eq!(settings.managers, ["10.0.0.1:2390"]);
        for (managers, advertise, flag) in [
            ("10.0.0.1:0", "10.0.0.2", "--managers"),
            ("manager", "10.0.0.2", "--managers"),
            ("10.0.0.1", "0.0.0.0", "--advertise-addr"),
        ] {
            let error = Settings::resolve(flags(managers, advertise)).unwrap_err();
            assert!(error.to_string().starts_with(flag), "{error}");
        }
    }

    #[test]
    fn the_example_config_file_is_valid() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd/secretd.toml");
        Settings::resolve(Flags { config: Some(file), ..Flags::default() }).unwrap();
    }
}
