//! Subresources with a shape of their own: scale, binding, eviction; and access reviews.

use serde_json::{Value, json};

use super::delete::{DeleteOptions, Deleted};
use super::{Part, State, WriteOptions, Written};
use crate::error::{ApiError, Cause};
use crate::json::{at, int, list_mut, put, text};
use crate::kinds::{Kind, KindId};
use crate::object::{self, Object};
use crate::patch::Patch;
use crate::selector::Selector;

impl State {
    /// The `Scale` of an object.
    pub(crate) fn scale(&self, kind: &Kind, object: &Object) -> Result<Value, ApiError> {
        let paths = kind.scale.as_ref().ok_or_else(ApiError::no_such_path)?;
        let read = |path: &[String]| {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            at(&object.value, &keys).cloned()
        };
        let mut metadata = json!({});
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            if let Some(v) = at(&object.value, &["metadata", field]) {
                put(&mut metadata, &[field], v.clone());
            }
        }
        let mut scale = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": {}, "status": {"replicas": 0},
        });
        if let Some(replicas) = read(&paths.spec).filter(|r| r != 0) {
            put(&mut scale, &["spec", "replicas"], replicas);
        }
        if let Some(replicas) = read(&paths.status) {
            put(&mut scale, &["status", "replicas"], replicas);
        }
        let selector = match &paths.selector {
            Some(path) => read(path).and_then(|v| v.as_str().map(str::to_owned)),
            None => {
                at(&object.value, &["spec", "selector"]).map(|s| Selector::of_object(s).query())
            }
        };
        if let Some(selector) = selector {
            put(&mut scale, &["status", "selector"], selector);
        }
        Ok(scale)
    }

    /// Writes the replicas of a given `Scale`.
    pub(crate) fn set_scale(
        &mut self,
        id: KindId,
        namespace: &str,
        name: &str,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        let paths = kind.scale.as_ref().ok_or_else(ApiError::no_such_path)?;
        let old = self.read(id, namespace, name)?;
        let replicas = int(scale, &["spec", "replicas"]).unwrap_or(0);
        if replicas < 0 {
            let cause = Cause::invalid(
                "spec.replicas",
                &replicas.into(),
                "must be greater than or equal to 0",
            );
            return Err(ApiError::invalid("autoscaling", "Scale", name, &[cause]));
        }
        let mut value = old.value.clone();
        let keys: Vec<&str> = paths.spec.iter().map(String::as_str).collect();
        put(&mut value, &keys, replicas);
        let revision = text(scale, &["metadata", "resourceVersion"]);
        put(&mut value, &["metadata", "resourceVersion"], revision);
        let options = WriteOptions {
            version: String::new(),
            ..options.clone()
        };
        self.replace(id, &old, value, Part::Main, &options, None)
    }

    /// Patches the `Scale` view.
    pub(crate) fn patch_scale(
        &mut self,
        id: KindId,
        namespace: &str,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = self.kind(id)?;
        let old = self.read(id, namespace, name)?;
        let mut scale = self.scale(&kind, &old)?;
        let guarded = patch.names_revision();
        patch.run_plain(&mut scale)?;
        if !guarded {
            crate::json::take(&mut scale, &["metadata", "resourceVersion"]);
        }
        self.set_scale(id, namespace, name, &scale, options)
    }

    /// `pods/NAME/binding`: assigns a node.
    pub(crate) fn bind(
        &mut self,
        namespace: &str,
        name: &str,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<(), ApiError> {
        let id = self.kinds.known.pods;
        let old = self.read(id, namespace, name)?;
        let node = text(binding, &["target", "name"]);
        if node.is_empty() {
            return Err(ApiError::new(500, "", "target.name: Required value"));
        }
        let bound = text(&old.value, &["spec", "nodeName"]);
        if !bound.is_empty() {
            let why = format!("pod {name} is already assigned to node \"{bound}\"");
            return Err(ApiError::conflict("", "pods/binding", name, &why));
        }
        if old.is_deleting() {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(ApiError::conflict("", "pods/binding", name, &why));
        }
        let mut value = old.value.clone();
        put(&mut value, &["spec", "nodeName"], node);
        let scheduled = json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": self.stamp(),
        });
        let conditions = list_mut(&mut value, &["status", "conditions"]);
        conditions.retain(|c| text(c, &["type"]) != "PodScheduled");
        conditions.push(scheduled);
        if !options.dry_run {
            self.store.put(id, value);
        }
        Ok(())
    }

    /// `pods/NAME/eviction`: a deletion that disruption budgets may refuse.
    pub(crate) fn evict(
        &mut self,
        namespace: &str,
        name: &str,
        eviction: &Value,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let known = self.kinds.known;
        let pod = self.read(known.pods, namespace, name)?;
        let budgets: Vec<_> = self
            .store
            .in_namespace(known.pdbs, namespace)
            .filter(|b| {
                let selector = at(&b.value, &["spec", "selector"]);
                selector.is_some_and(|s| Selector::of_object(s).matches(pod.labels()))
            })
            .cloned()
            .collect();
        for budget in budgets {
            let allowed = self.disruptions_allowed(&budget);
            if object::has_condition(&pod.value, "Ready") && allowed <= 0 {
                let mut error = ApiError::too_many(
                    10,
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                );
                error.details = Some(json!({"retryAfterSeconds": 10, "causes": [{
                    "reason": "DisruptionBudget",
                    "message": format!(
                        "The disruption budget {} needs its pods to stay", budget.name()
                    ),
                }]}));
                return Err(error);
            }
        }
        let options = eviction.get("deleteOptions").cloned().unwrap_or_default();
        let mut options = DeleteOptions::read(&options, &crate::request::Options::default());
        options.dry_run |= dry_run;
        self.delete(known.pods, namespace, name, &options)?;
        Ok(())
    }

    /// Ready pods beyond what a budget demands (`minAvailable` or `maxUnavailable`).
    fn disruptions_allowed(&self, budget: &Object) -> i64 {
        let selector = at(&budget.value, &["spec", "selector"]).map(Selector::of_object);
        let filter = crate::selector::Filter {
            namespace: budget.namespace().to_owned(),
            labels: selector.unwrap_or_default(),
            ..Default::default()
        };
        let pods = self.store.select(self.kinds.known.pods, &filter);
        let total = pods.len() as i64;
        let ready = |p: &&std::sync::Arc<Object>| {
            !p.is_deleting() && object::has_condition(&p.value, "Ready")
        };
        let healthy = pods.iter().filter(ready).count() as i64;
        let share = |v: &Value| match v {
            Value::String(s) => {
                let percent: i64 = s.trim_end_matches('%').parse().unwrap_or(0);
                (total * percent + 99) / 100
            }
            other => other.as_i64().unwrap_or(0),
        };
        let needed = match at(&budget.value, &["spec", "minAvailable"]) {
            Some(min) => share(min),
            None => total - at(&budget.value, &["spec", "maxUnavailable"]).map_or(0, share),
        };
        healthy - needed
    }

    /// All of a kind that a filter finds, deleted one by one.
    pub(crate) fn delete_collection(
        &mut self,
        id: KindId,
        filter: &crate::selector::Filter,
        options: &DeleteOptions,
    ) -> Result<Vec<std::sync::Arc<Object>>, ApiError> {
        let found = self.store.select(id, filter);
        let mut deleted = Vec::with_capacity(found.len());
        for object in found {
            match self.delete(id, object.namespace(), object.name(), options)? {
                Deleted::Now(o) | Deleted::Marked(o) => deleted.push(o),
            }
        }
        Ok(deleted)
    }
}
