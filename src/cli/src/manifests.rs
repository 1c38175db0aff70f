//! Manifests as people keep them: files, folders, a pipe; YAML or JSON; lists and anchors in them.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// What stands for stdin among file names.
const STDIN: &str = "-";

/// The objects of all files, in their order. Folders are read in the order of the names in them,
/// without the folders in them; `-` is stdin. Lists are taken apart, empty documents left out.
///
/// # Errors
/// The file that cannot be read, or is neither YAML nor JSON, and where in it.
pub fn read(given: &[PathBuf]) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for path in files(given)? {
        let stdin = path == Path::new(STDIN);
        let file = if stdin {
            "stdin".to_owned()
        } else {
            path.display().to_string()
        };
        let text = if stdin {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map(|_| text)
                .with_context(|| file.clone())?
        } else {
            std::fs::read_to_string(&path).with_context(|| file.clone())?
        };
        objects.extend(objects_of(&text).context(file)?);
    }
    Ok(objects)
}

/// The objects of a text.
fn objects_of(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let mut value = serde_yaml_ng::Value::deserialize(document)?;
        value.apply_merge()?;
        documents.push(serde_json::to_value(value)?);
    }
    Ok(flat(documents))
}

/// The files, those of folders in the order of their names.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut inside: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("yaml" | "yml" | "json"))
            })
            .collect();
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// Lists are taken apart, empty documents left out.
fn flat(documents: Vec<Value>) -> Vec<Value> {
    let mut all = Vec::new();
    for mut document in documents {
        let list = text(&document, "/kind").ends_with("List");
        match document.get_mut("items").filter(|_| list).map(Value::take) {
            Some(Value::Array(items)) => all.extend(flat(items)),
            _ if document.is_null() => {}
            _ => all.push(document),
        }
    }
    all
}

/// The text at a pointer; empty when there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_anchors_and_empty_documents() {
        let objects = objects_of(
            "---\n# nothing\n---\nkind: List\nitems:\n- kind: RolloutList\n  items: [{kind: Rollout}]\n\
             - {kind: Service}\n---\nkind: A\nx: &x {one: 1}\ny: {<<: *x, two: 2}\r\n",
        )
        .unwrap();
        let kinds: Vec<&str> = objects.iter().map(|object| text(object, "/kind")).collect();
        assert_eq!(kinds, ["Rollout", "Service", "A"]);
        assert_eq!(objects[2]["y"], serde_json::json!({"one": 1, "two": 2}));
        assert!(objects_of("a: b\n\tc: d").is_err());
    }
}
