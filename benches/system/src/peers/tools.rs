//! Where programs are.

use std::cell::OnceCell;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Failure, Result};

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Tools {
    folders: Vec<PathBuf>,
    /// Built when it is first asked for.
    cygnet: OnceCell<Result<PathBuf>>,
    strongswan_root: Option<PathBuf>,
}

impl Tools {
    /// Has strongSwan in a root file system of its own, too.
    pub(crate) fn with_strongswan_root(self, strongswan_root: Option<PathBuf>) -> Self {
        Self { strongswan_root, ..self }
    }

    pub(crate) fn strongswan_root(&self) -> Option<&Path> {
        self.strongswan_root.as_deref()
    }

    /// Looks in `more` before the folders that the system looks in. Without `cygnet`, that of this workspace is built.
    pub(crate) fn new(more: &[PathBuf], cygnet: Option<PathBuf>) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = more.to_vec();
        folders.extend(env::split_paths(&path));
        folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
        let cygnet = cygnet.map_or_else(OnceCell::new, |path| OnceCell::from(Ok(path)));
        Self { folders, cygnet, strongswan_root: None }
    }

    /// The program of this name.
    ///
    /// # Errors
    /// With what to do about it.
    pub(crate) fn find(&self, name: &str, remedy: &str) -> Result<PathBuf> {
        let found = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.context(format!("there is no {name} ({remedy})"))
    }

    /// The daemon.
    pub(crate) fn cygnet(&self) -> Result<PathBuf> {
        self.cygnet.get_or_init(build).clone()
    }

    /// This program itself.
    pub(crate) fn this() -> Result<PathBuf> {
        env::current_exe().context("this program")
    }
}

/// Builds the daemon beside this program.
fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").context("started without cargo: say --cygnet PATH")?;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut command = Command::new(cargo);
    // The program alone: asked for as a library too, everything below it would be compiled once more.
    command.args(["build", "--quiet", "--release", "-p", "cygnet", "--bin", "cygnet", "--manifest-path", manifest]);
    if !command.status().context("cargo")?.success() {
        return Err(Failure("cygnet could not be built".to_owned()));
    }
    let folder = Tools::this()?.parent().and_then(Path::parent).context("no target folder")?.join("release");
    Ok(folder.join("cygnet"))
}

/// The line with `word` of what a command says.
pub(crate) fn line_of(command: &mut Command, word: &str) -> String {
    let output = command.output().map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().find(|line| line.contains(word)).unwrap_or("unknown version").to_owned()
}
