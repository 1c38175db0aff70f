//! Folders of running things, and what dead owners left in them.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::{Error, ProcessId};

/// A private folder for data and logs of child processes, removed when dropped.
///
/// `SLUICE_KEEP_RUN=1` keeps it for reading. Its name holds its owner, so that
/// [`RunDir::temporary`] can clear away what killed owners could not.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep: bool,
}

impl RunDir {
    /// A new folder among the system's temporary ones. First removes those of dead owners, and
    /// kills the processes noted there.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn temporary(purpose: &str) -> Result<Self, Error> {
        let base = base();
        create_private(&base)?;
        remove_stale(&base);
        let owner = ProcessId::own().map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let path = tempfile::Builder::new()
            .prefix(&format!("{owner}-{purpose}-"))
            .tempdir_in(&base)
            .map_err(Error::io(
                base.display().to_string(),
                "create a folder in it",
            ))?
            .keep();
        let keep = std::env::var_os("SLUICE_KEEP_RUN").is_some_and(|v| v == "1");
        Ok(Self { path, keep })
    }

    /// A folder of the caller's, made if need be, emptied never, and left where it is.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        create_private(&path)?;
        Ok(Self { path, keep: true })
    }

    /// Removes a folder of [`RunDir::at`] whose owner ended without doing so, and kills what still
    /// runs of the processes noted there. Does nothing where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be removed.
    pub fn discard(path: &Path) -> Result<(), Error> {
        kill_noted(path);
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(path.display().to_string(), "remove it")(error))
            }
            _ => Ok(()),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a child, for whoever clears up after us. Returns the note's path.
    pub(crate) fn note(&self, name: &str, pid: u32) -> Result<PathBuf, Error> {
        let note = self.path.join(format!("{name}.pid"));
        // Without /proc, or when the child has ended already, there is nothing to be told apart.
        if let Some(id) = ProcessId::of(pid) {
            fs::write(&note, id.to_string()).map_err(Error::io(name, "note its number"))?;
        }
        Ok(note)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the run folder");
        }
    }
}

/// The variable that names the folder of all temporary run folders.
pub(crate) const BASE: &str = "SLUICE_RUN_DIR";

/// The folder of all temporary run folders, one per user.
///
/// In a user namespace everybody is root, so what runs there is told by the variable.
pub(crate) fn base() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let usual = || std::env::temp_dir().join(format!("sluice-e2e-{user}"));
    std::env::var_os(BASE)
        .filter(|v| !v.is_empty())
        .map_or_else(usual, PathBuf::from)
}

/// For us alone: it holds tokens and keys. In a folder for all, such as `/tmp`, somebody else may
/// have taken the name.
fn create_private(path: &Path) -> Result<(), Error> {
    let name = || path.display().to_string();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io(name(), "create the folder"))?;
    let owner = fs::metadata(path)
        .map_err(Error::io(name(), "look at the folder"))?
        .uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let foreign = format!("it belongs to user {owner}: set {BASE} to a folder of yours");
    Err(Error::io(name(), "use the folder")(std::io::Error::other(
        foreign,
    )))
}

/// Clears away all folders in `base` whose owner is dead.
///
/// Best effort: several tests may do so at the same time.
fn remove_stale(base: &Path) {
    for dir in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = dir.file_name();
        let Some(owner) = name.to_str().and_then(owner) else {
            continue;
        };
        if owner.is_alive() {
            continue;
        }
        kill_noted(&dir.path());
        let _ = fs::remove_dir_all(dir.path());
    }
}

/// Kills the processes noted in a folder, if they are still the same ones.
fn kill_noted(dir: &Path) {
    for note in fs::read_dir(dir).into_iter().flatten().flatten() {
        if note.path().extension().is_none_or(|ext| ext != "pid") {
            continue;
        }
        let text = fs::read_to_string(note.path()).unwrap_or_default();
        if let Ok(id) = text.parse::<ProcessId>()
            && id.is_alive()
            && let Some(pid) = i32::try_from(id.pid()).ok().and_then(Pid::from_raw)
        {
            tracing::warn!(pid = id.pid(), "killing a process whose owner is dead");
            let _ = kill_process(pid, Signal::KILL);
            // Its files must not be removed before it is gone. A killed process goes at once.
            while id.is_alive() {
                std::thread::sleep(super::POLL);
            }
        }
    }
}

/// The owner from a folder's name, `PID-START-PURPOSE-RANDOM`.
fn owner(name: &str) -> Option<ProcessId> {
    let mut parts = name.splitn(3, '-');
    let (pid, started) = (parts.next()?, parts.next()?);
    parts.next()?;
    format!("{pid}-{started}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[test]
    fn folders_go_with_their_owner_and_stay_while_it_lives() {
        let dir = RunDir::temporary("test").unwrap();
        let path = dir.path().to_owned();
        let _other = RunDir::temporary("test").unwrap();
        assert!(path.is_dir(), "we live");
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_owner_left_is_killed_and_removed() {
        let base = tempfile::tempdir().unwrap();
        let stale = RunDir::at(base.path().join("4194305-1-test-x")).unwrap();
        let foreign = base.path().join("notes");
        fs::create_dir(&foreign).unwrap();
        let mut command = std::process::Command::new("sleep");
        command.arg("1000");
        let mut orphan = Process::spawn("orphan", command, &stale).unwrap();

        remove_stale(base.path());

        assert!(!stale.path().exists());
        assert!(foreign.exists(), "only our own folders");
        while orphan.check().is_ok() {
            std::thread::yield_now();
        }
    }
}
