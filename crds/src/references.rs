//! The objects that a Rollout names, as far as validation looks at them (API-49).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::rollout::{
    AnalysisRunArgument, AnalysisTemplateRef, BlueGreenStrategy, DryRun, MeasurementRetention,
    RolloutAnalysis, RolloutSpec,
};
use crate::templates::TemplateStore;

/// Objects by name. A name that is not in a map was not read, and nothing is said about it;
/// `None` was looked for and is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// Services of the namespace.
    pub services: BTreeMap<String, Option<ServiceFacts>>,
    /// Analysis templates, with those that they refer to.
    pub templates: TemplateStore,
    /// Ingresses of the namespace.
    pub ingresses: BTreeMap<String, Option<Value>>,
    /// Istio VirtualServices, by the name that the Rollout writes.
    pub virtual_services: BTreeMap<String, Option<Value>>,
    /// Ambassador Mappings of the namespace.
    pub mappings: BTreeMap<String, Option<Value>>,
    /// App Mesh virtual services of the namespace.
    pub app_mesh_virtual_services: BTreeMap<String, Option<Value>>,
    /// Router of each App Mesh virtual service, by the name of the virtual service.
    pub app_mesh_routers: BTreeMap<String, Option<Value>>,
}

/// What validation looks at in a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceFacts {
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// The annotation [`crate::keys::MANAGED_BY`].
    pub managed_by: Option<String>,
}

impl ServiceFacts {
    /// From the JSON of a Service.
    pub fn new(service: &Value) -> Self {
        let selector = service.pointer("/spec/selector").and_then(Value::as_object);
        let texts = selector
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let annotations = service.pointer("/metadata/annotations");
        let managed_by = annotations.and_then(|a| a.get(crate::keys::MANAGED_BY));
        Self {
            selector: texts.collect(),
            managed_by: managed_by.and_then(Value::as_str).map(str::to_owned),
        }
    }
}

/// Names of the objects to read for [`References`], apart from what templates refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Services.
    pub services: BTreeSet<String>,
    /// AnalysisTemplates.
    pub templates: BTreeSet<String>,
    /// ClusterAnalysisTemplates.
    pub cluster_templates: BTreeSet<String>,
    /// Ingresses.
    pub ingresses: BTreeSet<String>,
    /// VirtualServices as written, `name` or `name.namespace`.
    pub virtual_services: BTreeSet<String>,
    /// DestinationRules.
    pub destination_rules: BTreeSet<String>,
    /// Ambassador Mappings.
    pub mappings: BTreeSet<String>,
    /// App Mesh virtual services.
    pub app_mesh_virtual_services: BTreeSet<String>,
}

/// What a Rollout refers to.
pub fn wanted(spec: &RolloutSpec) -> Wanted {
    let mut wanted = Wanted::default();
    wanted
        .services
        .extend(services(spec).into_iter().map(|(_, name)| name.to_owned()));
    for use_of in analyses(spec) {
        for reference in use_of.templates {
            let cluster = reference.cluster_scope == Some(true);
            let names = if cluster {
                &mut wanted.cluster_templates
            } else {
                &mut wanted.templates
            };
            names.insert(reference.template_name.clone());
        }
    }
    let Some(routing) = spec.traffic_routing() else {
        return wanted;
    };
    if let Some(nginx) = &routing.nginx {
        let one = Some(&nginx.stable_ingress).filter(|name| !name.is_empty());
        wanted
            .ingresses
            .extend(one.into_iter().chain(&nginx.stable_ingresses).cloned());
    }
    if let Some(alb) = &routing.alb {
        let one = Some(&alb.ingress).filter(|name| !name.is_empty());
        wanted
            .ingresses
            .extend(one.into_iter().chain(&alb.ingresses).cloned());
    }
    if let Some(istio) = &routing.istio {
        let all = istio.virtual_service.iter().chain(&istio.virtual_services);
        wanted.virtual_services.extend(all.map(|v| v.name.clone()));
        wanted
            .destination_rules
            .extend(istio.destination_rule.iter().map(|d| d.name.clone()));
    }
    if let Some(ambassador) = &routing.ambassador {
        wanted.mappings.extend(ambassador.mappings.iter().cloned());
    }
    let mesh = routing
        .app_mesh
        .as_ref()
        .and_then(|mesh| mesh.virtual_service.as_ref());
    wanted
        .app_mesh_virtual_services
        .extend(mesh.map(|v| v.name.clone()));
    wanted
}

