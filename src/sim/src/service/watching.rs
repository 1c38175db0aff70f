//! Watch streams: pulled from the log, so that a slow reader costs nothing and a very slow
//! one gets 410.

use std::io;
use std::sync::Arc;

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::sync::watch::Receiver;
use tokio::time::{Duration, Instant};

use super::AnswerBody;
use super::form::{Form, write_object};
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::faults::{Verdict, WatchControl};
use crate::kinds::{Kind, KindId};
use crate::object::Object;
use crate::selector::Filter;
use crate::store::Change;

/// Events taken from the log at a time.
const BATCH: usize = 256;

/// Between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// What a watch is to show.
#[derive(Debug)]
pub(crate) struct WatchPlan {
    pub(crate) id: KindId,
    pub(crate) kind: Arc<Kind>,
    pub(crate) version: String,
    pub(crate) filter: Filter,
    pub(crate) form: Form,
    /// The last revision already shown.
    pub(crate) from: u64,
    /// Shown as ADDED first.
    pub(crate) initial: Vec<Arc<Object>>,
    /// Whether a bookmark ends the initial events.
    pub(crate) initial_end: bool,
    pub(crate) bookmarks: bool,
    pub(crate) timeout: Option<Duration>,
    /// Shown at once, then the watch ends.
    pub(crate) error: Option<ApiError>,
}

struct Running {
    cluster: Cluster,
    agent: String,
    plan: WatchPlan,
    news: Option<Receiver<u64>>,
    control: Receiver<WatchControl>,
    cuts_seen: usize,
    delay: Duration,
    cut_at: Option<Instant>,
    end: Option<Instant>,
    bookmark_at: Instant,
    started: bool,
    over: bool,
}

/// The body of a watch's answer.
pub(super) fn body(
    cluster: Cluster,
    plan: WatchPlan,
    verdict: &Verdict,
    agent: String,
) -> AnswerBody {
    let now = Instant::now();
    let control = cluster.faults().watch_control();
    let cuts_seen = control.borrow().cuts.len();
    let news = cluster.lock().store.news(plan.id);
    let running = Running {
        news,
        control,
        cuts_seen,
        delay: verdict.watch_delay,
        cut_at: verdict.watch_cut.map(|after| now + after),
        end: plan.timeout.map(|t| now + t),
        bookmark_at: now + BOOKMARK_EVERY,
        started: false,
        over: false,
        cluster,
        agent,
        plan,
    };
    let frames = stream::unfold(running, |mut running| async move {
        let frame = running.next().await?;
        Some((frame.map(Frame::data), running))
    });
    StreamBody::new(frames).boxed_unsync()
}

enum Wake {
    News,
    Control,
    Bookmark,
    Cut,
    End,
}

