//! Requests for resources, carried out.

use std::sync::Arc;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Duration;

use super::form::{Form, Media, read_token, write_object, write_token};
use super::watching::WatchPlan;
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::kinds::{Kind, KindId};
use crate::object::Object;
use crate::patch::Patch;
use crate::request::{ResourceRequest, Verb};
use crate::selector::{Fields, Filter, Selector};
use crate::state::delete::{DeleteOptions, Deleted};
use crate::state::{FieldValidation, Part, State, WriteOptions, Written};

/// An answer without headers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) content: Content,
    pub(super) content_type: Option<&'static str>,
    pub(super) warnings: Vec<String>,
}

/// What an answer holds.
#[derive(Debug)]
pub(super) enum Content {
    Full(Bytes),
    Watch(Box<WatchPlan>),
}

impl Answer {
    pub(super) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, value.to_string().into_bytes())
    }

    fn bytes(code: u16, bytes: Vec<u8>) -> Self {
        let content = Content::Full(bytes.into());
        Self {
            code,
            content,
            content_type: None,
            warnings: Vec::new(),
        }
    }
}

/// What comes with a request besides its address.
pub(super) struct Given<'a> {
    pub(super) media: Media,
    pub(super) agent: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
}

/// Carries out a request. `stale` shows reads the state of that many revisions ago.
pub(super) fn answer(
    cluster: &Cluster,
    request: &ResourceRequest,
    given: &Given<'_>,
    stale: u64,
) -> Result<Answer, ApiError> {
    let mut state = cluster.lock();
    if let Some(review) = review(request, given) {
        return Ok(review);
    }
    let (id, kind) = state.kind_at(&request.group, &request.version, &request.resource)?;
    let all_spaces = matches!(
        request.verb,
        Verb::List | Verb::Watch | Verb::DeleteCollection
    );
    if kind.namespaced == request.namespace.is_empty() && !(kind.namespaced && all_spaces) {
        return Err(ApiError::no_such_path());
    }
    let ask = Ask {
        id,
        kind: &kind,
        request,
        given,
        now: state.now,
    };
    match request.subresource.as_str() {
        "" => ask.object(&mut state, stale),
        "status" if kind.status => ask.status(&mut state, stale),
        "scale" if kind.scale.is_some() => ask.scale(&mut state),
        "binding" if kind.plural == "pods" && request.verb == Verb::Create => {
            let body = ask.body()?;
            state.bind(&request.namespace, &request.name, &body, &ask.options())?;
            Ok(Answer::json(201, &success()))
        }
        "eviction" if kind.plural == "pods" && request.verb == Verb::Create => {
            let body = ask.body()?;
            let dry = request.options.dry_run();
            state.evict(&request.namespace, &request.name, &body, dry)?;
            Ok(Answer::json(201, &success()))
        }
        _ => Err(ApiError::no_such_path()),
    }
}

/// Access reviews: everybody may do everything.
fn review(request: &ResourceRequest, given: &Given<'_>) -> Option<Answer> {
    if request.group != "authorization.k8s.io" || request.verb != Verb::Create {
        return None;
    }
    // kubectl asks in protobuf; the answer is the same whatever is asked.
    let mut review: Value = serde_json::from_slice(given.body).unwrap_or_else(|_| {
        let kind = match request.resource.as_str() {
            "selfsubjectrulesreviews" => "SelfSubjectRulesReview",
            "subjectaccessreviews" => "SubjectAccessReview",
            _ => "SelfSubjectAccessReview",
        };
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {}, "spec": {}})
    });
    crate::json::put(&mut review, &["status"], json!({"allowed": true}));
    Some(Answer::json(201, &review))
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

/// One request with all that belongs to it.
struct Ask<'a> {
    id: KindId,
    kind: &'a Arc<Kind>,
    request: &'a ResourceRequest,
    given: &'a Given<'a>,
    now: Timestamp,
}

