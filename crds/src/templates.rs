//! From analysis templates to the spec of a run (API-51, API-52, ANA-25..28).

use std::collections::BTreeMap;

use crate::analysis::{AnalysisRunSpec, AnalysisTemplateSpec, Argument};
use crate::rollout::{AnalysisTemplateRef, DryRun, MeasurementRetention};

/// Templates by name. A name that is not in the map was not read; `None` was looked for and is
/// not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateStore {
    /// AnalysisTemplates of the namespace.
    pub namespaced: BTreeMap<String, Option<AnalysisTemplateSpec>>,
    /// ClusterAnalysisTemplates.
    pub cluster: BTreeMap<String, Option<AnalysisTemplateSpec>>,
}

impl TemplateStore {
    /// The template that a reference names.
    pub fn get(&self, reference: &AnalysisTemplateRef) -> Option<&AnalysisTemplateSpec> {
        self.map_of(reference)
            .get(&reference.template_name)?
            .as_ref()
    }

    fn map_of(
        &self,
        reference: &AnalysisTemplateRef,
    ) -> &BTreeMap<String, Option<AnalysisTemplateSpec>> {
        if reference.cluster_scope == Some(true) {
            &self.cluster
        } else {
            &self.namespaced
        }
    }
}

/// Why templates do not make a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A template is not there. `nested`: another template refers to it.
    #[error("{} '{name}' not found", kind(*.cluster))]
    NotFound {
        /// Its name.
        name: String,
        /// Whether it is a ClusterAnalysisTemplate.
        cluster: bool,
        /// Whether another template refers to it.
        nested: bool,
    },
    /// A template refers to itself, perhaps through others.
    #[error("{} '{name}' refers to itself by way of its templates", kind(*.cluster))]
    Cycle {
        /// Its name.
        name: String,
        /// Whether it is a ClusterAnalysisTemplate.
        cluster: bool,
    },
    /// Two metrics of one name.
    #[error("two metrics have the same name '{0}'")]
    SameMetric(String),
    /// Two templates give an argument different values.
    #[error(
        "Argument `{name}` specified multiple times with different values: '{first}', '{second}'"
    )]
    DifferentValues {
        /// The argument.
        name: String,
        /// Value in the earlier template.
        first: String,
        /// Value in the later one.
        second: String,
    },
    /// An argument has neither value nor source.
    #[error("args.{0} was not resolved")]
    NotResolved(String),
    /// Two dry-run rules of one name.
    #[error("two Dry-Run metric rules have the same name '{0}'")]
    SameDryRun(String),
    /// Two retention rules of one name.
    #[error("two Measurement Retention metric rules have the same name '{0}'")]
    SameRetention(String),
}

fn kind(cluster: bool) -> &'static str {
    if cluster {
        "ClusterAnalysisTemplate"
    } else {
        "AnalysisTemplate"
    }
}

/// A template and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<'a> {
    /// Name.
    pub name: &'a str,
    /// Whether it is a ClusterAnalysisTemplate.
    pub cluster: bool,
    /// The template.
    pub spec: &'a AnalysisTemplateSpec,
}

/// The templates that `references` name, with those that these refer to: namespaced ones first,
/// each kind in the order in which it is met, each template once.
pub fn collect<'a>(
    references: &'a [AnalysisTemplateRef],
    store: &'a TemplateStore,
) -> Result<Vec<Named<'a>>, TemplateError> {
    let mut found = Vec::new();
    walk(references, store, &mut Vec::new(), &mut found)?;
    let (mut ordered, cluster): (Vec<_>, Vec<_>) = found.into_iter().partition(|t| !t.cluster);
    ordered.extend(cluster);
    Ok(ordered)
}

