//! The kinds a cluster serves: the built-in ones, third-party ones known by name only, and
//! those that CustomResourceDefinitions add.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::schema::Schema;

/// Where a kind stands in the registry; stable for the life of a cluster.
pub(crate) type KindId = usize;

/// JSON paths of the scale subresource, as in a CustomResourceDefinition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScalePaths {
    pub(crate) spec: Vec<String>,
    pub(crate) status: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

/// A printer column of a CustomResourceDefinition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

/// One served kind.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) group: String,
    /// Served versions, the preferred one first.
    pub(crate) versions: Vec<String>,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Has a status subresource.
    pub(crate) status: bool,
    pub(crate) scale: Option<ScalePaths>,
    /// Whether `metadata.generation` is kept.
    pub(crate) generation: bool,
    /// Came from a CustomResourceDefinition or stands for one.
    pub(crate) custom: bool,
    /// Schema per version; none accepts everything.
    pub(crate) schemas: BTreeMap<String, Arc<Schema>>,
    /// Printer columns per version.
    pub(crate) columns: BTreeMap<String, Vec<Column>>,
    /// No longer served (its definition was deleted).
    pub(crate) gone: bool,
}

impl Kind {
    /// `plural.group`, as in messages and CRD names.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apiVersion` of objects served in `version`.
    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// The preferred version.
    pub(crate) fn version(&self) -> &str {
        self.versions.first().map_or("v1", String::as_str)
    }
}

/// Ids of the kinds that controllers and special rules refer to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WellKnown {
    pub(crate) namespaces: KindId,
    pub(crate) pods: KindId,
    pub(crate) services: KindId,
    pub(crate) endpoints: KindId,
    pub(crate) endpointslices: KindId,
    pub(crate) replicasets: KindId,
    pub(crate) deployments: KindId,
    pub(crate) jobs: KindId,
    pub(crate) pdbs: KindId,
    pub(crate) crds: KindId,
}

/// All kinds, found by group and plural.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    list: Vec<Arc<Kind>>,
    by_path: HashMap<(String, String), KindId>,
    pub(crate) known: WellKnown,
}

impl Kinds {
    /// The built-in table; third-party kinds whose `plural.group` is in `without` are left out.
    pub(crate) fn builtin(without: &[String]) -> Self {
        let zero = WellKnown {
            namespaces: 0,
            pods: 0,
            services: 0,
            endpoints: 0,
            endpointslices: 0,
            replicasets: 0,
            deployments: 0,
            jobs: 0,
            pdbs: 0,
            crds: 0,
        };
        let mut kinds = Self {
            list: Vec::new(),
            by_path: HashMap::new(),
            known: zero,
        };
        for row in BUILTIN {
            kinds.add(row.kind(false));
        }
        for row in THIRD_PARTY {
            let kind = row.kind(true);
            if !without.contains(&kind.qualified()) {
                kinds.add(kind);
            }
        }
        let id = |group: &str, plural: &str| kinds.find(group, plural).unwrap_or_default();
        let known = WellKnown {
            namespaces: id("", "namespaces"),
            pods: id("", "pods"),
            services: id("", "services"),
            endpoints: id("", "endpoints"),
            endpointslices: id("discovery.k8s.io", "endpointslices"),
            replicasets: id("apps", "replicasets"),
            deployments: id("apps", "deployments"),
            jobs: id("batch", "jobs"),
            pdbs: id("policy", "poddisruptionbudgets"),
            crds: id("apiextensions.k8s.io", "customresourcedefinitions"),
        };
        kinds.known = known;
        kinds
    }

    /// Adds a kind, or replaces the one at the same path and keeps its id.
    pub(crate) fn add(&mut self, kind: Kind) -> KindId {
        let path = (kind.group.clone(), kind.plural.clone());
        if let Some(&id) = self.by_path.get(&path) {
            if let Some(slot) = self.list.get_mut(id) {
                *slot = Arc::new(kind);
            }
            return id;
        }
        let id = self.list.len();
        self.list.push(Arc::new(kind));
        self.by_path.insert(path, id);
        id
    }

    /// Stops serving a kind.
    pub(crate) fn remove(&mut self, id: KindId) {
        if let Some(slot) = self.list.get_mut(id) {
            Arc::make_mut(slot).gone = true;
        }
    }

    /// The id at a path; kinds no longer served included.
    pub(crate) fn find(&self, group: &str, plural: &str) -> Option<KindId> {
        // The map is keyed by owned pairs; a lookup costs two short copies.
        self.by_path
            .get(&(group.to_owned(), plural.to_owned()))
            .copied()
    }