/// Services that a Rollout names, with the path of the name.
pub fn services(spec: &RolloutSpec) -> Vec<(&'static str, &str)> {
    let mut all = Vec::new();
    if let Some(blue_green) = spec.blue_green() {
        all.push((
            "spec.strategy.blueGreen.activeService",
            &blue_green.active_service,
        ));
        all.push((
            "spec.strategy.blueGreen.previewService",
            &blue_green.preview_service,
        ));
    } else if let Some(canary) = spec.canary() {
        // The peer looks for stable first, see its record of a missing Service.
        all.push(("spec.strategy.canary.stableService", &canary.stable_service));
        all.push(("spec.strategy.canary.canaryService", &canary.canary_service));
        if let Some(pair) = &canary.ping_pong {
            all.push((
                "spec.strategy.canary.pingPong.pingService",
                &pair.ping_service,
            ));
            all.push((
                "spec.strategy.canary.pingPong.pongService",
                &pair.pong_service,
            ));
        }
    }
    let named = all.into_iter().filter(|(_, name)| !name.is_empty());
    named.map(|(path, name)| (path, name.as_str())).collect()
}

/// One place where a Rollout starts an analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysisUse<'a> {
    /// Path of the list of templates.
    pub path: String,
    /// Whether it runs beside the steps, so that it may run without end.
    pub background: bool,
    /// The templates.
    pub templates: &'a [AnalysisTemplateRef],
    /// The arguments given to them.
    pub args: &'a [AnalysisRunArgument],
    /// The dry-run rules given to them.
    pub dry_run: &'a [DryRun],
    /// The retention rules given to them.
    pub measurement_retention: &'a [MeasurementRetention],
}

/// Every place where a Rollout starts an analysis, in the order in which they are checked.
pub fn analyses(spec: &RolloutSpec) -> Vec<AnalysisUse<'_>> {
    let mut places: Vec<(String, Option<&RolloutAnalysis>)> = Vec::new();
    if let Some(BlueGreenStrategy {
        pre_promotion_analysis,
        post_promotion_analysis,
        ..
    }) = spec.blue_green()
    {
        let path = |member: &str| format!("spec.strategy.blueGreen.{member}.templates");
        places.push((
            path("prePromotionAnalysis"),
            pre_promotion_analysis.as_deref(),
        ));
        places.push((
            path("postPromotionAnalysis"),
            post_promotion_analysis.as_deref(),
        ));
    }
    for (i, step) in spec.steps().iter().enumerate() {
        let path = format!("spec.strategy.canary.steps[{i}].analysis.templates");
        places.push((path, step.analysis.as_deref()));
    }
    let mut uses: Vec<AnalysisUse<'_>> = places
        .into_iter()
        .filter_map(|(path, analysis)| Some((path, analysis?)))
        .map(|(path, a)| AnalysisUse {
            path,
            background: false,
            templates: &a.templates,
            args: &a.args,
            dry_run: &a.dry_run,
            measurement_retention: &a.measurement_retention,
        })
        .collect();
    if let Some(a) = spec.canary().and_then(|canary| canary.analysis.as_deref()) {
        uses.push(AnalysisUse {
            path: "spec.strategy.canary.analysis.templates".to_owned(),
            background: true,
            templates: &a.templates,
            args: &a.args,
            dry_run: &a.dry_run,
            measurement_retention: &a.measurement_retention,
        });
    }
    uses
}
