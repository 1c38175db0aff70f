//! Steps whose numbers of pods are not what their weights seem to say.

use crate::field_error::FieldError;
use crate::rollout::{CanaryStrategy, RolloutSpec};

/// Percentage points by which the split of pods may miss a weight before it is worth a word.
const TOLERANCE: i64 = 15;

/// What is said about the steps' weights.
pub(super) fn warnings(spec: &RolloutSpec, canary: &CanaryStrategy) -> Vec<FieldError> {
    if canary.traffic_routing.is_some() {
        sized_by_hand(spec, canary)
    } else {
        too_few_pods(spec, canary)
    }
}

/// Without a router the numbers of pods are the split, and few pods make a coarse one.
fn too_few_pods(spec: &RolloutSpec, canary: &CanaryStrategy) -> Vec<FieldError> {
    let replicas = i64::from(spec.replicas());
    let weights = canary.steps.iter().enumerate();
    let weights = weights.filter_map(|(i, step)| Some((i, i64::from(step.set_weight?))));
    weights
        .filter(|(_, weight)| replicas > 0 && (1..100).contains(weight))
        .filter_map(|(i, weight)| {
            // At least one pod, at least one left to stable where there is more than one.
            let most = (replicas - 1).max(1);
            let pods = ((replicas * weight + 50) / 100).clamp(1, most);
            let share = pods * 100 / replicas;
            let path = format!("spec.strategy.canary.steps[{i}].setWeight");
            let noun = if pods == 1 { "pod" } else { "pods" };
            let detail = format!(
                "without a traffic router the split is a number of pods, and of {replicas} pods \
                 this comes to {pods} {noun}, so {share} % of the requests; use more replicas, or \
                 trafficRouting"
            );
            ((share - weight).abs() >= TOLERANCE).then(|| FieldError::invalid(path, weight, detail))
        })
        .collect()
}

/// After `setCanaryScale` with a number, later weights no longer bring pods with them.
fn sized_by_hand(spec: &RolloutSpec, canary: &CanaryStrategy) -> Vec<FieldError> {
    let whole = i64::from(spec.max_traffic_weight().max(1));
    let replicas = i64::from(spec.replicas());
    // Where the size was set, and how many pods that is.
    let mut size: Option<(usize, i64)> = None;
    let mut found = Vec::new();
    for (i, step) in canary.steps.iter().enumerate() {
        if let Some(scale) = &step.set_canary_scale {
            let share = |weight: i32| (replicas * i64::from(weight) + 99) / 100;
            let pods = scale.replicas.map(i64::from).or(scale.weight.map(share));
            size = pods
                .filter(|_| !scale.match_traffic_weight)
                .map(|pods| (i, pods));
        }
        let Some((weight, (at, pods))) = step.set_weight.zip(size) else {
            continue;
        };
        let needed = (replicas * i64::from(weight) + whole - 1) / whole;
        if needed > pods {
            let detail = format!(
                "steps[{at}].setCanaryScale holds the canary at {pods} pod(s), and this weight needs \
                 {needed}; put {{setCanaryScale: {{matchTrafficWeight: true}}}} before it"
            );
            let path = format!("spec.strategy.canary.steps[{i}].setWeight");
            found.push(FieldError::invalid(path, weight, detail));
        }
    }
    found
}
