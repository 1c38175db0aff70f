use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::observed::Seen;
use sluice_core::traffic::Additional;

use super::{HOSTS, RULE, SUBSETS, web};
use crate::conformance::{self, Group, Specimen, generate};
use crate::object::{Found, ObjectRef};
use crate::router::TrafficRouter;
use crate::testing::{found, rollout, yaml};
use crate::{Config, routers_for};

/// How the generated objects look.
#[derive(Clone, Debug)]
struct Shape {
    by_subset: bool,
    named: bool,
    sections: [bool; 3],
    foreign: Vec<i64>,
    own_weights: Option<i64>,
    extra_routes: (usize, usize),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let sections = prop::sample::select(vec![
        [true, false, false],
        [false, true, false],
        [true, true, true],
        [false, false, true],
    ]);
    (
        any::<bool>(),
        any::<bool>(),
        sections,
        prop::collection::vec(0..30i64, 0..3),
        prop::option::of(0..=100i64),
        (0..3usize, 0..2usize),
    )
        .prop_map(
            |(by_subset, named, sections, foreign, own_weights, extra_routes)| Shape {
                by_subset,
                named: named || extra_routes != (0, 0),
                sections,
                foreign,
                own_weights,
                extra_routes,
            },
        )
}

impl Shape {
    fn destination(&self, version: &str) -> Value {
        match (self.by_subset, version) {
            (true, subset) => json!({"destination": {"host": "shop", "subset": subset}}),
            (false, "stable") => json!({"destination": {"host": "shop.ns.svc"}}),
            (false, _) => json!({"destination": {"host": "shop-next"}}),
        }
    }

    fn route(&self) -> Value {
        let (mut stable, mut canary) = (self.destination("stable"), self.destination("canary"));
        if let Some(weight) = self.own_weights {
            stable["weight"] = json!(100 - weight);
            canary["weight"] = json!(weight);
        }
        let mut list = vec![stable];
        for (n, weight) in self.foreign.iter().enumerate() {
            list.push(json!({
                "destination": {"host": format!("other-{n}")},
                "weight": weight,
                "headers": {"request": {"set": {"a": "b"}}},
            }));
        }
        list.push(canary);
        Value::Array(list)
    }

    fn objects(&self) -> Vec<Value> {
        let mut base =
            json!({"route": self.route(), "retries": {"attempts": 2}, "corsPolicy": null});
        if self.named {
            base["name"] = json!("web");
        }
        let extra = |n: usize| json!({"match": [{"uri": {"exact": format!("/{n}")}}], "route": [{"destination": {"host": "admin"}}]});
        let (before, after) = self.extra_routes;
        let http: Vec<Value> = (0..before)
            .map(extra)
            .chain([base])
            .chain((0..after).map(|_| extra(0)))
            .collect();
        let mut vs = web("{}");
        let [has_http, has_tls, has_tcp] = self.sections;
        if has_http {
            vs["spec"]["http"] = Value::Array(http);
        }
        if has_tls {
            vs["spec"]["tls"] =
                json!([{"match": [{"port": 443, "sniHosts": ["a"]}], "route": self.route()}]);
        }
        if has_tcp {
            vs["spec"]["tcp"] = json!([{"route": self.route()}]);
        }
        let mut rule = yaml(RULE);
        rule["spec"]["subsets"]
            .as_array_mut()
            .unwrap()
            .push(yaml("{name: theirs, labels: {a: b}, x: y}"));
        vec![vs, rule]
    }

    fn canary(&self) -> String {
        let mut canary = match self.by_subset {
            true => SUBSETS.to_owned(),
            false => HOSTS.replace(", routes: [web]", ""),
        };
        if self.named && self.sections[0] {
            canary = canary.replace("{name: web}", "{name: web, routes: [web]}");
        }
        canary
    }
}

impl Specimen for Shape {
    fn router(&self, recorded: &[Additional]) -> Box<dyn TrafficRouter> {
        let mut rollout = rollout(&self.canary());
        let recorded: Vec<Value> = recorded
            .iter()
            .map(|a| json!({"weight": a.weight, "serviceName": a.service}))
            .collect();
        rollout.status =
            serde_json::from_value(json!({"canary": {"weights": {"additional": recorded}}}))
                .unwrap();
        routers_for(&rollout, &Config::default()).unwrap().remove(0)
    }

    fn groups(&self, found: &Found) -> Vec<Group> {
        let mut groups = Vec::new();
        for seen in found.0.values() {
            let Seen::Found(object) = seen else { continue };
            for section in ["/spec/http", "/spec/tls", "/spec/tcp"] {
                for route in crate::json::list(object, section) {
                    let list = crate::json::list(route, "/route");
                    if list.len() > 1 {
                        let weights = list.iter().map(|d| crate::json::number(d, "weight"));
                        groups.push((weights.collect(), 100));
                    }
                }
            }
        }
        groups
    }

    fn erase_owned(&self, _: &ObjectRef, value: &mut Value) {
        crate::json::unset(
            value,
            &[
                "metadata",
                "annotations",
                "argo-rollouts.argoproj.io/managed-by-rollouts",
            ],
        );
        let ours = [self.destination("stable"), self.destination("canary")];
        for section in ["http", "tls", "tcp"] {
            let Some(Value::Array(routes)) = value.pointer_mut(&format!("/spec/{section}")) else {
                continue;
            };
            routes.retain(|r| r["name"] != "qa" && r["name"] != "shadow");
            for list in routes.iter_mut().filter_map(|r| r["route"].as_array_mut()) {
                list.retain(|d| !crate::json::text(d, "/destination/host").starts_with("shop-exp"));
                for destination in list {
                    if ours
                        .iter()
                        .any(|o| o["destination"] == destination["destination"])
                    {
                        crate::json::unset(destination, &["weight"]);
                    }
                }
            }
        }
        if let Some(Value::Array(subsets)) = value.pointer_mut("/spec/subsets") {
            subsets.retain(|s| !crate::json::text(s, "/name").starts_with("shop-exp"));
            for subset in subsets
                .iter_mut()
                .filter(|s| s["name"] == "stable" || s["name"] == "canary")
            {
                crate::json::unset(subset, &["labels", "rollouts-pod-template-hash"]);
            }
        }
    }

    fn required(&self) -> Vec<ObjectRef> {
        self.router(&[]).reads()
    }

    fn managed_routes(&self, found: &Found) -> Vec<String> {
        found
            .0
            .values()
            .filter_map(|seen| match seen {
                Seen::Found(object) => Some(crate::json::list(object, "/spec/http")),
                _ => None,
            })
            .flatten()
            .map(|r| crate::json::text(r, "/name").to_owned())
            .filter(|name| name == "qa" || name == "shadow")
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-8, INV-11, INV-13, TRF-18
    #[test]
    fn conforms(shape in shapes(), wants in generate::wants(100), thousands in generate::wants(1000)) {
        let router = shape.router(&[]);
        let found = found(&*router, &shape.objects());
        for mut wants in [wants, thousands] {
            for want in &mut wants {
                if !shape.sections[0] {
                    want.header_route = None;
                    want.mirror_route = None;
                }
                if shape.by_subset {
                    want.canary_service.clear();
                    want.stable_service.clear();
                }
            }
            if let Err(why) = conformance::check(&shape, &found, &wants) {
                return Err(TestCaseError::fail(why));
            }
        }
    }
}
