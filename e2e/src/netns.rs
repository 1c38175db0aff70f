//! A network namespace in which every address of 10.200.0.0/16 is this machine.
//!
//! The API server refuses loopback addresses in EndpointSlices, so pods need others. In such a
//! namespace one server bound to `0.0.0.0` answers for all pods ([`crate::pods`]), real proxies reach
//! them, and nothing gets out: what a test wants built or fetched must be there before it enters.
//!
//! ```no_run
//! # fn prepare() {}
//! # async fn run() {}
//! // in tests/dataplane.rs, under #[test]
//! fn traffic_follows_weights() {
//!     prepare(); // builds and fetches; finds all of it in the cache when run again inside
//!     sluice_e2e::netns::run_test("traffic_follows_weights", run()).unwrap();
//! }
//! ```

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::{Command, ExitStatus, Stdio};

use crate::process;
use crate::toolchain::find_in_path;

/// Set for what runs inside.
const MARK: &str = "SLUICE_NETNS";
/// The addresses of pods, local to the namespace.
pub const PODS: &str = "10.200.0.0/16";

/// Brings up loopback, makes the pods' addresses local, then becomes the command given to it.
const SETUP: &str = r#"ip link set lo up && ip route add local "$0" dev lo && exec "$@""#;

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("{0} was not found in PATH: install {1} (Debian: apt-get install {1})")]
    MissingTool(&'static str, &'static str),
    /// The system does not let us.
    #[error(
        "no network namespace to be had, neither as root nor by a user namespace:\n{0}\n\
         run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, and \
         kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"
    )]
    NotPermitted(String),
    /// Inside, but the addresses are missing.
    #[error("{MARK}=1 is set, but 10.200.0.1 is not an address of ours: unset it")]
    NotInside(#[source] std::io::Error),
    /// A process could not be started.
    #[error("cannot start {what}")]
    Start {
        /// The program.
        what: String,
        /// The reason.
        source: std::io::Error,
    },
    /// The test failed inside; it has said why itself.
    #[error("the test {test} failed inside the namespace ({status})")]
    Failed {
        /// The test's name.
        test: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Whether this process runs inside such a namespace.
///
/// # Errors
/// [`Error::NotInside`] when it is told so but does not.
pub fn inside() -> Result<bool, Error> {
    if std::env::var_os(MARK).is_none_or(|v| v != "1") {
        return Ok(false);
    }
    let pod = SocketAddrV4::new(Ipv4Addr::new(10, 200, 0, 1), 0);
    TcpListener::bind(pod).map_err(Error::NotInside)?;
    Ok(true)
}

/// Runs `body` inside a namespace: here if this is one, else by running this test binary again
/// inside one, limited to the test of this name.
///
/// What stands before the call runs in both, outside first.
///
/// # Errors
/// [`Error::Failed`] when the test failed inside, else why there is no namespace.
pub fn run_test(name: &str, body: impl Future<Output = ()>) -> Result<(), Error> {
    let start = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Start { what, source }
    };
    if inside()? {
        let runtime = tokio::runtime::Runtime::new().map_err(start("the runtime"))?;
        runtime.block_on(body);
        return Ok(());
    }
    let exe = std::env::current_exe().map_err(start("this test binary"))?;
    let mut command = command(exe, [name, "--exact", "--nocapture", "--include-ignored"])?;
    let status = command.status().map_err(start("unshare"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            test: name.to_owned(),
            status,
        })
    }
}

/// A command that runs the program inside a new namespace. It dies with the calling thread.
///
/// # Errors
/// [`Error::MissingTool`] and [`Error::NotPermitted`].
pub fn command<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> Result<Command, Error> {
    find_in_path("ip").ok_or(Error::MissingTool("ip", "iproute2"))?;
    let flags = permitted()?;
    let mut command = Command::new("unshare");
    command
        .args(flags)
        .args(["--", "sh", "-c", SETUP, PODS])
        .arg(program)
        .args(args);
    command.env(MARK, "1").env(process::BASE, process::base());
    Ok(process::bound_to_parent(command))
}

/// The flags with which `unshare` makes a network namespace here.
fn permitted() -> Result<&'static [&'static str], Error> {
    find_in_path("unshare").ok_or(Error::MissingTool("unshare", "util-linux"))?;
    let mut said = String::new();
    // As root first: a user namespace may be forbidden where root may do this.
    for flags in [&["--net"] as &[_], &["--net", "--map-root-user"]] {
        let tried = Command::new("unshare")
            .args(flags)
            .args(["--", "ip", "link", "set", "lo", "up"])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::Start {
                what: "unshare".to_owned(),
                source,
            })?;
        if tried.status.success() {
            return Ok(flags);
        }
        said.push_str(&String::from_utf8_lossy(&tried.stderr));
    }
    Err(Error::NotPermitted(said.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_every_pod_address_is_ours_and_there_is_no_way_out() {
        let test = "netns::tests::inside_every_pod_address_is_ours_and_there_is_no_way_out";
        run_test(test, async {
            for last in [1, 77] {
                let address = SocketAddrV4::new(Ipv4Addr::new(10, 200, last, last), 0);
                let server = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
                let port = server.local_addr().unwrap().port();
                let client =
                    std::net::TcpStream::connect(SocketAddrV4::new(*address.ip(), port)).unwrap();
                let (at_server, _) = server.accept().unwrap();
                let meant = at_server.local_addr().unwrap();
                assert_eq!(meant.ip(), *address.ip(), "the server knows who was meant");
                drop(client);
            }
            let routes = Command::new("ip").args(["route", "show"]).output().unwrap();
            assert!(!String::from_utf8_lossy(&routes.stdout).contains("default"));
        })
        .unwrap();
    }
}
