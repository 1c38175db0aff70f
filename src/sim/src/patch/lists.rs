//! Which lists of which kinds are maps or sets.

use crate::kinds::Kind;

/// How a list merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// Replaced as a whole.
    Atomic,
    /// Elements are the keys.
    Set,
    /// Elements are objects told apart by these fields.
    Map(Vec<String>),
}

/// List field -> merge key of built-in kinds; the same name means the same thing wherever it
/// stands, but for `ports`.
const KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("ownerReferences", "uid"),
    ("conditions", "type"),
    ("podIPs", "ip"),
    ("hostIPs", "ip"),
    ("addresses", "type"),
    ("resourceClaims", "name"),
];

/// The strategic-merge key of a list of a built-in kind.
pub(crate) fn merge_key(kind: &str, path: &[&str]) -> Option<&'static str> {
    match path {
        ["spec", "ports"] if kind == "Service" => Some("port"),
        [.., "ports"] if !matches!(kind, "EndpointSlice" | "Endpoints" | "NetworkPolicy") => {
            Some("containerPort")
        }
        // A node's addresses have types; those of endpoints are plain.
        [.., "addresses"] if kind != "Node" => None,
        [.., field] => KEYS.iter().find(|(f, _)| f == field).map(|(_, k)| *k),
        [] => None,
    }
}

/// Whether a list of plain values merges as a set.
pub(crate) fn is_set(path: &[&str]) -> bool {
    matches!(path, ["metadata", "finalizers"])
}

/// How server-side apply treats the list at a path.
pub(crate) fn list_kind(kind: &Kind, version: &str, path: &[&str]) -> ListKind {
    if let ["metadata", field] = path {
        return match *field {
            "finalizers" => ListKind::Set,
            "ownerReferences" => ListKind::Map(vec!["uid".to_owned()]),
            _ => ListKind::Atomic,
        };
    }
    if kind.custom {
        return kind
            .schemas
            .get(version)
            .map_or(ListKind::Atomic, |s| s.list_kind(path));
    }
    match merge_key(&kind.kind, path) {
        Some(key @ ("containerPort" | "port")) => {
            ListKind::Map(vec![key.to_owned(), "protocol".to_owned()])
        }
        Some(key) => ListKind::Map(vec![key.to_owned()]),
        None => ListKind::Atomic,
    }
}
