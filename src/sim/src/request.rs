//! What a request asks for: verb, resource, name, options.

use std::collections::BTreeMap;

use http::Method;

/// What is done with a resource; names as in audit logs and RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// Delete one object.
    Delete,
    /// Delete many.
    DeleteCollection,
}

impl Verb {
    /// The name in lower case, such as `deletecollection`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether the store may change.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A request for a resource, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRequest {
    /// What is done.
    pub verb: Verb,
    /// API group; empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Empty for cluster-scoped resources and for all namespaces.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Options from the query.
    pub options: Options,
}

/// Query options.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads a query string.
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// The value of an option; empty when absent.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    /// Whether an option is `true` or `1`.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1")
    }

    /// An option as a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key).parse().ok()
    }

    /// Whether nothing shall be stored.
    pub fn dry_run(&self) -> bool {
        self.get("dryRun") == "All"
    }
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A resource.
    Resource(Box<ResourceRequest>),
    /// Discovery, health and the like: the path itself.
    Other(String),
}

/// Reads method, path and query.
pub fn parse(method: &Method, path: &str, query: &str) -> Option<Target> {
    let options = Options::parse(query);
    let parts: Vec<String> = path
        .split('/')
        .filter(|p| !p.is_empty())
        .map(decode)
        .collect::<Vec<_>>();
    let mut parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_mut_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Some(Target::Other(path.to_owned())),
    };
    let watching = rest.first() == Some(&"watch");
    let rest: &[&str] = if watching {
        rest.get(1..).unwrap_or_default()
    } else {
        rest
    };
    let (namespace, resource, name, sub) = match rest {
        ["namespaces", ns, sub @ ("status" | "finalize")] => {
            ("", "namespaces", *ns, std::slice::from_ref(sub))
        }
        ["namespaces", ns, resource] => (*ns, *resource, "", &[] as &[&str]),
        ["namespaces", ns, resource, name, sub @ ..] => (*ns, *resource, *name, sub),
        [resource] => ("", *resource, "", &[] as &[&str]),
        [resource, name, sub @ ..] => ("", *resource, *name, sub),
        [] => return Some(Target::Other(path.to_owned())),
    };
    let watching = watching || options.flag("watch");
    let verb = match (method.as_str(), name.is_empty()) {
        ("GET" | "HEAD", true) if watching => Verb::Watch,
        ("GET" | "HEAD", true) => Verb::List,
        ("GET" | "HEAD", false) if watching => Verb::Watch,
        ("GET" | "HEAD", false) => Verb::Get,
        ("POST", _) => Verb::Create,
        ("PUT", false) => Verb::Update,
        ("PATCH", false) => Verb::Patch,
        ("DELETE", false) => Verb::Delete,
        ("DELETE", true) => Verb::DeleteCollection,
        _ => return None,
    };
    Some(Target::Resource(Box::new(ResourceRequest {
        verb,
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: sub.join("/"),
        options,
    })))
}

/// Undoes percent encoding; `+` is a space, as in queries.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let code = std::str::from_utf8(&hex)
                    .ok()
                    .and_then(|h| u8::from_str_radix(h, 16).ok());
                bytes.extend(code);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, path: &str, query: &str) -> String {
        match parse(&method, path, query) {
            Some(Target::Resource(r)) => format!(
                "{} {}/{} {} ns={} name={} sub={}",
                r.verb.as_str(),
                r.group,
                r.version,
                r.resource,
                r.namespace,
                r.name,
                r.subresource
            ),
            Some(Target::Other(path)) => format!("other {path}"),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        let rows = [
            (
                Method::GET,
                "/api/v1/pods",
                "",
                "list /v1 pods ns= name= sub=",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods",
                "watch=1",
                "watch /v1 pods ns=a name= sub=",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a",
                "",
                "get /v1 namespaces ns= name=a sub=",
            ),
            (
                Method::PUT,
                "/api/v1/namespaces/a/status",
                "",
                "update /v1 namespaces ns= name=a sub=status",
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                "",
                "patch apps/v1 deployments ns=a name=d sub=scale",
            ),
            (Method::GET, "/apis/apps/v1", "", "other /apis/apps/v1"),
            (Method::GET, "/healthz", "", "other /healthz"),
        ];
        for (method, path, query, want) in rows {
            assert_eq!(read(method, path, query), want, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let options = Options::parse("labelSelector=app%3Dweb%2Cx+in+%28a%29&limit=5");
        assert_eq!(options.get("labelSelector"), "app=web,x in (a)");
        assert_eq!(options.number("limit"), Some(5));
    }
}
