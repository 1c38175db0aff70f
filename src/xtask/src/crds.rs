//! `cargo xtask crds`: the CustomResourceDefinitions, from the Rust types.

use std::io::Write;

use anyhow::{Context, Result};

use crate::stage;

pub(crate) fn run() -> Result<()> {
    let directory = stage::root().join("crds/yaml");
    std::fs::create_dir_all(&directory)?;
    for (name, text) in sluice_crds::yaml::all() {
        let path = directory.join(&name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        writeln!(std::io::stdout(), "crds/yaml/{name}")?;
    }
    Ok(())
}