impl Ask<'_> {
    fn object(&self, state: &mut State, stale: u64) -> Result<Answer, ApiError> {
        let (id, space, name) = (self.id, &self.request.namespace, &self.request.name);
        let options = self.options();
        match self.request.verb {
            Verb::Get => self.get(state, stale),
            Verb::List => self.list(state, stale),
            Verb::Watch => self.watch(state),
            Verb::Create if !name.is_empty() => Err(ApiError::method_not_allowed()),
            Verb::Create => {
                let written = state.create(id, space, self.body()?, &options)?;
                Ok(self.written(written))
            }
            Verb::Update => {
                let body = self.body()?;
                let written = state.update(id, space, name, body, Part::Main, &options)?;
                Ok(self.written(written))
            }
            Verb::Patch => {
                let patch = self.patch()?;
                let written = state.patch(id, space, name, &patch, Part::Main, &options)?;
                Ok(self.written(written))
            }
            Verb::Delete => {
                let options = DeleteOptions::read(&self.delete_body()?, &self.request.options);
                let deleted = state.delete(id, space, name, &options)?;
                Ok(self.deleted(deleted))
            }
            Verb::DeleteCollection => {
                let options = DeleteOptions::read(&self.delete_body()?, &self.request.options);
                let gone = state.delete_collection(id, &self.filter()?, &options)?;
                Ok(self.page(&gone, state.store.revision(), "", None))
            }
        }
    }

    fn status(&self, state: &mut State, stale: u64) -> Result<Answer, ApiError> {
        let (id, space, name) = (self.id, &self.request.namespace, &self.request.name);
        let options = self.options();
        let written = match self.request.verb {
            Verb::Get => return self.get(state, stale),
            Verb::Update => state.update(id, space, name, self.body()?, Part::Status, &options)?,
            Verb::Patch => state.patch(id, space, name, &self.patch()?, Part::Status, &options)?,
            _ => return Err(ApiError::method_not_allowed()),
        };
        Ok(self.written(written))
    }

    fn scale(&self, state: &mut State) -> Result<Answer, ApiError> {
        let (id, space, name) = (self.id, &self.request.namespace, &self.request.name);
        let options = self.options();
        let object = match self.request.verb {
            Verb::Get => state.read(id, space, name)?,
            Verb::Update => {
                state
                    .set_scale(id, space, name, &self.body()?, &options)?
                    .object
            }
            Verb::Patch => {
                state
                    .patch_scale(id, space, name, &self.patch()?, &options)?
                    .object
            }
            _ => return Err(ApiError::method_not_allowed()),
        };
        Ok(Answer::json(200, &state.scale(self.kind, &object)?))
    }

    fn get(&self, state: &State, stale: u64) -> Result<Answer, ApiError> {
        let name = &self.request.name;
        let object = if stale > 0 {
            let filter = Filter {
                namespace: self.request.namespace.clone(),
                ..Filter::default()
            };
            let then = state.store.revision().saturating_sub(stale);
            let found = state
                .store
                .select_at(self.id, &filter, then)
                .unwrap_or_default();
            found
                .into_iter()
                .find(|o| o.name() == name)
                .ok_or_else(|| ApiError::not_found(&self.kind.group, &self.kind.plural, name))?
        } else {
            state.read(self.id, &self.request.namespace, name)?
        };
        if self.given.media.form == Form::Table {
            return Ok(self.table(&[object], state.store.revision(), ""));
        }
        Ok(self.shown(200, &object))
    }

    fn list(&self, state: &State, stale: u64) -> Result<Answer, ApiError> {
        let options = &self.request.options;
        let current = state.store.revision();
        let filter = self.filter()?;
        let asked: u64 = options.get("resourceVersion").parse().unwrap_or(0);
        if asked > current {
            return Err(too_large(asked, current));
        }
        let token = options.get("continue");
        let (revision, after) = if token.is_empty() {
            let exact = options.get("resourceVersionMatch") == "Exact";
            let then = if exact {
                asked
            } else {
                current.saturating_sub(stale)
            };
            (then, None)
        } else {
            let (revision, after) = read_token(token).ok_or_else(|| {
                ApiError::bad_request("continue key is not valid: it was not issued here")
            })?;
            (revision, Some(after))
        };
        let found = state
            .store
            .select_at(self.id, &filter, revision)
            .ok_or_else(|| {
                if token.is_empty() {
                    ApiError::expired(format!(
                        "The resourceVersion for the provided list is too old: {revision}"
                    ))
                } else {
                    ApiError::expired(
                        "The provided continue parameter is too old to display a consistent list \
                     result. You must start a new list without the continue parameter.",
                    )
                }
            })?;
        let place = |o: &Arc<Object>| (o.namespace().to_owned(), o.name().to_owned());
        let start = after.map_or(0, |after| found.partition_point(|o| place(o) <= after));
        let rest = found.get(start..).unwrap_or_default();
        let limit = options.number("limit").map_or(usize::MAX, |n| match n {
            0 => usize::MAX,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        });
        let page = rest.get(..limit).unwrap_or(rest);
        let left = rest.len() - page.len();
        let next = page
            .last()
            .filter(|_| left > 0)
            .map(|o| write_token(revision, &place(o)));
        let selective = !filter.labels.is_empty() || !filter.fields.is_empty();
        let left = (left > 0 && !selective).then_some(left);
        Ok(self.page(page, revision, next.as_deref().unwrap_or_default(), left))
    }

    fn watch(&self, state: &State) -> Result<Answer, ApiError> {
        let options = &self.request.options;
        let mut filter = self.filter()?;
        if !self.request.name.is_empty() {
            let only = format!("metadata.name={}", self.request.name);
            filter.fields = Fields::parse(&only, &self.kind.plural, self.kind.custom)?;
        }
        let current = state.store.revision();
        let given = options.get("resourceVersion");
        let asked: u64 = if given.is_empty() {
            0
        } else {
            given.parse().map_err(|_| {
                ApiError::new(
                    500,
                    "",
                    format!("resourceVersion: Invalid value: {given:?}"),
                )
            })?
        };
        let streaming = options.get("sendInitialEvents");
        let matching = options.get("resourceVersionMatch");
        if !streaming.is_empty() && matching != "NotOlderThan" {
            return Err(ApiError::new(
                422,
                "Invalid",
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                 sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        let all_first = match streaming {
            "true" => true,
            "false" => false,
            _ => asked == 0,
        };
        let mut error = None;
        let mut from = current;
        let mut initial = Vec::new();
        if asked > current {
            error = Some(too_large(asked, current));
        } else if all_first {
            initial = state.store.select(self.id, &filter);
        } else if asked > 0 {
            from = asked;
            if asked < state.store.compacted(self.id) {
                let message = format!("too old resource version: {asked} ({current})");
                error = Some(ApiError::expired(message));
            }
        }
        let plan = WatchPlan {
            id: self.id,
            kind: self.kind.clone(),
            version: self.request.version.clone(),
            filter,
            form: self.given.media.form,
            from,
            initial,
            initial_end: streaming == "true" && options.flag("allowWatchBookmarks"),
            bookmarks: options.flag("allowWatchBookmarks"),
            timeout: options
                .number("timeoutSeconds")
                .filter(|t| *t > 0)
                .map(Duration::from_secs),
            error,
        };
        let content = Content::Watch(Box::new(plan));
        Ok(Answer {
            code: 200,
            content,
            content_type: None,
            warnings: Vec::new(),
        })
    }

    fn filter(&self) -> Result<Filter, ApiError> {
        let options = &self.request.options;
        Ok(Filter {
            namespace: self.request.namespace.clone(),
            labels: Selector::parse(options.get("labelSelector"))?,
            fields: Fields::parse(
                options.get("fieldSelector"),
                &self.kind.plural,
                self.kind.custom,
            )?,
        })
    }

    fn options(&self) -> WriteOptions {
        let options = &self.request.options;
        let manager = match options.get("fieldManager") {
            "" => self.given.agent.split('/').next().unwrap_or_default(),
            given => given,
        };
        WriteOptions {
            version: self.request.version.clone(),
            dry_run: options.dry_run(),
            fields: match options.get("fieldValidation") {
                "Strict" => FieldValidation::Strict,
                "Ignore" => FieldValidation::Ignore,
                // What the API server does when nothing is said.
                _ => FieldValidation::Warn,
            },
            manager: manager.to_owned(),
        }
    }

    fn body(&self) -> Result<Value, ApiError> {
        let kind = self
            .given
            .content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let body = self.given.body;
        let bad = |e: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("the object provided is unrecognized: {e}"))
        };
        match kind {
            "" | "application/json" => serde_json::from_slice(body).map_err(|e| bad(&e)),
            "application/yaml" => serde_yaml_ng::from_slice(body).map_err(|e| bad(&e)),
            other => Err(ApiError::unsupported_media(
                other,
                "application/json, application/yaml",
            )),
        }
    }

    fn delete_body(&self) -> Result<Value, ApiError> {
        if self.given.body.is_empty() {
            Ok(json!({}))
        } else {
            self.body()
        }
    }

    fn patch(&self) -> Result<Patch, ApiError> {
        let options = &self.request.options;
        let manager = options.get("fieldManager");
        Patch::read(
            self.given.content_type,
            self.given.body,
            manager,
            options.flag("force"),
        )
    }

    fn shown(&self, code: u16, object: &Object) -> Answer {
        let mut out = Vec::new();
        let form = self.given.media.form;
        write_object(
            &mut out,
            self.kind,
            &self.request.version,
            form,
            object,
            self.now,
        );
        Answer::bytes(code, out)
    }

    fn written(&self, written: Written) -> Answer {
        let code = if written.created { 201 } else { 200 };
        let mut answer = self.shown(code, &written.object);
        answer.warnings = written.warnings;
        answer
    }

    fn deleted(&self, deleted: Deleted) -> Answer {
        match deleted {
            Deleted::Marked(object) => self.shown(200, &object),
            Deleted::Now(object) if matches!(self.kind.plural.as_str(), "pods" | "services") => {
                self.shown(200, &object)
            }
            Deleted::Now(object) => {
                let mut details = json!({
                    "name": object.name(), "kind": self.kind.plural, "uid": object.uid(),
                });
                if !self.kind.group.is_empty() {
                    crate::json::put(&mut details, &["group"], self.kind.group.clone());
                }
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                    "details": details,
                });
                Answer::json(200, &status)
            }
        }
    }

    fn page(
        &self,
        objects: &[Arc<Object>],
        revision: u64,
        next: &str,
        left: Option<usize>,
    ) -> Answer {
        let (kind, version) = (self.kind, &self.request.version);
        let form = self.given.media.form;
        if form == Form::Table {
            return self.table(objects, revision, next);
        }
        let (api_version, list) = match form {
            Form::Partial => (
                "meta.k8s.io/v1".to_owned(),
                "PartialObjectMetadataList".to_owned(),
            ),
            _ => (kind.api_version(version), format!("{}List", kind.kind)),
        };
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        // Custom kinds always show the field.
        if !next.is_empty() || (kind.custom && form == Form::Full) {
            crate::json::put(&mut metadata, &["continue"], next);
        }
        if let Some(left) = left {
            crate::json::put(&mut metadata, &["remainingItemCount"], left);
        }
        let mut out = format!(
            "{{\"kind\":\"{list}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\
             \"items\":["
        )
        .into_bytes();
        for (i, object) in objects.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            // Lists of built-in kinds carry no types in their items.
            if form == Form::Full && !kind.custom {
                out.extend_from_slice(object.json());
            } else {
                write_object(&mut out, kind, version, form, object, self.now);
            }
        }
        out.extend_from_slice(b"]}");
        Answer::bytes(200, out)
    }

    fn table(&self, objects: &[Arc<Object>], revision: u64, next: &str) -> Answer {
        let include = match self.request.options.get("includeObject") {
            "None" => crate::table::Include::Nothing,
            "Object" => crate::table::Include::Object,
            _ => crate::table::Include::Metadata,
        };
        let (kind, version) = (self.kind, &self.request.version);
        let mut table = crate::table::table(kind, version, objects, self.now, include);
        crate::json::put(
            &mut table,
            &["metadata"],
            json!({"resourceVersion": revision.to_string()}),
        );
        if !next.is_empty() {
            crate::json::put(&mut table, &["metadata", "continue"], next);
        }
        Answer::json(200, &table)
    }
}

fn too_large(asked: u64, current: u64) -> ApiError {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let mut error = ApiError::new(504, "Timeout", message);
    error.details = Some(json!({
        "causes": [{
            "reason": "ResourceVersionTooLarge", "message": "Too large resource version",
        }],
        "retryAfterSeconds": 1,
    }));
    error
}
