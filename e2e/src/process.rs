//! Child processes that do not outlive the one that started them.
//!
//! Three guards, each for a case that the others miss:
//! * [`Process::stop`] asks politely and waits; a dropped [`Process`] is killed.
//! * Where `setpriv` (util-linux) is found, the kernel kills the child when we die, however we do.
//! * Each child is noted in its [`RunDir`]; the next start removes what dead owners left behind.

mod identity;
mod run_dir;
mod spawner;
pub mod usage;

pub use identity::ProcessId;
pub use run_dir::RunDir;
pub(crate) use run_dir::{BASE, base};
pub(crate) use spawner::bound_to_parent;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a process is asked whether it ended.
const POLL: Duration = Duration::from_millis(20);
/// Lines of its log shown when it ended unexpectedly.
const TAIL: usize = 15;

/// What can go wrong with a child process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started, watched or signalled.
    #[error("{name}: cannot {verb}")]
    Io {
        /// The process or folder.
        name: String,
        /// What was tried.
        verb: &'static str,
        /// The reason.
        source: std::io::Error,
    },
    /// It ended although it should serve.
    #[error("{name} ended by itself ({status}); its last words:\n{tail}")]
    Ended {
        /// The process.
        name: String,
        /// Its exit status.
        status: ExitStatus,
        /// The end of its log.
        tail: String,
    },
}

impl Error {
    fn io(name: impl Into<String>, verb: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let name = name.into();
        move |source| Self::Io { name, verb, source }
    }
}

/// A running child whose output goes to a log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    note: PathBuf,
}

impl Process {
    /// Starts `command`; both its streams go to `NAME.log` in the folder.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be started.
    pub fn spawn(name: &str, command: Command, dir: &RunDir) -> Result<Self, Error> {
        let log = dir.path().join(format!("{name}.log"));
        let out = File::create(&log).map_err(Error::io(name, "create its log"))?;
        let child = spawner::spawn(command, out).map_err(Error::io(name, "start it"))?;
        let note = dir.note(name, child.id())?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            note,
        })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Fails if it has ended, with its last words.
    ///
    /// # Errors
    /// [`Error::Ended`], or [`Error::Io`] when its state cannot be had.
    pub fn check(&mut self) -> Result<(), Error> {
        match self
            .child
            .try_wait()
            .map_err(Error::io(&self.name, "see whether it runs"))?
        {
            None => Ok(()),
            Some(status) => {
                let text = fs::read(&self.log).unwrap_or_default();
                let tail = crate::toolchain::tail(&String::from_utf8_lossy(&text), TAIL);
                Err(Error::Ended {
                    name: self.name.clone(),
                    status,
                    tail,
                })
            }
        }
    }

    /// Sends SIGTERM without waiting; see [`Process::stop`].
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGTERM, waits up to `grace`, then kills. Returns when it has ended.
    ///
    /// # Errors
    /// [`Error::Io`] when its state cannot be had.
    pub async fn stop(mut self, grace: Duration) -> Result<ExitStatus, Error> {
        self.terminate();
        let deadline = Instant::now() + grace;
        loop {
            let state = self
                .child
                .try_wait()
                .map_err(Error::io(&self.name, "wait for it"))?;
            if let Some(status) = state {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                tracing::warn!(process = self.name, "did not end in time and is killed");
                self.signal(Signal::KILL);
                return self
                    .child
                    .wait()
                    .map_err(Error::io(&self.name, "wait for it"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The child is ours and not yet waited for, so its number cannot mean another process.
    fn signal(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            // It may end at this moment; then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = fs::remove_file(&self.note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, dir: &RunDir) -> Process {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Process::spawn("sh", command, dir).unwrap()
    }

    #[tokio::test]
    async fn a_stopped_process_is_gone() {
        let dir = RunDir::temporary("test").unwrap();
        let mut process = sh("exec sleep 1000", &dir);
        process.check().unwrap();
        let id = ProcessId::of(process.id()).unwrap();
        assert!(id.is_alive());
        let status = process.stop(Duration::from_secs(20)).await.unwrap();
        assert!(!status.success());
        assert!(!id.is_alive());
    }

    #[tokio::test]
    async fn a_process_deaf_to_the_signal_is_killed() {
        let dir = RunDir::temporary("test").unwrap();
        let process = sh(
            "trap '' TERM; echo ready; while :; do sleep 0.05; done",
            &dir,
        );
        while fs::read_to_string(process.log()).unwrap() != "ready\n" {
            tokio::time::sleep(POLL).await;
        }
        let status = process.stop(Duration::from_millis(100)).await.unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
    }

    #[tokio::test]
    async fn an_ended_process_says_why() {
        let dir = RunDir::temporary("test").unwrap();
        let mut process = sh("echo the reason >&2; exit 3", &dir);
        let error = loop {
            match process.check() {
                Ok(()) => tokio::time::sleep(POLL).await,
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.contains("exit status: 3") && error.ends_with("the reason"),
            "{error}"
        );
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = RunDir::temporary("test").unwrap();
        let process = sh("exec sleep 1000", &dir);
        let id = ProcessId::of(process.id()).unwrap();
        drop(process);
        assert!(!id.is_alive());
    }
}