impl Running {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        if self.over {
            return None;
        }
        if !self.started {
            self.started = true;
            let first = self.first();
            if !first.is_empty() {
                return Some(Ok(first.into()));
            }
        }
        loop {
            if self.is_cut() {
                self.over = true;
                return Some(Err(super::broken()));
            }
            if !self.is_frozen() {
                if let Some(news) = &mut self.news {
                    news.mark_unchanged();
                }
                let out = self.read_log();
                if !out.is_empty() {
                    if !self.delay.is_zero() {
                        tokio::time::sleep(self.delay).await;
                    }
                    return Some(Ok(out.into()));
                }
            }
            match self.wait().await {
                Wake::News | Wake::Control => {}
                Wake::Bookmark => {
                    self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
                    if self.plan.bookmarks && !self.is_frozen() {
                        return Some(Ok(self.bookmark(false).into()));
                    }
                }
                Wake::Cut => {
                    self.over = true;
                    return Some(Err(super::broken()));
                }
                Wake::End => return None,
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let frozen = self.is_frozen();
        let news = async {
            match &mut self.news {
                // The sender lives as long as the cluster, which this holds.
                Some(news) if !frozen => {
                    if news.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                _ => std::future::pending().await,
            }
        };
        let at = |when: Option<Instant>| async move {
            match when {
                Some(when) => tokio::time::sleep_until(when).await,
                None => std::future::pending().await,
            }
        };
        let bookmark = if self.plan.bookmarks {
            Some(self.bookmark_at)
        } else {
            None
        };
        tokio::select! {
            () = news => Wake::News,
            changed = self.control.changed() => match changed {
                Ok(()) => Wake::Control,
                Err(_) => Wake::End,
            },
            () = at(bookmark) => Wake::Bookmark,
            () = at(self.cut_at) => Wake::Cut,
            () = at(self.end) => Wake::End,
        }
    }

    fn is_frozen(&self) -> bool {
        let plural = &self.plan.kind.plural;
        let control = self.control.borrow();
        let mut frozen = control.frozen.iter();
        frozen.any(|(agent, resource)| {
            resource == plural && (agent.is_empty() || self.agent.contains(agent))
        })
    }

    fn is_cut(&mut self) -> bool {
        let control = self.control.borrow();
        let new = control.cuts.get(self.cuts_seen..).unwrap_or_default();
        let cut = new
            .iter()
            .any(|r| r.is_empty() || *r == self.plan.kind.plural);
        self.cuts_seen = control.cuts.len();
        cut
    }

    fn first(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(error) = self.plan.error.take() {
            self.over = true;
            write_error(&mut out, &error);
            return out;
        }
        for object in std::mem::take(&mut self.plan.initial) {
            self.write(&mut out, "ADDED", &object);
        }
        if self.plan.initial_end {
            out.extend(self.bookmark(true));
        }
        out
    }

    fn read_log(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let changes = self
                .cluster
                .lock()
                .store
                .changes(self.plan.id, self.plan.from, BATCH);
            let Some(changes) = changes else {
                self.over = true;
                let message = format!(
                    "too old resource version: {} ({})",
                    self.plan.from,
                    self.cluster.revision()
                );
                write_error(&mut out, &ApiError::expired(message));
                return out;
            };
            let Some(last) = changes.last() else {
                return out;
            };
            self.plan.from = last.revision;
            for change in &changes {
                if let Some((kind, object)) = event(&self.plan.filter, change) {
                    self.write(&mut out, kind, object);
                }
            }
            if !out.is_empty() || changes.len() < BATCH {
                return out;
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, kind: &str, object: &Object) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        let now = self.cluster.clock().now();
        write_object(
            out,
            &self.plan.kind,
            &self.plan.version,
            self.plan.form,
            object,
            now,
        );
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&self, initial_end: bool) -> Vec<u8> {
        let kind = &self.plan.kind;
        let mut metadata = serde_json::json!({
            "resourceVersion": self.plan.from.to_string(), "creationTimestamp": null,
        });
        if initial_end {
            crate::json::put(
                &mut metadata,
                &["annotations"],
                serde_json::json!({"k8s.io/initial-events-end": "true"}),
            );
        }
        let (api_version, name) = match self.plan.form {
            Form::Full => (kind.api_version(&self.plan.version), kind.kind.as_str()),
            Form::Partial => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
            Form::Table => ("meta.k8s.io/v1".to_owned(), "Table"),
        };
        let object =
            serde_json::json!({"kind": name, "apiVersion": api_version, "metadata": metadata});
        format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n").into_bytes()
    }
}

/// How a change looks through a filter: entering it is an addition, leaving it a deletion.
fn event<'a>(filter: &Filter, change: &'a Change) -> Option<(&'static str, &'a Object)> {
    let was = change.before.as_ref().filter(|o| filter.matches(o));
    let is = change.after.as_ref().filter(|o| filter.matches(o));
    match (was, is) {
        (None, Some(object)) => Some(("ADDED", object)),
        (Some(_), Some(object)) => Some(("MODIFIED", object)),
        (Some(_), None) => {
            // A removal has its own last version; leaving the filter shows the new one.
            let last = change.tombstone.as_ref().or(change.after.as_ref());
            last.map(|object| ("DELETED", object.as_ref()))
        }
        (None, None) => None,
    }
}

fn write_error(out: &mut Vec<u8>, error: &ApiError) {
    out.extend_from_slice(b"{\"type\":\"ERROR\",\"object\":");
    out.extend_from_slice(&error.body());
    out.extend_from_slice(b"}\n");
}
