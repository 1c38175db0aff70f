//! What a running peer wrote, from `e2e/fixtures/peer` of this repository.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One recorded object.
#[derive(Clone, Debug)]
pub struct Record {
    /// The file, such as `01-canary-basic/2-mid.json`.
    pub file: String,
    /// The object.
    pub json: Value,
}

/// The folder of the records.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures/peer")
}

/// The files with this ending, sorted, relative to [`folder`].
///
/// # Panics
///
/// When the records are missing.
#[must_use]
pub fn files(ending: &str) -> Vec<String> {
    let mut files = Vec::new();
    for case in std::fs::read_dir(folder()).expect("the records are part of the repository") {
        let case = case.expect("readable");
        if !case.path().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(case.path()).expect("readable") {
            let file = file.expect("readable");
            let name = format!(
                "{}/{}",
                case.file_name().to_string_lossy(),
                file.file_name().to_string_lossy()
            );
            if name.ends_with(ending) {
                files.push(name);
            }
        }
    }
    files.sort();
    files
}

/// The text of a file.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).expect("readable")
}

/// The objects of a file.
///
/// # Panics
///
/// When it is no list of objects.
#[must_use]
pub fn objects(file: &str) -> Vec<Value> {
    let mut list: Value = serde_json::from_str(&text(file)).expect("JSON");
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => panic!("{file} is no list"),
    }
}

/// All recorded objects of a kind.
#[must_use]
pub fn all(kind: &str) -> Vec<Record> {
    let of_kind = |object: &Value| object.get("kind").and_then(Value::as_str) == Some(kind);
    files(".json")
        .into_iter()
        .filter(|file| file.contains('/'))
        .flat_map(|file| {
            let objects = objects(&file).into_iter().filter(of_kind);
            objects
                .map(|json| Record {
                    file: file.clone(),
                    json,
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
