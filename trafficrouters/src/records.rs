//! Records of an existing controller: what it wrote is what we would write, and nothing more.

use std::path::PathBuf;

use serde_json::Value;
use sluice_core::traffic::{Additional, Want};
use sluice_crds::Rollout;
use sluice_crds::rollout::WeightDestination;

use crate::conformance::apply;
use crate::factory::{Config, routers_for};
use crate::object::Found;
use crate::router::TrafficRouter;
use crate::testing::{found, show};

/// Records whose Rollout has traffic routing.
const RECORDS: [&str; 8] = [
    "02-canary-istio-hosts",
    "03-canary-istio-subsets",
    "04-canary-nginx",
    "07-analysis",
    "10-dynamic-stable-scale",
    "11-headers-mirror",
    "12-ping-pong",
    "15-missing-service",
];
const MOMENTS: [&str; 5] = ["1-rest", "2-mid", "3-aborted", "4-promoted", "5-mid-v3"];

/// One moment of one record: the Rollout, its routers, and the wanted state that its status implies.
struct Moment {
    name: String,
    routers: Vec<Box<dyn TrafficRouter>>,
    objects: Vec<Value>,
    want: Want,
}

impl Moment {
    /// `None` for a Rollout that never got so far as to record weights.
    fn read(record: &str, moment: &str) -> Option<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../e2e/fixtures/peer")
            .join(record)
            .join(format!("{moment}.json"));
        let list: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let objects = list["items"].as_array().unwrap().clone();
        let rollout = objects.iter().find(|o| o["kind"] == "Rollout").unwrap();
        let rollout: Rollout = serde_json::from_value(rollout.clone()).unwrap();
        Some(Self {
            name: format!("{record} {moment}"),
            routers: routers_for(&rollout, &Config::default()).unwrap(),
            want: implied(&rollout)?,
            objects,
        })
    }

    fn found(&self, router: &dyn TrafficRouter) -> Found {
        found(router, &self.objects)
    }
}

/// The wanted state that a status records.
fn implied(rollout: &Rollout) -> Option<Want> {
    let canary = rollout.spec.strategy.canary.as_ref()?;
    let routing = canary.traffic_routing.as_ref()?;
    let status = rollout.status.as_ref()?;
    let weights = status.canary.weights.as_ref()?;
    let (stable_service, canary_service) = match &canary.ping_pong {
        Some(pair) if status.canary.stable_ping_pong == "ping" => {
            (&pair.ping_service, &pair.pong_service)
        }
        Some(pair) => (&pair.pong_service, &pair.ping_service),
        None => (&canary.stable_service, &canary.canary_service),
    };
    let at_rest = status.abort || status.stable_rs == status.current_pod_hash;
    let index = usize::try_from(status.current_step_index.unwrap_or_default()).unwrap();
    let passed = match at_rest {
        true => &[],
        false => &canary.steps[..(index + 1).min(canary.steps.len())],
    };
    let additional = |d: &WeightDestination| Additional {
        weight: d.weight,
        service: d.service_name.clone(),
        pod_hash: d.pod_template_hash.clone(),
    };
    Some(Want {
        canary_hash: weights.canary.pod_template_hash.clone(),
        stable_hash: weights.stable.pod_template_hash.clone(),
        canary_service: canary_service.clone(),
        stable_service: stable_service.clone(),
        weight: weights.canary.weight,
        max_weight: routing.max_traffic_weight.unwrap_or(100),
        additional: weights.additional.iter().map(additional).collect(),
        header_route: passed
            .iter()
            .rev()
            .find_map(|s| s.set_header_route.as_deref().cloned()),
        mirror_route: passed
            .iter()
            .rev()
            .find_map(|s| s.set_mirror_route.as_deref().cloned()),
        remove_managed_routes: at_rest,
        only_remove_managed_routes: false,
        weight_before_hash: false,
        keep_hashes: false,
    })
}

/// INV-8: taking over at any moment writes nothing.
#[test]
fn a_recorded_moment_needs_no_write() {
    let mut seen = 0;
    for record in RECORDS {
        for moment in MOMENTS
            .iter()
            .filter_map(|moment| Moment::read(record, moment))
        {
            for router in &moment.routers {
                let result = router.render(&moment.want, &moment.found(&**router));
                assert_eq!(show(&result), "", "{}", moment.name);
                seen += 1;
            }
        }
    }
    assert!(seen >= 25, "only {seen} moments had routers");
}

/// From each moment to the next, the routes become exactly the recorded ones.
#[test]
fn routes_become_the_recorded_ones() {
    for record in RECORDS {
        let moments: Vec<Moment> = MOMENTS
            .iter()
            .filter_map(|moment| Moment::read(record, moment))
            .collect();
        for pair in moments.windows(2) {
            let [before, after] = pair else { continue };
            // The routers of the pass in which the earlier status was recorded.
            for router in &before.routers {
                let start = before.found(&**router);
                let writes = router.render(&after.want, &start).unwrap();
                let is = apply(&start, &writes).unwrap();
                let should = after.found(&**router);
                for object in router.reads() {
                    let parts = |found: &Found| {
                        let value = found.get(&object).unwrap().cloned().unwrap_or_default();
                        (
                            value["spec"].clone(),
                            value["metadata"]["annotations"].clone(),
                        )
                    };
                    assert_eq!(parts(&is), parts(&should), "{} {object}", after.name);
                }
            }
        }
    }
}
