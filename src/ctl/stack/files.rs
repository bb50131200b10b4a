//! Reads what `-c` names: Compose files or standard input, the `.env` beside the first, the caller's environment.

use crate::{
    compose::{self, ComposeError, Document, Environment, File, FileError, Files},
    ctl::exit::{Code, Failure},
    kit::source,
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes of one file that are read: more than the loader takes, so that it can say so.
const FILE_SIZE: u64 = 9 * 1024 * 1024;

/// Compose files as read, and where their relative paths start.
pub(super) struct Input {
    files: Vec<File>,
    base: PathBuf,
}

/// Reads the files that `-c` names; `-` is standard input, whose relative paths start in the working directory.
///
/// # Errors
/// A file that cannot be read; standard input named twice.
pub(super) fn read(paths: &[PathBuf]) -> Result<Input, Failure> {
    let here = std::env::current_dir().map_err(|err| {
        Failure::new(Code::Other, format!("cannot tell the working directory: {err}"))
    })?;
    let is_stdin = |path: &PathBuf| path == Path::new("-");
    if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Failure::usage("standard input can be given once only"));
    }
    let base = match paths.first() {
        Some(path) if !is_stdin(path) => here.join(path).parent().map(Path::to_owned),
        _ => None,
    };
    let mut files = Vec::new();
    for path in paths {
        let read = if is_stdin(path) { bounded(io::stdin()) } else { open(path) };
        let bytes = read.map_err(|err| {
            let failure = Failure::new(
                Code::Other,
                format!("cannot read the Compose file {}: {err}", path.display()),
            );
            match err.kind() {
                io::ErrorKind::NotFound => {
                    failure.hint("give the path of a file, or - for standard input")
                }
                _ => failure,
            }
        })?;
        let name = if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() };
        files.push(File { path: name, bytes });
    }
    Ok(Input { files, base: base.unwrap_or(here) })
}

impl Input {
    /// Loads the files with their variables filled in; also gives the variables.
    ///
    /// # Errors
    /// What is wrong in which file.
    pub(super) fn load(&self) -> Result<(Document, Environment), Failure> {
        let own = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut env = Environment::new(own);
        let path = self.base.join(".env");
        match open(&path) {
            Ok(bytes) => env = env.with_dotenv(&path.display().to_string(), &bytes)?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => {
                let why = format!("cannot read {}: {err}", path.display());
                return Err(Failure::new(Code::Other, why));
            }
        }
        let document = compose::load(&self.files, &self.base()?, &env, &Disk)?;
        Ok((document, env))
    }

    /// Loads the files with their variables as they stand.
    ///
    /// # Errors
    /// What is wrong in which file.
    pub(super) fn load_unfilled(&self) -> Result<Document, Failure> {
        Ok(compose::load_unfilled(&self.files, &self.base()?)?)
    }

    fn base(&self) -> Result<String, Failure> {
        self.base.to_str().map(str::to_owned).ok_or_else(|| {
            let why = format!("the path {} is not UTF-8 text", self.base.display());
            Failure::new(Code::Other, why)
        })
    }
}

impl From<ComposeError> for Failure {
    fn from(err: ComposeError) -> Self {
        let failure = Self::refused(err.to_string());
        match err.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The files that a document names.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        open(Path::new(path)).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => FileError::NotFound,
            _ => FileError::Other(err.to_string()),
        })
    }
}

fn open(path: &Path) -> io::Result<Vec<u8>> {
    bounded(source::open(path)?)
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(dir: &Path, names: &[&str]) -> Result<String, Failure> {
        let paths: Vec<_> = names.iter().map(|name| dir.join(name)).collect();
        read(&paths)?.load().map(|(document, _)| document.to_yaml())
    }

    #[test]
    fn dotenv_and_relative_paths_belong_to_the_first_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        write(".env", "SECRETD_TEST_IMAGE=from-dotenv\n");
        write("vars.env", "A=1\n");
        write(
            "compose.yaml",
            "services: {a: {image: '${SECRETD_TEST_IMAGE}', env_file: vars.env}}\n",
        );
        write("sub/over.yaml", "configs: {c: {file: c.txt}}\n");
        let yaml = load(dir.path(), &["compose.yaml", "sub/over.yaml"]).unwrap();
        let root = dir.path().display();
        assert_eq!(
            yaml,
            format!(
                "services:\n  a:\n    environment:\n      A: \"1\"\n    image: from-dotenv\nconfigs:\n  c:\n    file: {root}/c.txt\n"
            )
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let failure = load(dir.path(), &["none.yaml"]).unwrap_err();
        assert!(failure.message().starts_with("cannot read the Compose file "), "{failure}");
        assert!(failure.hint_text().is_some());
        assert_eq!(read(&["-".into(), "-".into()]).map(|_| ()).unwrap_err().code, Code::Usage);
    }

    #[test]
    fn the_example_is_a_stack_without_warnings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nerd-dinner");
        let (document, _) = read(&[root.join("compose.yaml")]).unwrap().load().unwrap();
        let project = document.project(&"nerd-dinner".parse().unwrap()).unwrap();
        assert!(project.warnings.is_empty(), "{:?}", project.warnings);
        let targets: Vec<_> = project
            .services
            .iter()
            .flat_map(|service| {
                service.uses.iter().map(|u| format!("{} {}", service.spec.name, u.target))
            })
            .collect();
        assert_eq!(
            targets,
            [
                "nerd-dinner_db /app/sa-password",
                "nerd-dinner_web /run/secrets/nerd-dinner-db-sa-password",
                "nerd-dinner_web /etc/nerd-dinner/app.conf",
            ]
        );
    }
}
