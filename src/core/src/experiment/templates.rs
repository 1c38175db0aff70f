//! Templates of an Experiment: ReplicaSet, Service, size, counters (EXP-5..10).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sluice_crds::experiment::{TemplateSpec, TemplateStatus, TemplateStatusCode};
use sluice_crds::{ReplicaSet, Time, keys};

use super::{OwnedService, Pass, Write, just_after, objects, transition};
use crate::event::Event;
use crate::plan::Action;
use crate::why::Reason;

/// Seconds that the pods of an ended template are kept for, unless the spec says otherwise.
const SCALE_DOWN_DELAY: i32 = 30;

/// Wait for the Rollout to take its traffic away.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

fn completed(status: &TemplateStatusCode) -> bool {
    matches!(
        status,
        TemplateStatusCode::Successful | TemplateStatusCode::Failed | TemplateStatusCode::Error
    )
}

fn without_deadline(mut patch: Value) -> Value {
    let gone = json!({"annotations": {keys::SCALE_DOWN_DEADLINE: null}});
    if let Some(patch) = patch.as_object_mut() {
        patch.insert("metadata".to_owned(), gone);
    }
    patch
}

impl Pass<'_> {
    /// All templates in order.
    pub(crate) fn templates(&mut self) {
        for template in &self.experiment.spec.templates {
            let stored = self
                .stored
                .template_statuses
                .iter()
                .find(|s| s.name == template.name);
            let before = stored.cloned().unwrap_or_else(|| TemplateStatus {
                name: template.name.clone(),
                ..TemplateStatus::default()
            });
            let after = self.template(template, before.clone());
            self.tell(&before, &after);
            let statuses = &mut self.status.template_statuses;
            match statuses.iter_mut().find(|status| status.name == after.name) {
                Some(status) => *status = after,
                None => statuses.push(after),
            }
        }
    }

    fn template(&mut self, template: &TemplateSpec, mut status: TemplateStatus) -> TemplateStatus {
        let ended = self.terminating || completed(&status.status);
        let desired = if ended {
            0
        } else {
            template.replicas.unwrap_or(1)
        };
        let set = match self.set_of(&template.name) {
            Ok(set) => set,
            Err(error) => {
                self.wait(Reason::InvalidSpec, self.object(), error);
                return status;
            }
        };
        let Some(set) = set else {
            self.create(template, &mut status, ended);
            return status;
        };
        self.service(template, &set, desired, &mut status);
        self.size(template, &set, desired, &mut status);
        self.count(template, &set, desired, &mut status);
        status
    }

    /// The ReplicaSet of a template.
    fn set_of(&self, template: &str) -> Result<Option<Arc<ReplicaSet>>, String> {
        let mut own = self.seen.replica_sets.iter().filter(|set| {
            set.annotation(keys::EXPERIMENT_NAME) == Some(self.name)
                && set.annotation(keys::EXPERIMENT_TEMPLATE) == Some(template)
        });
        match (own.next(), own.next()) {
            (Some(_), Some(_)) => Err(format!(
                "multiple ReplicaSets match single experiment template: {template}"
            )),
            (one, _) => Ok(one.cloned()),
        }
    }

    /// No ReplicaSet yet. An Experiment that is over makes none any more (ASE-24).
    fn create(&mut self, template: &TemplateSpec, status: &mut TemplateStatus, ended: bool) {
        if ended {
            if !completed(&status.status) {
                status.status = TemplateStatusCode::Successful;
                status.last_transition_time = Some(self.now.into());
            }
            return;
        }
        let set = objects::replica_set(self.experiment, template, status.collision_count);
        let name = set.metadata.name.clone().unwrap_or_default();
        let key = format!("ReplicaSet/{name}");
        let of_another = |set: &Arc<ReplicaSet>| set.metadata.name.as_deref() == Some(&name);
        let taken =
            self.seen.taken_names.contains(&key) || self.seen.replica_sets.iter().any(of_another);
        let error = if taken {
            // The name does not depend on the hash: another collision count would not help (ASE-20).
            Some(format!(
                "replicasets.apps \"{name}\" already exists and does not belong to this template"
            ))
        } else {
            self.seen.refused.get(&key).cloned()
        };
        status.last_transition_time = Some(self.now.into());
        if let Some(error) = error {
            let message = format!("Failed to create new replica set \"{name}\": {error}");
            self.events
                .push(Event::warning("ReplicaSetCreateError", message));
            let name = &template.name;
            let message = format!("Failed to create ReplicaSet for template '{name}': {error}");
            self.fail(status, message);
            return;
        }
        status.status = TemplateStatusCode::Progressing;
        self.act(Write::Shared(Action::CreateReplicaSet(Box::new(set))), None);
        self.wait(Reason::PodsNotAvailable, key, "is being created".to_owned());
    }

    fn fail(&self, status: &mut TemplateStatus, message: String) {
        status.status = TemplateStatusCode::Error;
        status.message = message;
        status.last_transition_time = Some(self.now.into());
    }

    /// The Service of a template (EXP-7).
    fn service(
        &mut self,
        template: &TemplateSpec,
        set: &ReplicaSet,
        desired: i32,
        status: &mut TemplateStatus,
    ) {
        let own = |service: &&OwnedService| service.template == template.name;
        let own: Vec<OwnedService> = self.seen.services.iter().filter(own).cloned().collect();
        if let [_, _, ..] = own.as_slice() {
            let name = &template.name;
            let error = format!("multiple Services match single experiment template: {name}");
            self.wait(Reason::InvalidSpec, self.object(), error);
            return;
        }
        let existing = own.into_iter().next();
        let available = set
            .status
            .as_ref()
            .map_or(0, |status| status.available_replicas);
        let wanted = objects::service(self.experiment, template, set);
        match (existing, wanted, &template.service) {
            (Some(service), _, asked) if asked.is_none() || (desired == 0 && available == 0) => {
                let name = service.name;
                let refused = self.seen.refused.get(&format!("Service/{name}"));
                if let Some(error) = refused.filter(|_| !completed(&status.status)) {
                    let template = &template.name;
                    let message =
                        format!("Failed to delete Service for template '{template}': {error}");
                    self.fail(status, message);
                }
                self.act(Write::DeleteService { name }, None);
                status.service_name.clear();
                status.pod_template_hash.clear();
            }
            (Some(service), _, _) => {
                status.service_name = service.name;
                status.pod_template_hash = set.pod_hash().unwrap_or("").to_owned();
            }
            (None, Some(service), Some(_)) if desired != 0 => {
                self.create_service(template, set, service, status);
            }
            (None, _, _) => {
                status.service_name.clear();
                status.pod_template_hash.clear();
            }
        }
    }

    fn create_service(
        &mut self,
        template: &TemplateSpec,
        set: &ReplicaSet,
        service: Value,
        status: &mut TemplateStatus,
    ) {
        let name = service
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("");
        let key = format!("Service/{name}");
        let of = &template.name;
        let error = if self.seen.taken_names.contains(&key) {
            Some(format!(
                "service {name} already exists and is not owned by experiment template {of}"
            ))
        } else {
            self.seen.refused.get(&key).cloned()
        };
        if let Some(error) = error {
            let message = format!("Failed to create Service {name} for template '{of}': {error}");
            self.fail(status, message);
            return;
        }
        status.service_name = name.to_owned();
        status.pod_template_hash = set.pod_hash().unwrap_or("").to_owned();
        self.act(Write::CreateService(Box::new(service)), None);
    }

    /// Brings the ReplicaSet to its size, downwards after the delay (EXP-8, EXP-9).
    fn size(
        &mut self,
        template: &TemplateSpec,
        set: &ReplicaSet,
        desired: i32,
        status: &mut TemplateStatus,
    ) {
        let current = set.spec.replicas.unwrap_or(1);
        // From before the user asked for a retry; it would cut the next delay short.
        let stale = desired > 0 && set.annotation(keys::SCALE_DOWN_DEADLINE).is_some();
        if current == desired {
            if stale {
                self.patch(set, without_deadline(json!({})), None);
            }
            return;
        }
        let mut patch = json!({"spec": {"replicas": desired}});
        if stale {
            patch = without_deadline(patch);
        }
        if desired == 0 {
            let delay = self
                .experiment
                .spec
                .scale_down_delay_seconds
                .unwrap_or(SCALE_DOWN_DELAY);
            let deadline = set.annotation(keys::SCALE_DOWN_DEADLINE);
            match deadline {
                None if delay > 0 => return self.keep(set, delay, status),
                Some(_) if delay <= 0 => {
                    patch = without_deadline(patch);
                }
                Some(text) => {
                    // A deadline that cannot be read has passed.
                    let at = text.parse::<Timestamp>().unwrap_or(self.now);
                    if at > self.now {
                        self.held(set, at);
                        return;
                    }
                }
                None => {}
            }
            if self.seen.routed.contains(&status.service_name) {
                return self.still_routed(set);
            }
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        let way = if desired > current { "up" } else { "down" };
        if let Some(error) = self.seen.refused.get(&format!("ReplicaSet/{name}")) {
            let of = &template.name;
            let message = format!(
                "Unable to scale ReplicaSet for template '{of}' to desired replica count \
                 '{desired}': {error}"
            );
            if !completed(&status.status) {
                let told = format!("Failed to scale {name} {way}: {error}");
                self.events
                    .push(Event::warning("ReplicaSetUpdateError", told));
                self.fail(status, message);
            }
            return;
        }
        status.last_transition_time = Some(self.now.into());
        let message = format!("Scaled {way} ReplicaSet {name} from {current} to {desired}");
        self.patch(
            set,
            patch,
            Some(Event::normal("ScalingReplicaSet", message)),
        );
    }

    /// Sets the deadline; the pods stay until then.
    fn keep(&mut self, set: &ReplicaSet, delay: i32, status: &mut TemplateStatus) {
        let Ok(at) = self
            .now
            .checked_add(SignedDuration::from_secs(delay.into()))
        else {
            return;
        };
        let at = Time::new(at);
        let annotations = json!({keys::SCALE_DOWN_DEADLINE: at.to_string()});
        self.patch(set, json!({"metadata": {"annotations": annotations}}), None);
        status.last_transition_time = Some(self.now.into());
        self.held(set, at.timestamp());
    }

    /// Pods of an Experiment that became invalid while it ran go, once they get no requests.
    pub(crate) fn give_up(&mut self) {
        let statuses = self.status.template_statuses.clone();
        for set in self.seen.replica_sets.clone() {
            let replicas = set.spec.replicas.unwrap_or(1);
            if replicas == 0 {
                continue;
            }
            let template = set.annotation(keys::EXPERIMENT_TEMPLATE);
            let of = statuses.iter().find(|s| Some(s.name.as_str()) == template);
            if of.is_some_and(|status| self.seen.routed.contains(&status.service_name)) {
                self.still_routed(&set);
            } else {
                let name = set.metadata.name.as_deref().unwrap_or("");
                let message = format!("Scaled down ReplicaSet {name} from {replicas} to 0");
                let event = Event::normal("ScalingReplicaSet", message);
                self.patch(&set, json!({"spec": {"replicas": 0}}), Some(event));
            }
        }
    }

    /// The Rollout takes the traffic away as soon as it sees how the Experiment stands; pods go after
    /// that.
    fn still_routed(&mut self, set: &ReplicaSet) {
        let name = set.metadata.name.as_deref().unwrap_or("");
        let message = "still gets a share of the Rollout's requests".to_owned();
        self.wait(
            Reason::TrafficUnconfirmed,
            format!("ReplicaSet/{name}"),
            message,
        );
        self.wakes.extend(self.now.checked_add(LOOK_AGAIN).ok());
    }

    fn held(&mut self, set: &ReplicaSet, until: Timestamp) {
        let name = set.metadata.name.as_deref().unwrap_or("");
        let message = "is kept for its delay".to_owned();
        self.wait(
            Reason::ScaleDownDelay,
            format!("ReplicaSet/{name}"),
            message,
        );
        if let Some(why) = self.why.last_mut() {
            why.until = Some(until);
        }
        self.wakes.push(until);
    }

    fn patch(&mut self, set: &ReplicaSet, patch: Value, event: Option<Event>) {
        let name = set.metadata.name.clone().unwrap_or_default();
        let guard = set.metadata.resource_version.clone().unwrap_or_default();
        self.act(
            Write::Shared(Action::PatchReplicaSet { name, guard, patch }),
            event,
        );
    }

    /// Counters and status (EXP-10).
    fn count(
        &mut self,
        template: &TemplateSpec,
        set: &ReplicaSet,
        desired: i32,
        status: &mut TemplateStatus,
    ) {
        let seen = set.status.clone().unwrap_or_default();
        let counters = [seen.replicas, seen.ready_replicas, seen.available_replicas];
        if counters
            != [
                status.replicas,
                status.ready_replicas,
                status.available_replicas,
            ]
            || status.updated_replicas != seen.replicas
        {
            status.last_transition_time = Some(self.now.into());
        }
        [
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
        ] = counters;
        status.updated_replicas = seen.replicas;
        if completed(&status.status) {
            return;
        }
        let over = self.duration_passed() || self.terminating;
        let seconds = self.experiment.spec.progress_deadline_seconds();
        let since = status
            .last_transition_time
            .map_or(self.now, |at| at.timestamp());
        let deadline = since
            .checked_add(SignedDuration::from_secs(seconds.into()))
            .ok();
        status.message.clear();
        status.status = if seen.available_replicas == desired {
            if over {
                TemplateStatusCode::Successful
            } else {
                TemplateStatusCode::Running
            }
        } else if deadline.is_some_and(|at| self.now > at) {
            let name = &template.name;
            status.message =
                format!("Template '{name}' exceeded its progressDeadlineSeconds ({seconds})");
            TemplateStatusCode::Failed
        } else if self.terminating {
            TemplateStatusCode::Successful
        } else {
            TemplateStatusCode::Progressing
        };
        if completed(&status.status) {
            return;
        }
        if seen.available_replicas != desired {
            let name = set.metadata.name.as_deref().unwrap_or("");
            let available = seen.available_replicas;
            let message = format!("has {available} of {desired} pods available");
            self.wait(
                Reason::PodsNotAvailable,
                format!("ReplicaSet/{name}"),
                message,
            );
            self.wakes.extend(deadline.and_then(just_after));
        }
    }

    fn tell(&mut self, before: &TemplateStatus, after: &TemplateStatus) {
        if before.status == after.status {
            return;
        }
        let (name, from, to) = (&after.name, &before.status, &after.status);
        let mut message = format!("Template '{name}' transitioned from {from} -> {to}");
        if !after.message.is_empty() {
            message += &format!(": {}", after.message);
        }
        let bad = matches!(to, TemplateStatusCode::Failed | TemplateStatusCode::Error);
        self.events
            .push(transition("Template", to.as_str(), bad, message));
    }
}
