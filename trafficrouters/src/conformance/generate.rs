//! Generated wanted states.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sluice_core::traffic::{Additional, Want};
use sluice_crds::rollout::{
    HeaderRoutingMatch, RouteMatch, SetHeaderRoute, SetMirrorRoute, StringMatch,
};

use super::want;

/// Sequences of wanted states, in parts of `max`. Managed routes are `qa` and `shadow`, services of
/// experiments begin with `shop-exp`.
pub(crate) fn wants(max: i32) -> impl Strategy<Value = Vec<Want>> {
    vec(one(max), 1..5)
}

fn one(max: i32) -> impl Strategy<Value = Want> {
    let additional = vec((0..=max / 2, 0..3u8), 0..3);
    let routes = (option::of(header()), option::of(mirror()));
    (
        -5..=max + 5,
        additional,
        routes,
        any::<bool>(),
        prop::sample::select(vec!["7d9", "9f1"]),
    )
        .prop_map(
            move |(weight, additional, (header, mirror), weight_before_hash, hash)| {
                let mut want = want(weight);
                want.max_weight = max;
                want.canary_hash = hash.to_owned();
                want.weight_before_hash = weight_before_hash;
                want.header_route = header;
                want.mirror_route = mirror;
                for (weight, n) in additional {
                    let service = format!("shop-exp-{n}");
                    if want.additional.iter().all(|a| a.service != service) {
                        want.additional.push(Additional {
                            weight,
                            service,
                            pod_hash: format!("e{n}"),
                        });
                    }
                }
                want
            },
        )
}

fn header() -> impl Strategy<Value = SetHeaderRoute> {
    let one = ("[A-Z][a-z]{1,4}", text()).prop_map(|(header_name, value)| HeaderRoutingMatch {
        header_name,
        header_value: Some(value),
    });
    vec(one, 0..3).prop_map(|r#match| SetHeaderRoute {
        name: "qa".to_owned(),
        r#match,
    })
}

fn mirror() -> impl Strategy<Value = SetMirrorRoute> {
    let one = (option::of(text()), option::of(text())).prop_map(|(method, path)| RouteMatch {
        method,
        path,
        headers: Default::default(),
    });
    (vec(one, 0..2), option::of(0..=100)).prop_map(|(r#match, percentage)| SetMirrorRoute {
        name: "shadow".to_owned(),
        r#match,
        percentage,
    })
}

fn text() -> impl Strategy<Value = StringMatch> {
    ("[a-z]{1,3}", 0..3u8).prop_map(|(value, kind)| match kind {
        0 => StringMatch {
            exact: value,
            ..StringMatch::default()
        },
        1 => StringMatch {
            prefix: value,
            ..StringMatch::default()
        },
        _ => StringMatch {
            regex: value,
            ..StringMatch::default()
        },
    })
}
