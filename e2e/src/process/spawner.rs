//! One thread that starts all children.
//!
//! The kernel's signal on the parent's death goes by the parent *thread*. Test and worker threads
//! end long before the process does; this one never ends.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Mutex, OnceLock, PoisonError};

type Job = (Command, SyncSender<io::Result<Child>>);

/// Starts a command that dies with this process, where the system can do that.
///
/// Both streams go to the file. A group of its own keeps the terminal's Ctrl-C for us, who then stop
/// it in order.
pub(super) fn spawn(command: Command, output: File) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                // The one who asked waits for the answer, so it is received.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, answered) = mpsc::sync_channel(1);
    let mut command = bound_to_parent(command);
    let errors = output.try_clone()?;
    command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0);
    let gone = || io::Error::other("the thread that starts processes has ended");
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

/// Wraps the command so that it dies with the thread that starts it, where the system can do that.
///
/// `setpriv` executes the command in its own place, so the
/// process id stays that of the command.
pub(crate) fn bound_to_parent(command: Command) -> Command {
    if !can_bind() {
        return command;
    }
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program());
    bound.args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        bound.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

fn can_bind() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}
