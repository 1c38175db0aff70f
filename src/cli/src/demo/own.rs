//! How this program is called from another terminal, in whichever folder that may be.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The name that kubectl looks for.
const PLUGIN: &str = "kubectl-argo-rollouts";

/// How to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// To be typed before a verb.
    pub(super) name: String,
    /// What has to be typed once before that, where its folder is not in `PATH`.
    pub(super) export: Option<String>,
}

/// This program.
pub(super) fn call() -> Call {
    let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(PLUGIN));
    of(&exe, &std::env::var_os("PATH").unwrap_or_default())
}

fn of(exe: &Path, path: &OsStr) -> Call {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let name = exe
        .file_name()
        .map_or_else(|| PLUGIN.into(), OsString::from);
    let name = name.to_string_lossy().into_owned();
    let folder = exe.parent().filter(|folder| !folder.as_os_str().is_empty());
    let found = folder.is_none_or(|folder| folders.iter().any(|one| one == folder));
    if !found {
        let folder = folder.map(|folder| quoted(&folder.to_string_lossy()));
        return Call {
            name,
            export: folder.map(|folder| format!("export PATH={folder}:$PATH")),
        };
    }
    let kubectl = folders.iter().any(|one| one.join("kubectl").is_file());
    Call {
        name: if kubectl && name == PLUGIN {
            "kubectl argo rollouts".to_owned()
        } else {
            name
        },
        export: None,
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%,".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(exe: &str, path: &str) -> (String, Option<String>) {
        let call = of(Path::new(exe), OsStr::new(path));
        (call.name, call.export)
    }

    /// Built by `cargo run`, its folder is in nobody's `PATH`.
    #[test]
    fn a_build_names_its_folder() {
        let exe = "/src/sluice/target/release/kubectl-argo-rollouts";
        let export = "export PATH=/src/sluice/target/release:$PATH".to_owned();
        let wanted = (PLUGIN.to_owned(), Some(export));
        assert_eq!(told(exe, "/usr/bin:/bin"), wanted);
        let export = "export PATH='/my src/it'\\''s':$PATH".to_owned();
        let wanted = (PLUGIN.to_owned(), Some(export));
        assert_eq!(told("/my src/it's/kubectl-argo-rollouts", ""), wanted);
    }

    /// Installed, it is a plugin where there is a kubectl, else a program.
    #[test]
    fn what_is_installed_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let exe = format!("{path}/{PLUGIN}");
        assert_eq!(told(&exe, path), (PLUGIN.to_owned(), None));
        std::fs::write(folder.path().join("kubectl"), "").unwrap();
        assert_eq!(told(&exe, path), ("kubectl argo rollouts".to_owned(), None));
        let exe = format!("{path}/sluice");
        assert_eq!(told(&exe, path), ("sluice".to_owned(), None));
    }
}
