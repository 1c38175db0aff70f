//! Which provider a metric names (ANA-47).

use sluice_crds::analysis::Metric;

use crate::Context;
use crate::job::JobProvider;
use crate::prometheus::PrometheusProvider;
use crate::provider::{AnyProvider, RunRef};
use crate::web::WebProvider;

/// The provider that `metric` names. Placeholders are replaced already.
///
/// # Errors
/// Why it cannot be built (ANA-12): no provider, one that is not supported, bad settings.
pub fn provider(context: &Context, run: &RunRef, metric: &Metric) -> Result<AnyProvider, String> {
    let kind = &metric.provider;
    if let Some(prometheus) = &kind.prometheus {
        let provider = PrometheusProvider::new(context, prometheus)?;
        return Ok(AnyProvider::Short(Box::new(provider)));
    }
    if let Some(job) = &kind.job {
        let provider = JobProvider::new(context, run, &metric.name, job)?;
        return Ok(AnyProvider::Long(Box::new(provider)));
    }
    if kind.kayenta.is_some() {
        return Err(unsupported("kayenta"));
    }
    if let Some(web) = &kind.web {
        return Ok(AnyProvider::Short(Box::new(WebProvider::new(
            context, web,
        )?)));
    }
    for (name, given) in [
        ("datadog", kind.datadog.is_some()),
        ("wavefront", kind.wavefront.is_some()),
        ("newRelic", kind.new_relic.is_some()),
        ("cloudWatch", kind.cloud_watch.is_some()),
        ("graphite", kind.graphite.is_some()),
        ("influxdb", kind.influxdb.is_some()),
        ("skywalking", kind.skywalking.is_some()),
    ] {
        if given {
            return Err(unsupported(name));
        }
    }
    match kind.plugin.keys().next() {
        Some(plugin) => Err(unsupported(&format!("plugin {plugin}"))),
        None => Err(format!("no valid provider in metric '{}'", metric.name)),
    }
}

fn unsupported(name: &str) -> String {
    format!("metric provider {name} is not supported yet")
}