    /// The served kind of this `apiVersion` and `kind`.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<KindId> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.list.iter().position(|k| {
            !k.gone && k.kind == kind && k.group == group && k.versions.iter().any(|v| v == version)
        })
    }

    pub(crate) fn get(&self, id: KindId) -> Option<&Arc<Kind>> {
        self.list.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Kinds being served.
    pub(crate) fn served(&self) -> impl Iterator<Item = (KindId, &Arc<Kind>)> {
        self.list.iter().enumerate().filter(|(_, k)| !k.gone)
    }
}

/// A row of the tables below: group, versions, kind, plural, short names, flags. Flags: `n`
/// namespaced, `s` status subresource, `g` generation, `c` scale subresource, `a` category
/// "all".
struct Row(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

impl Row {
    fn kind(&self, custom: bool) -> Kind {
        let has = |flag: char| self.5.contains(flag);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let scale = has('c').then(|| ScalePaths {
            spec: vec!["spec".to_owned(), "replicas".to_owned()],
            status: vec!["status".to_owned(), "replicas".to_owned()],
            // Built-in scale takes the selector from the spec; custom kinds keep a string.
            selector: custom.then(|| vec!["status".to_owned(), "selector".to_owned()]),
        });
        Kind {
            group: self.0.to_owned(),
            versions: words(self.1),
            kind: self.2.to_owned(),
            plural: self.3.to_owned(),
            singular: self.2.to_lowercase(),
            short: words(self.4),
            categories: if has('a') {
                vec!["all".to_owned()]
            } else {
                Vec::new()
            },
            namespaced: has('n'),
            status: has('s'),
            scale,
            generation: has('g'),
            custom,
            schemas: BTreeMap::new(),
            columns: BTreeMap::new(),
            gone: false,
        }
    }
}

const BUILTIN: &[Row] = &[
    Row("", "v1", "Namespace", "namespaces", "ns", "s"),
    Row("", "v1", "Node", "nodes", "no", "s"),
    Row("", "v1", "Pod", "pods", "po", "nsga"),
    Row("", "v1", "Service", "services", "svc", "nsa"),
    Row("", "v1", "Endpoints", "endpoints", "ep", "n"),
    Row("", "v1", "Event", "events", "ev", "n"),
    Row("", "v1", "ConfigMap", "configmaps", "cm", "n"),
    Row("", "v1", "Secret", "secrets", "", "n"),
    Row("", "v1", "ServiceAccount", "serviceaccounts", "sa", "n"),
    Row(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "pvc",
        "ns",
    ),
    Row("", "v1", "PersistentVolume", "persistentvolumes", "pv", "s"),
    Row("", "v1", "PodTemplate", "podtemplates", "", "n"),
    Row(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "rc",
        "nsgca",
    ),
    Row("", "v1", "ResourceQuota", "resourcequotas", "quota", "ns"),
    Row("", "v1", "LimitRange", "limitranges", "limits", "n"),
    Row("apps", "v1", "Deployment", "deployments", "deploy", "nsgca"),
    Row("apps", "v1", "ReplicaSet", "replicasets", "rs", "nsgca"),
    Row("apps", "v1", "StatefulSet", "statefulsets", "sts", "nsgca"),
    Row("apps", "v1", "DaemonSet", "daemonsets", "ds", "nsga"),
    Row(
        "apps",
        "v1",
        "ControllerRevision",
        "controllerrevisions",
        "",
        "n",
    ),
    Row("batch", "v1", "Job", "jobs", "", "nsga"),
    Row("batch", "v1", "CronJob", "cronjobs", "cj", "nsga"),
    Row(
        "networking.k8s.io",
        "v1",
        "Ingress",
        "ingresses",
        "ing",
        "nsg",
    ),
    Row(
        "networking.k8s.io",
        "v1",
        "IngressClass",
        "ingressclasses",
        "",
        "g",
    ),
    Row(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        "netpol",
        "ng",
    ),
    Row("coordination.k8s.io", "v1", "Lease", "leases", "", "n"),
    Row(
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        "",
        "ng",
    ),
    Row(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "pdb",
        "nsg",
    ),
    Row(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "hpa",
        "nsa",
    ),
    Row("rbac.authorization.k8s.io", "v1", "Role", "roles", "", "n"),
    Row(
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
        "",
        "n",
    ),
    Row(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRole",
        "clusterroles",
        "",
        "",
    ),
    Row(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        "",
        "",
    ),
    Row(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        "sg",
    ),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "",
        "g",
    ),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "",
        "g",
    ),
    Row(
        "storage.k8s.io",
        "v1",
        "StorageClass",
        "storageclasses",
        "sc",
        "",
    ),
    Row(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        "pc",
        "g",
    ),
    Row(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        "",
        "s",
    ),
];

