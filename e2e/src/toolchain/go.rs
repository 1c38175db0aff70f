//! What comes from Go modules: the control plane's programs and other projects' CRDs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Key;
use super::{Cache, Error, find_in_path, is_executable, progress};

/// The Kubernetes version that `controlplane/go.mod` selects.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

const GATEWAY_API: &str = "sigs.k8s.io/gateway-api@v1.6.3";
const ISTIO_API: &str = "istio.io/api@v1.31.1";

/// The module is part of this library, so that a built binary needs no checkout.
const SOURCES: [(&str, &str); 5] = [
    ("go.mod", include_str!("../../controlplane/go.mod")),
    ("go.sum", include_str!("../../controlplane/go.sum")),
    (
        "etcd/main.go",
        include_str!("../../controlplane/etcd/main.go"),
    ),
    (
        "kube-apiserver/main.go",
        include_str!("../../controlplane/kube-apiserver/main.go"),
    ),
    (
        "kube-controller-manager/main.go",
        include_str!("../../controlplane/kube-controller-manager/main.go"),
    ),
];

/// Without the version set, clients take the server for version 0.
const LINK_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36";

const GO_REMEDY: &str = "install Go 1.26 or newer (https://go.dev/dl)";

/// The programs of a control plane.
#[derive(Debug, Clone)]
pub struct ControlPlaneBinaries {
    /// kube-apiserver.
    pub apiserver: PathBuf,
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// etcd.
    pub etcd: PathBuf,
}

/// The control plane's programs, compiled once (about 8 minutes on 2 cores, about 4 GB in Go's own
/// caches).
///
/// `KUBEBUILDER_ASSETS` takes precedence: etcd and kube-apiserver are then taken from that folder,
/// kube-controller-manager too if it is there (setup-envtest does not bring it).
///
/// # Errors
/// [`Error::MissingTool`] without Go, [`Error::NotThere`] when `KUBEBUILDER_ASSETS` names a folder
/// without the two, [`Error::Failed`] with the compiler's words.
pub fn control_plane(cache: &Cache) -> Result<ControlPlaneBinaries, Error> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|v| !v.is_empty());
    if let Some(assets) = assets.map(PathBuf::from) {
        return from_assets(cache, &assets);
    }
    Ok(ControlPlaneBinaries {
        etcd: program(cache, "etcd")?,
        apiserver: program(cache, "kube-apiserver")?,
        controller_manager: program(cache, "kube-controller-manager")?,
    })
}

fn from_assets(cache: &Cache, assets: &Path) -> Result<ControlPlaneBinaries, Error> {
    let given = |name: &str| Some(assets.join(name)).filter(|file| is_executable(file));
    let wanted = |name: &str| {
        given(name).ok_or_else(|| Error::NotThere {
            what: "KUBEBUILDER_ASSETS".to_owned(),
            path: assets.join(name),
            remedy: "run `setup-envtest use` or unset the variable to have it built".to_owned(),
        })
    };
    Ok(ControlPlaneBinaries {
        etcd: wanted("etcd")?,
        apiserver: wanted("kube-apiserver")?,
        controller_manager: match given("kube-controller-manager") {
            Some(file) => file,
            None => program(cache, "kube-controller-manager")?,
        },
    })
}

/// One program of the module, built if the cache does not hold it.
fn program(cache: &Cache, name: &str) -> Result<PathBuf, Error> {
    let platform = [std::env::consts::OS, std::env::consts::ARCH, LINK_FLAGS];
    let key = Key::of(
        SOURCES
            .iter()
            .flat_map(|(path, text)| [*path, *text])
            .chain(platform),
    );
    let dir = cache.entry(name, &key, |into| build(name, into))?;
    Ok(dir.join(name))
}

fn build(name: &str, into: &Path) -> Result<(), Error> {
    let go = go(name)?;
    let module = into.join("src");
    for (path, text) in SOURCES {
        let file = module.join(path);
        let parent = file.parent().unwrap_or(&module);
        fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
        fs::write(&file, text).map_err(Error::io("write", &file))?;
    }
    let what = match name {
        "etcd" => "building etcd (once, under a minute)".to_owned(),
        _ => format!("building {name} {KUBERNETES_VERSION} (once, about 8 minutes on 2 cores)"),
    };
    let mut command = Command::new(go);
    command
        .current_dir(&module)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false -mod=readonly")
        .args(["build", "-trimpath", "-ldflags", LINK_FLAGS, "-o"])
        .arg(into.join(name))
        .arg(format!("./{name}"));
    progress::run(&what, &mut command, into)?;
    fs::remove_dir_all(&module).map_err(Error::io("remove", &module))
}

fn go(purpose: &str) -> Result<PathBuf, Error> {
    find_in_path("go").ok_or_else(|| Error::MissingTool {
        tool: "go",
        purpose: purpose.to_owned(),
        remedy: GO_REMEDY,
    })
}

/// The CRDs of the Gateway API's standard channel as YAML documents, read from the Go module cache.
///
/// # Errors
/// As [`control_plane`].
pub fn gateway_api_crds(cache: &Cache) -> Result<String, Error> {
    let dir = module_dir(cache, GATEWAY_API)?.join("config/crd/standard");
    let mut documents = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
        let path = entry.map_err(Error::io("list", &dir))?.path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            documents.insert(path, text);
        }
    }
    Ok(documents.into_values().collect::<Vec<_>>().join("\n---\n"))
}

/// The CRDs of Istio as YAML documents, read from the Go module cache.
///
/// # Errors
/// As [`control_plane`].
pub fn istio_crds(cache: &Cache) -> Result<String, Error> {
    let file = module_dir(cache, ISTIO_API)?.join("kubernetes/customresourcedefinitions.gen.yaml");
    fs::read_to_string(&file).map_err(Error::io("read", &file))
}

/// The folder of a module in Go's cache, fetched if need be. Checked by Go's checksum database.
fn module_dir(cache: &Cache, module: &str) -> Result<PathBuf, Error> {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(rename = "Dir")]
        dir: PathBuf,
    }
    let go = go(module)?;
    let scratch = tempfile::tempdir_in(cache.state_dir("tmp")?)
        .map_err(Error::io("create a folder in", cache.root()))?;
    let mut command = Command::new(go);
    // Outside any module, so that no go.mod is consulted.
    command
        .current_dir(scratch.path())
        .env("GO111MODULE", "on")
        .env("GOFLAGS", "");
    command.args(["mod", "download", "-json", module]);
    let what = format!("fetching {module}");
    let answer = progress::run(&what, &mut command, scratch.path())?;
    let answer: Answer =
        serde_json::from_str(&answer).map_err(|source| Error::Answer { what, source })?;
    Ok(answer.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_named_is_the_version_built() {
        let go_mod = SOURCES[0].1;
        assert!(
            go_mod.contains(&format!("k8s.io/kubernetes {KUBERNETES_VERSION}\n")),
            "{go_mod}"
        );
        assert!(LINK_FLAGS.contains(&format!("gitVersion={KUBERNETES_VERSION} ")));
    }

    #[test]
    fn assets_without_an_apiserver_are_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = from_assets(&Cache::at(dir.path()), dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("KUBEBUILDER_ASSETS") && error.contains("etcd"),
            "{error}"
        );
    }
}
