//! Rules that take other objects to tell (API-49, API-52).

use super::{istio, mesh, services};
use crate::analysis::{AnalysisRunSpec, Argument, Metric};
use crate::field_error::FieldError;
use crate::numbers;
use crate::placeholders;
use crate::references::{AnalysisUse, References, analyses};
use crate::rollout::Rollout;
use crate::templates::{self, Caller, Named, TemplateError, TemplateStore};

/// What is wrong with the objects that a Rollout names: first those that are missing, then those
/// that do not fit. Objects that were not read are passed over.
pub fn references(rollout: &Rollout, found: &References) -> Vec<FieldError> {
    let spec = &rollout.spec;
    let uses = analyses(spec);
    let mut errors = services::missing(spec, found);
    errors.extend(
        uses.iter()
            .filter_map(|u| missing_template(u, &found.templates)),
    );
    errors.extend(services::ingress_forms(spec));
    errors.extend(services::missing_ingresses(spec, found));
    errors.extend(istio::form(spec));
    errors.extend(istio::missing(spec, found));
    errors.extend(mesh::missing_mappings(spec, found));
    errors.extend(mesh::missing_virtual_service(rollout, found));

    errors.extend(services::unfit(rollout, found));
    errors.extend(
        uses.iter()
            .flat_map(|u| unfit_templates(u, &found.templates)),
    );
    errors.extend(services::unfit_ingresses(spec, found));
    errors.extend(istio::unfit(spec, found));
    errors.extend(mesh::unfit_mappings(spec, found));
    errors.extend(mesh::unfit_router(spec, found));
    errors
}

fn missing_template(place: &AnalysisUse<'_>, store: &TemplateStore) -> Option<FieldError> {
    let error = templates::collect(place.templates, store).err()?;
    let detail = error.to_string();
    let (path, name) = match error {
        TemplateError::NotFound {
            name,
            cluster,
            nested,
        } => {
            let of_kind = if cluster {
                &store.cluster
            } else {
                &store.namespaced
            };
            // Not in the map: nobody looked.
            of_kind.get(&name)?;
            (
                if nested {
                    "spec.templates"
                } else {
                    place.path.as_str()
                },
                name,
            )
        }
        TemplateError::Cycle { name, .. } => ("spec.templates", name),
        _ => return None,
    };
    Some(FieldError::invalid(path, name, detail))
}

fn unfit_templates(place: &AnalysisUse<'_>, store: &TemplateStore) -> Vec<FieldError> {
    let Ok(found) = templates::collect(place.templates, store) else {
        return Vec::new();
    };
    let specs: Vec<_> = found.iter().map(|template| template.spec).collect();
    // Values that are known only when the run is made count as given.
    let args: Vec<Argument> = place
        .args
        .iter()
        .map(|arg| Argument {
            name: arg.name.clone(),
            value: Some(arg.value.clone()),
            value_from: None,
        })
        .collect();
    let caller = Caller {
        args: &args,
        dry_run: place.dry_run,
        measurement_retention: place.measurement_retention,
    };
    let run = match templates::merge(&specs, caller) {
        Ok(run) => run,
        Err(error) => {
            let names: Vec<&str> = found.iter().map(|template| template.name).collect();
            let value = format!("templateNames: [{}]", names.join(" "));
            return vec![FieldError::invalid(
                place.path.as_str(),
                value,
                error.to_string(),
            )];
        }
    };
    if place.background {
        return Vec::new();
    }
    let problem = |template: &Named<'_>| {
        let detail = endless(template, place, &run)
            .or_else(|| two_sources(template))
            .or_else(|| unresolved(template, &run))?;
        Some(FieldError::invalid(
            place.path.as_str(),
            template.name,
            detail,
        ))
    };
    found.iter().filter_map(problem).collect()
}

/// A metric that would never end.
fn endless(template: &Named<'_>, place: &AnalysisUse<'_>, run: &AnalysisRunSpec) -> Option<String> {
    let metric = template
        .spec
        .metrics
        .iter()
        .find(|m| is_endless(m, place, run))?;
    let count = metric
        .count
        .as_ref()
        .map_or("<nil>".to_owned(), numbers::as_written);
    Some(format!(
        "AnalysisTemplate {} has metric {} which runs indefinitely. Invalid value for count: {count}",
        template.name, metric.name
    ))
}

fn is_endless(metric: &Metric, place: &AnalysisUse<'_>, run: &AnalysisRunSpec) -> bool {
    if metric.interval.is_empty() {
        return false;
    }
    let Some(count) = &metric.count else {
        return true;
    };
    let text = numbers::as_written(count);
    // A count by argument is judged by its value (SE-13), unless that is known only later.
    let known_later = |arg: &Argument| {
        let given = place.args.iter().find(|given| given.name == arg.name);
        arg.value_from.is_some() || given.is_some_and(|given| given.value_from.is_some())
    };
    let text = placeholders::substitute(&text, |tag| {
        let name = tag.strip_prefix("args.").unwrap_or_default();
        match run.args.iter().find(|arg| arg.name == name) {
            Some(arg) if known_later(arg) => Ok("1".to_owned()),
            _ => placeholders::argument(&run.args, tag),
        }
    });
    text.is_ok_and(|text| text.parse::<i64>().unwrap_or(0) == 0)
}

fn two_sources(template: &Named<'_>) -> Option<String> {
    let both = |arg: &&Argument| arg.value.is_some() && arg.value_from.is_some();
    let arg = template.spec.args.iter().find(both)?;
    Some(format!(
        "AnalysisTemplate {}: arg '{}' has both Value and ValueFrom fields",
        template.name, arg.name
    ))
}

/// A placeholder that nothing will fill.
fn unresolved(template: &Named<'_>, run: &AnalysisRunSpec) -> Option<String> {
    let with_value = |tag: &str| {
        let name = tag.strip_prefix("args.");
        match run.args.iter().find(|arg| Some(arg.name.as_str()) == name) {
            Some(_) => Ok(String::new()),
            None => placeholders::argument(&run.args, tag),
        }
    };
    template.spec.metrics.iter().find_map(|metric| {
        let text = serde_json::to_string(metric).unwrap_or_default();
        let error = placeholders::substitute(&text, with_value).err()?;
        Some(format!("AnalysisTemplate {}: {error}", template.name))
    })
}
