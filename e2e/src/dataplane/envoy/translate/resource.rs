//! Envoy's own types, as JSON.

use serde_json::{Value, json};

const TYPES: &str = "type.googleapis.com/envoy.config";

/// Parts of a million, the finest that Envoy offers. All, where nothing is said.
pub(super) fn mirror(cluster: &str, percentage: Option<&Value>) -> Value {
    let percent = percentage.map_or(Some(100.0), Value::as_f64).unwrap_or(0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 1,000,000
    let parts = (percent.clamp(0.0, 100.0) * 10_000.0).round() as u64;
    json!({
        "cluster": cluster,
        "runtime_fraction": {"default_value": {"numerator": parts, "denominator": "MILLION"}},
    })
}

pub(super) fn route_configuration(hosts: &[Value]) -> Value {
    json!({"@type": format!("{TYPES}.route.v3.RouteConfiguration"),
           "name": "mesh", "virtual_hosts": hosts})
}

pub(super) fn cluster(name: &str) -> Value {
    // Envoy runs in the folder of its files.
    let file = format!("./{}.json", endpoints_file(name));
    json!({
        "@type": format!("{TYPES}.cluster.v3.Cluster"),
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {
            "eds_config": {"resource_api_version": "V3", "path_config_source": {"path": file}},
        },
    })
}

/// The file of a cluster's endpoints, without its ending: Envoy wants a file for each.
pub(super) fn endpoints_file(cluster: &str) -> String {
    format!("eds-{}", cluster.replace(['|', '*', '/'], "_"))
}

pub(super) fn load_assignment(cluster: &str, endpoints: &[(String, u64)]) -> Value {
    let endpoint = |(ip, port): &(String, u64)| {
        let address = json!({"socket_address": {"address": ip, "port_value": port}});
        json!({"endpoint": {"address": address}})
    };
    let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
    json!({
        "@type": format!("{TYPES}.endpoint.v3.ClusterLoadAssignment"),
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": endpoints}],
    })
}
