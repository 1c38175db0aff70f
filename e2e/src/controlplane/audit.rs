//! Who asked the API server for what, counted from its audit log.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use serde::Deserialize;

use super::{ControlPlane, Error};

/// A kind of request. Counts are per kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The user, `system:serviceaccount:NAMESPACE:NAME` for ServiceAccounts.
    pub user: String,
    /// The client's name for itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// In plural, as in URLs; empty for requests outside the API (`/readyz`).
    pub resource: String,
    /// `status`, `scale` ...; empty for the object itself.
    pub subresource: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

impl Request {
    /// Whether it can have changed something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// How many requests of each kind were answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary(BTreeMap<Request, u64>);

impl Summary {
    /// All kinds with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&Request, u64)> {
        self.0.iter().map(|(request, count)| (request, *count))
    }

    /// How many requests are such that `wanted` holds.
    pub fn count(&self, wanted: impl Fn(&Request) -> bool) -> u64 {
        self.iter()
            .filter(|(request, _)| wanted(request))
            .map(|(_, count)| count)
            .sum()
    }

    /// The part of one user.
    #[must_use]
    pub fn of_user(&self, user: &str) -> Self {
        self.only(|request| request.user == user)
    }

    /// The part of all clients whose name for themselves begins so.
    #[must_use]
    pub fn of_agent(&self, prefix: &str) -> Self {
        self.only(|request| request.user_agent.starts_with(prefix))
    }

    fn only(&self, wanted: impl Fn(&Request) -> bool) -> Self {
        let kept = self.0.iter().filter(|(request, _)| wanted(request));
        Self(
            kept.map(|(request, count)| (request.clone(), *count))
                .collect(),
        )
    }

    /// Counts the lines of an audit log. A last line still being written is left out.
    fn read(log: &str) -> Self {
        let mut counts = BTreeMap::new();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = whole
            .lines()
            .filter_map(|line| serde_json::from_str::<Event>(line).ok());
        for request in events.filter_map(Event::counted) {
            *counts.entry(request).or_insert(0) += 1;
        }
        Self(counts)
    }
}

/// A table without user and client, the most frequent first: filter before showing.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<(&str, String, u16), u64> = BTreeMap::new();
        for (request, count) in self.iter() {
            let resource = match request.subresource.as_str() {
                "" => request.resource.clone(),
                sub => format!("{}/{sub}", request.resource),
            };
            *rows
                .entry((&request.verb, resource, request.code))
                .or_default() += count;
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for ((verb, resource, code), count) in rows {
            writeln!(f, "{count:<6} {verb:<8} {resource:<32} {code}")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(default)]
    user: Username,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Username {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl Event {
    /// Each request once: a watch when it begins, any other when it is answered. A watch that is
    /// refused never begins.
    fn counted(self) -> Option<Request> {
        let watch = self.verb == "watch";
        let counts = match self.stage.as_str() {
            "ResponseStarted" => watch,
            "ResponseComplete" => !watch || self.response_status.code >= 400,
            _ => false,
        };
        counts.then_some(Request {
            user: self.user.username,
            user_agent: self.user_agent,
            verb: self.verb,
            group: self.object_ref.api_group,
            resource: self.object_ref.resource,
            subresource: self.object_ref.subresource,
            code: self.response_status.code,
        })
    }
}

/// A moment in the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(u64);

impl ControlPlane {
    /// Now, for [`ControlPlane::requests_since`].
    ///
    /// # Errors
    /// [`Error::NoAudit`] unless started with [`super::Options::audit`].
    pub fn mark(&self) -> Result<Mark, Error> {
        let path = self.audit_log()?;
        Ok(Mark(path.metadata().map_err(Error::file(&path))?.len()))
    }

    /// All requests answered so far.
    ///
    /// # Errors
    /// [`Error::NoAudit`] unless started with [`super::Options::audit`].
    pub fn requests(&self) -> Result<Summary, Error> {
        self.requests_since(Mark::default())
    }

    /// The requests answered since a moment.
    ///
    /// # Errors
    /// [`Error::NoAudit`] unless started with [`super::Options::audit`].
    pub fn requests_since(&self, mark: Mark) -> Result<Summary, Error> {
        let path = self.audit_log()?;
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(mark.0))?;
            let mut bytes = vec![];
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Summary::read(&read().map_err(Error::file(&path))?))
    }

    fn audit_log(&self) -> Result<std::path::PathBuf, Error> {
        if self.audit {
            Ok(self.layout.audit_log())
        } else {
            Err(Error::NoAudit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"
{"stage":"ResponseComplete","verb":"patch","user":{"username":"a"},"userAgent":"sluice/1","objectRef":{"apiGroup":"argoproj.io","resource":"rollouts","subresource":"status"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"patch","user":{"username":"a"},"userAgent":"sluice/1","objectRef":{"apiGroup":"argoproj.io","resource":"rollouts","subresource":"status"},"responseStatus":{"code":200}}
{"stage":"ResponseStarted","verb":"watch","user":{"username":"a"},"userAgent":"sluice/1","objectRef":{"resource":"services"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"watch","user":{"username":"a"},"userAgent":"sluice/1","objectRef":{"resource":"services"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"watch","user":{"username":"a"},"userAgent":"sluice/1","objectRef":{"resource":"secrets"},"responseStatus":{"code":403}}
{"stage":"ResponseComplete","verb":"get","user":{"username":"b"},"userAgent":"kubectl","responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"crea"#;

    #[test]
    fn each_request_counts_once() {
        let summary = Summary::read(LOG);
        expect_test::expect![[r#"
            2      patch    rollouts/status                  200
            1      get                                       200
            1      watch    secrets                          403
            1      watch    services                         200
        "#]]
        .assert_eq(&summary.to_string());
        assert_eq!(summary.of_user("b").count(|_| true), 1);
        assert_eq!(summary.of_agent("sluice/").count(Request::is_write), 2);
        assert_eq!(summary.of_agent("sluice/").count(|r| !r.is_write()), 2);
    }
}