fn walk<'a>(
    references: &'a [AnalysisTemplateRef],
    store: &'a TemplateStore,
    above: &mut Vec<(bool, &'a str)>,
    found: &mut Vec<Named<'a>>,
) -> Result<(), TemplateError> {
    for reference in references {
        let cluster = reference.cluster_scope == Some(true);
        let name = reference.template_name.as_str();
        if above.contains(&(cluster, name)) {
            return Err(TemplateError::Cycle {
                name: name.to_owned(),
                cluster,
            });
        }
        let Some(spec) = store.get(reference) else {
            let nested = !above.is_empty();
            return Err(TemplateError::NotFound {
                name: name.to_owned(),
                cluster,
                nested,
            });
        };
        if found.iter().any(|t| t.cluster == cluster && t.name == name) {
            continue;
        }
        found.push(Named {
            name,
            cluster,
            spec,
        });
        above.push((cluster, name));
        walk(&spec.templates, store, above, found)?;
        above.pop();
    }
    Ok(())
}

/// What the caller of an analysis adds to its templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// Values for arguments; those that no template knows are dropped.
    pub args: &'a [Argument],
    /// Dry-run rules, before those of the templates.
    pub dry_run: &'a [DryRun],
    /// Retention rules, before those of the templates.
    pub measurement_retention: &'a [MeasurementRetention],
}

/// The spec of a run of `templates` (from [`collect`]).
///
/// Two things differ from the peer (ASE-8): a template that merely repeats the name of an argument
/// does not take its `valueFrom` away, and a value of the caller wins over a Secret of the
/// template.
pub fn merge(
    templates: &[&AnalysisTemplateSpec],
    caller: Caller<'_>,
) -> Result<AnalysisRunSpec, TemplateError> {
    let metrics = joined(&[], templates, |t| &t.metrics);
    unique(&metrics, |m| &m.name, TemplateError::SameMetric)?;
    let dry_run = joined(caller.dry_run, templates, |t| &t.dry_run);
    unique(&dry_run, |r| &r.metric_name, TemplateError::SameDryRun)?;
    let measurement_retention = joined(caller.measurement_retention, templates, |t| {
        &t.measurement_retention
    });
    unique(
        &measurement_retention,
        |r| &r.metric_name,
        TemplateError::SameRetention,
    )?;
    let mut args = flatten_args(templates)?;
    for arg in &mut args {
        if let Some(given) = caller.args.iter().find(|given| given.name == arg.name) {
            if given.value.is_some() {
                arg.value.clone_from(&given.value);
                arg.value_from = None;
            } else if given.value_from.is_some() {
                arg.value_from.clone_from(&given.value_from);
            }
        }
        if arg.value.is_none() && arg.value_from.is_none() {
            return Err(TemplateError::NotResolved(arg.name.clone()));
        }
    }
    Ok(AnalysisRunSpec {
        metrics,
        args,
        dry_run,
        measurement_retention,
        ..Default::default()
    })
}

/// Arguments of all templates, merged by name.
pub fn flatten_args(templates: &[&AnalysisTemplateSpec]) -> Result<Vec<Argument>, TemplateError> {
    let mut args: Vec<Argument> = Vec::new();
    for arg in templates.iter().flat_map(|t| &t.args) {
        let Some(earlier) = args.iter_mut().find(|earlier| earlier.name == arg.name) else {
            args.push(arg.clone());
            continue;
        };
        match (&earlier.value, &arg.value) {
            (Some(first), Some(second)) if first != second => {
                return Err(TemplateError::DifferentValues {
                    name: arg.name.clone(),
                    first: first.clone(),
                    second: second.clone(),
                });
            }
            (None, second) => {
                earlier.value.clone_from(second);
                if second.is_some() || arg.value_from.is_some() {
                    earlier.value_from.clone_from(&arg.value_from);
                }
            }
            _ => {}
        }
    }
    Ok(args)
}

fn joined<'a, T: Clone + 'a>(
    first: &[T],
    templates: &[&'a AnalysisTemplateSpec],
    list: impl Fn(&'a AnalysisTemplateSpec) -> &'a Vec<T>,
) -> Vec<T> {
    let mut all = first.to_vec();
    all.extend(templates.iter().copied().flat_map(list).cloned());
    all
}

fn unique<T>(
    items: &[T],
    name: impl Fn(&T) -> &String,
    error: impl Fn(String) -> TemplateError,
) -> Result<(), TemplateError> {
    let mut names: Vec<&String> = Vec::with_capacity(items.len());
    for item in items {
        if names.contains(&name(item)) {
            return Err(error(name(item).clone()));
        }
        names.push(name(item));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