const ISTIO: &str = "networking.istio.io";
const ISTIO_VERSIONS: &str = "v1 v1beta1 v1alpha3";
const GATEWAY: &str = "gateway.networking.k8s.io";

/// Kinds of other projects, served without a schema until a definition is created for them.
const THIRD_PARTY: &[Row] = &[
    Row(
        "argoproj.io",
        "v1alpha1",
        "Rollout",
        "rollouts",
        "ro",
        "nsgc",
    ),
    Row(
        "argoproj.io",
        "v1alpha1",
        "AnalysisRun",
        "analysisruns",
        "ar",
        "nsg",
    ),
    Row(
        "argoproj.io",
        "v1alpha1",
        "AnalysisTemplate",
        "analysistemplates",
        "at",
        "ng",
    ),
    Row(
        "argoproj.io",
        "v1alpha1",
        "ClusterAnalysisTemplate",
        "clusteranalysistemplates",
        "cat",
        "g",
    ),
    Row(
        "argoproj.io",
        "v1alpha1",
        "Experiment",
        "experiments",
        "exp",
        "nsg",
    ),
    Row(
        ISTIO,
        ISTIO_VERSIONS,
        "VirtualService",
        "virtualservices",
        "vs",
        "nsg",
    ),
    Row(
        ISTIO,
        ISTIO_VERSIONS,
        "DestinationRule",
        "destinationrules",
        "dr",
        "nsg",
    ),
    Row(
        GATEWAY,
        "v1 v1beta1",
        "GatewayClass",
        "gatewayclasses",
        "gc",
        "sg",
    ),
    Row(GATEWAY, "v1 v1beta1", "Gateway", "gateways", "gtw", "nsg"),
    Row(GATEWAY, "v1 v1beta1", "HTTPRoute", "httproutes", "", "nsg"),
    Row(GATEWAY, "v1", "GRPCRoute", "grpcroutes", "", "nsg"),
    Row(
        GATEWAY,
        "v1 v1alpha3 v1alpha2",
        "TLSRoute",
        "tlsroutes",
        "",
        "nsg",
    ),
    Row(GATEWAY, "v1alpha2", "TCPRoute", "tcproutes", "", "nsg"),
    Row(
        "traefik.io",
        "v1alpha1",
        "TraefikService",
        "traefikservices",
        "",
        "ng",
    ),
    Row(
        "traefik.containo.us",
        "v1alpha1",
        "TraefikService",
        "traefikservices",
        "",
        "ng",
    ),
    Row(
        "split.smi-spec.io",
        "v1alpha1 v1alpha2 v1alpha3",
        "TrafficSplit",
        "trafficsplits",
        "",
        "ng",
    ),
    Row(
        "getambassador.io",
        "v2 v3alpha1",
        "Mapping",
        "mappings",
        "",
        "nsg",
    ),
    Row(
        "x.getambassador.io",
        "v3alpha1",
        "AmbassadorMapping",
        "ambassadormappings",
        "",
        "nsg",
    ),
    Row(
        "apisix.apache.org",
        "v2",
        "ApisixRoute",
        "apisixroutes",
        "ar",
        "nsg",
    ),
    Row(
        "apisix.apache.org",
        "v2",
        "ApisixUpstream",
        "apisixupstreams",
        "au",
        "nsg",
    ),
    Row(
        "appmesh.k8s.aws",
        "v1beta2",
        "VirtualService",
        "virtualservices",
        "",
        "nsg",
    ),
    Row(
        "appmesh.k8s.aws",
        "v1beta2",
        "VirtualRouter",
        "virtualrouters",
        "",
        "nsg",
    ),
    Row(
        "appmesh.k8s.aws",
        "v1beta2",
        "VirtualNode",
        "virtualnodes",
        "",
        "nsg",
    ),
    Row(
        "elbv2.k8s.aws",
        "v1beta1",
        "TargetGroupBinding",
        "targetgroupbindings",
        "",
        "nsg",
    ),
    Row(
        "elbv2.k8s.aws",
        "v1beta1",
        "IngressClassParams",
        "ingressclassparams",
        "",
        "g",
    ),
];
