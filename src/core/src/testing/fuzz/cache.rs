//! What the controller knows: per object the newest version that it has seen or written itself
//! (INV-6). Changes of a kind that lags arrive later, own writes never do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::{AnalysisRun, Experiment, ReplicaSet, Rollout};

use super::op::Lag;
use crate::observed::{ServiceView, Workload};
use crate::testing::world::World;

/// Objects as the controller knows them.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) rollout: Arc<Rollout>,
    pub(super) sets: BTreeMap<String, Arc<ReplicaSet>>,
    pub(super) services: BTreeMap<String, ServiceView>,
    pub(super) runs: BTreeMap<String, Arc<AnalysisRun>>,
    pub(super) experiments: BTreeMap<String, Arc<Experiment>>,
    /// The Deployment, whether it is referenced or not.
    pub(super) workload: Workload,
    pub(super) lag: Lag,
}

impl Cache {
    pub(super) fn new(world: &World) -> Self {
        let mut cache = Self {
            rollout: Arc::new(world.rollout.clone()),
            sets: BTreeMap::new(),
            services: BTreeMap::new(),
            runs: BTreeMap::new(),
            experiments: BTreeMap::new(),
            workload: world.workload.clone(),
            lag: Lag::default(),
        };
        cache.arrive(world, &BTreeSet::new());
        cache
    }

    /// Lets the changes of all kinds in that do not lag; answers whether there were any.
    pub(super) fn arrive(&mut self, world: &World, hidden: &BTreeSet<String>) -> bool {
        let mut news = false;
        if !self.lag.rollout {
            news |= self.read_rollout(world);
        }
        if !self.lag.sets {
            news |= merge(&mut self.sets, &world.sets, |set| &set.metadata);
        }
        if !self.lag.services {
            news |= self.arrive_services(world, hidden);
        }
        if !self.lag.children {
            news |= merge(&mut self.runs, &world.runs, |run| &run.metadata);
            news |= merge(&mut self.experiments, &world.experiments, |e| &e.metadata);
        }
        news
    }

    fn arrive_services(&mut self, world: &World, hidden: &BTreeSet<String>) -> bool {
        let there = world.services.iter();
        let there = there.filter(|(name, _)| !hidden.contains(*name));
        if there.clone().eq(self.services.iter()) {
            return false;
        }
        self.services = there
            .map(|(name, view)| (name.clone(), view.clone()))
            .collect();
        true
    }

    /// The same for the Deployment, which may be gone.
    pub(super) fn arrive_workload(&mut self, world: &World, gone: bool) -> bool {
        if self.lag.services {
            return false;
        }
        self.read_workload(world, gone)
    }

    /// A live read of the Deployment.
    pub(super) fn read_workload(&mut self, world: &World, gone: bool) -> bool {
        let there = match &world.workload {
            Workload::Found(found) if !gone => found.generation,
            Workload::Found(_) | Workload::NotReferenced | Workload::Unusable(_) => None,
        };
        let known = match &self.workload {
            Workload::Found(found) => found.generation,
            Workload::NotReferenced | Workload::Unusable(_) => None,
        };
        let news = there != known;
        if news {
            self.workload = match there {
                Some(_) => world.workload.clone(),
                None => Workload::NotReferenced,
            };
        }
        news
    }

    /// What the Rollout refers to, as far as it is known.
    pub(super) fn referenced(&self) -> Workload {
        match (&self.rollout.spec.workload_ref, &self.workload) {
            (None, _) => Workload::NotReferenced,
            (Some(_), Workload::Found(found)) => Workload::Found(found.clone()),
            (Some(_), Workload::NotReferenced | Workload::Unusable(_)) => {
                Workload::Unusable("deployments.apps \"web\" not found".to_owned())
            }
        }
    }

    /// A live read of the Rollout.
    pub(super) fn read_rollout(&mut self, world: &World) -> bool {
        let news =
            self.rollout.metadata.resource_version != world.rollout.metadata.resource_version;
        if news {
            self.rollout = Arc::new(world.rollout.clone());
        }
        news
    }

    /// A live read of a ReplicaSet, or the answer to a write of it.
    pub(super) fn read_set(&mut self, world: &World, name: &str) {
        read(&mut self.sets, &world.sets, name);
    }

    /// The same for an AnalysisRun.
    pub(super) fn read_run(&mut self, world: &World, name: &str) {
        read(&mut self.runs, &world.runs, name);
    }

    /// The same for an Experiment.
    pub(super) fn read_experiment(&mut self, world: &World, name: &str) {
        read(&mut self.experiments, &world.experiments, name);
    }

    /// The same for a Service.
    pub(super) fn read_service(&mut self, world: &World, name: &str) {
        match world.services.get(name) {
            Some(view) => self.services.insert(name.to_owned(), view.clone()),
            None => self.services.remove(name),
        };
    }
}

fn read<T: Clone>(known: &mut BTreeMap<String, Arc<T>>, there: &BTreeMap<String, T>, name: &str) {
    match there.get(name) {
        Some(object) => known.insert(name.to_owned(), Arc::new(object.clone())),
        None => known.remove(name),
    };
}

fn merge<T: Clone>(
    known: &mut BTreeMap<String, Arc<T>>,
    there: &BTreeMap<String, T>,
    meta: fn(&T) -> &ObjectMeta,
) -> bool {
    let before = known.len();
    known.retain(|name, _| there.contains_key(name));
    let mut news = known.len() != before;
    for (name, object) in there {
        let version = |object: &T| meta(object).resource_version.clone();
        if known
            .get(name)
            .is_none_or(|old| version(old) != version(object))
        {
            known.insert(name.clone(), Arc::new(object.clone()));
            news = true;
        }
    }
    news
}
