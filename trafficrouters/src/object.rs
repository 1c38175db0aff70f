//! Route objects by reference, and what was found behind the references.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use sluice_core::observed::Seen;

use crate::error::RouteError;

/// One namespaced object of any kind, with all that a dynamic client needs to reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `group/version`, or the version alone for the core group.
    pub api_version: String,
    /// Kind, for example `VirtualService`.
    pub kind: String,
    /// Resource name in URLs, for example `virtualservices`.
    pub plural: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// A reference from its five parts.
    pub fn new(
        api_version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
        name: impl Into<String>,
    ) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.into(),
        }
    }

    /// API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// Version within the group.
    #[must_use]
    pub fn version(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or(&self.api_version, |(_, version)| version)
    }

    /// What an API server says when the object does not exist.
    #[must_use]
    pub fn not_found(&self) -> String {
        match self.group() {
            "" => format!("{} \"{}\" not found", self.plural, self.name),
            group => format!(
                "{}.{group} \"{}\" not found",
                singular(&self.plural),
                self.name
            ),
        }
    }
}

/// Ingresses are the one kind whose absence upstream reports in the singular; everything else comes
/// from the API server with its resource name.
fn singular(plural: &str) -> &str {
    match plural {
        "ingresses" => "ingress",
        other => other,
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What the caller read: every [`reads`](crate::TrafficRouter::reads) of every router of one Rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found(pub BTreeMap<ObjectRef, Seen<Value>>);

impl Found {
    /// The object, or `None` when it certainly does not exist.
    ///
    /// # Errors
    /// [`RouteError::Unread`] when it could not be read, or was not read at all.
    pub fn get(&self, object: &ObjectRef) -> Result<Option<&Value>, RouteError> {
        match self.0.get(object) {
            Some(Seen::Found(value)) => Ok(Some(value)),
            Some(Seen::Absent) => Ok(None),
            Some(Seen::Unread(why)) => Err(RouteError::unread(object, why)),
            None => Err(RouteError::unread(object, "it was not looked for")),
        }
    }
}

impl FromIterator<(ObjectRef, Seen<Value>)> for Found {
    fn from_iter<T: IntoIterator<Item = (ObjectRef, Seen<Value>)>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}
