//! What all passes share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use sluice_core::observed::{Failure, Observed, Settings};
use sluice_core::plan::Plan;

use crate::cache::Cache;
use crate::clock::SharedClock;
use crate::events::EventSink;
use crate::hub::Hub;
use crate::key::Key;
use crate::metrics::Metrics;

/// Called with every decision about a Rollout: `explain`, `demo` and invariant checks listen here.
pub type OnPlan = Arc<dyn Fn(&Observed, &Plan) + Send + Sync>;

/// What all passes share.
pub struct Ctx {
    /// Client for reads and writes, behind the fence.
    pub client: Client,
    /// Time.
    pub clock: SharedClock,
    /// What is known of the cluster.
    pub cache: Cache,
    /// Who has to look again.
    pub hub: Arc<Hub>,
    /// Where events go.
    pub events: EventSink,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Settings that decisions depend on.
    pub settings: Settings,
    /// Settings that routers depend on.
    pub routers: sluice_trafficrouters::Config,
    /// Parallel writes of pods in one pass.
    pub pod_writes: usize,
    /// Asked beside the routers whether the data plane follows.
    pub verify: Option<crate::observe::Verify>,
    /// Told about every decision.
    pub on_plan: Option<OnPlan>,
    /// What is remembered of a Rollout from pass to pass.
    pub memories: Memories,
    /// What is remembered of an Experiment from pass to pass.
    pub experiment_memories: Memories,
    /// Measurements that are under way.
    pub measuring: crate::measure::Measuring,
}

/// What is remembered of a Rollout (or Experiment) from pass to pass. Losing it is harmless.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The write that failed in the previous pass.
    pub failure: Option<Failure>,
    /// How many pods of each ReplicaSet have been up at once.
    pub peaks: BTreeMap<String, sluice_core::observed::Peak>,
    /// Names at which creating a child failed because somebody else's object has it.
    pub taken_names: BTreeSet<String>,
    /// It is not known whether the last write of the object arrived: read it live first (INV-6).
    pub unsure: bool,
    /// What the routers were last brought to: what they are asked to verify.
    pub routed: Option<Box<sluice_core::traffic::Want>>,
    /// Writes that the API server refused, by `Kind/name`: its words.
    pub refused: BTreeMap<String, String>,
    /// Since when the only news of the status are counts of pods.
    pub counting_since: Option<tokio::time::Instant>,
    /// What was last said about a form of it that cannot be decoded.
    pub told: Option<String>,
    /// It was announced as new.
    pub announced: bool,
}

/// Memories by key.
#[derive(Default)]
pub struct Memories(Mutex<HashMap<Key, Memory>>);

impl Memories {
    /// A copy of what is remembered.
    #[must_use]
    pub fn get(&self, key: &Key) -> Memory {
        let memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memories.get(key).cloned().unwrap_or_default()
    }

    /// Changes what is remembered.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Memory)) {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = memories.get_mut(key) {
            return change(memory);
        }
        // Of most objects there is nothing to remember.
        let mut memory = Memory::default();
        change(&mut memory);
        if memory != Memory::default() {
            memories.insert(key.clone(), memory);
        }
    }

    /// Forgets everything about an object.
    pub fn forget(&self, key: &Key) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}
