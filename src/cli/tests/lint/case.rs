//! Manifests that are right, and how a sharp edge cuts them.

/// One manifest that `lint` has something to say about.
pub(crate) struct Case {
    /// Edges, as `API 2`, or rules, as `EXP-16`, with commas between them.
    pub(crate) edges: &'static str,
    /// What is right.
    pub(crate) base: &'static str,
    /// What is replaced in it.
    pub(crate) old: &'static str,
    /// By what it is cut.
    pub(crate) bad: &'static str,
    /// All lines about that, without the last one, which says the first problem again.
    pub(crate) says: &'static [&'static str],
    /// By what it is as right as before.
    pub(crate) good: &'static str,
}

/// The Rollout of these manifests, up to what its pods are.
macro_rules! web {
    () => {
        "apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
"
    };
}

pub(crate) const fn case(
    edges: &'static str,
    base: &'static str,
    [old, bad, good]: [&'static str; 3],
    says: &'static [&'static str],
) -> Case {
    Case {
        edges,
        base,
        old,
        bad,
        says,
        good,
    }
}

pub(crate) const BASIC: &str = concat!(
    "
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1', ports: [{containerPort: 80}]}]}
  strategy: {canary: {steps: [{setWeight: 25}, {pause: {}}]}}
"
);

pub(crate) const ROUTED: &str = concat!(
    "
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1', ports: [{containerPort: 80}]}]}
  strategy:
    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {nginx: {stableIngress: web}}
      steps: [{setWeight: 25}, {pause: {}}]
"
);

pub(crate) const SUBSETS: &str = concat!(
    "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: stable}, {name: canary}]}
---
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1', ports: [{containerPort: 80}]}]}
  strategy:
    canary:
      trafficRouting:
        istio:
          virtualService: {name: web}
          destinationRule: {name: web, stableSubsetName: stable, canarySubsetName: canary}
      steps: [{setWeight: 25}, {pause: {}}]
"
);

pub(crate) const BLUE_GREEN: &str = concat!(
    "
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1'}]}
  strategy:
    blueGreen: {activeService: web, previewService: web-next}
"
);

pub(crate) const BORROWED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:v1'}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-stable}
spec: {selector: {app: web}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: onsuccess}
  strategy: {canary: {stableService: web-stable, steps: [{setWeight: 25}, {pause: {}}]}}
";

pub(crate) const ANALYSED: &str = concat!(
    "
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {key: abc}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: rate}
spec:
  args:
  - name: service
  - name: token
    valueFrom: {secretKeyRef: {name: token, key: key}}
  metrics:
  - name: rate
    interval: 10s
    count: 3
    successCondition: result[0] < 0.05
    provider: {prometheus: {address: 'http://p', query: 'up{s=\"{{args.service}}\"}'}}
---
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1', ports: [{containerPort: 80}]}]}
  strategy:
    canary:
      steps:
      - setWeight: 25
      - analysis:
          templates: [{templateName: rate}]
          args: [{name: service, value: web}]
"
);

pub(crate) const EXPERIMENT: &str = concat!(
    "
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: rate}
spec:
  args: [{name: service}]
  metrics:
  - name: rate
    interval: 10s
    count: 3
    successCondition: result[0] < 0.05
    provider: {prometheus: {address: 'http://p', query: 'up{s=\"{{args.service}}\"}'}}
---
apiVersion: argoproj.io/v1alpha1
kind: ClusterAnalysisTemplate
metadata: {name: endless}
spec:
  metrics:
  - name: up
    interval: 10s
    successCondition: result[0] == 1
    provider: {prometheus: {address: 'http://p', query: up}}
---
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1', ports: [{containerPort: 80}]}]}
  strategy:
    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {alb: {ingress: web, servicePort: 80}}
      steps:
      - experiment:
          duration: 10m
          templates: [{name: old, specRef: stable}, {name: new, specRef: canary, weight: 5}]
          analyses: [{name: a, templateName: rate, args: [{name: service, value: web}]}]
"
);

pub(crate) const ALONE: &str = concat!(
    "
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: {name: trial}
spec:
  duration: 10m
  templates:
  - name: one
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: 'web:v1'}]}
  analyses: [{name: a, templateName: rate, args: [{name: service, value: web}]}]
---
",
    web!(),
    "    spec: {containers: [{name: web, image: 'web:v1'}]}
  strategy: {canary: {steps: [{setWeight: 25}, {pause: {}}]}}
"
);
