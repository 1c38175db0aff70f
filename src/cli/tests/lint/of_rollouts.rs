//! What cuts a Rollout.

use crate::case::{
    ALONE, ANALYSED, BASIC, BLUE_GREEN, BORROWED, Case, EXPERIMENT, ROUTED, SUBSETS, case,
};

pub(crate) const TOLD: &[Case] = &[
    case(
        "API 2",
        BASIC,
        [
            "canary: {",
            "canary: {maxSurge: '5', ",
            "canary: {maxSurge: '5%', ",
        ],
        &[
            "Warning: spec.strategy.canary.maxSurge: \"5\": in quotes this is a percentage; \
             write \"5%\", or the number of pods without quotes",
        ],
    ),
    case(
        "API 3, API 12",
        BASIC,
        [
            "{setWeight: 25}",
            "{setWeight: 25, pause: {}}",
            "{setWeight: 50}",
        ],
        &[
            "spec.strategy.canary.steps[0]: Invalid value: \"pause, setWeight\": a step does \
             one thing; write one step for each member",
        ],
    ),
    case(
        "API 3",
        ROUTED,
        [
            "{setWeight: 25}",
            "{setWeight: 25, setCanaryScale: {replicas: 2}}",
            "{setCanaryScale: {replicas: 2}}, {setWeight: 25}",
        ],
        &[
            "Warning: spec.strategy.canary.steps[0]: \"setCanaryScale, setWeight\": a step \
             does one thing; write one step for each member",
        ],
    ),
    case(
        "API 3",
        BASIC,
        ["pause: {}", "pause: {duration: 0}", "pause: {duration: 1}"],
        &[
            "Warning: spec.strategy.canary.steps[1].pause.duration: 0: comes to 0 seconds, so \
             the step does not wait; leave it out to wait for a promotion",
        ],
    ),
    case(
        "API 3",
        BASIC,
        [
            "pause: {}",
            "pause: {duration: 900ms}",
            "pause: {duration: 1s}",
        ],
        &[
            "Warning: spec.strategy.canary.steps[1].pause.duration: \"900ms\": comes to 0 \
             seconds, so the step does not wait; leave it out to wait for a promotion",
        ],
    ),
    case(
        "API 4, ANA 7",
        ANALYSED,
        [
            "spec:\n  args:",
            "spec:\n  templates: [{templateName: rate}]\n  args:",
            "spec:\n  templates: []\n  args:",
        ],
        &[
            "AnalysisTemplate rate: spec.templates: Invalid value: \"rate\": AnalysisTemplate \
             'rate' refers to itself by way of its templates",
        ],
    ),
    case(
        "API 5",
        ANALYSED,
        [
            "- name: service\n",
            "- name: service\n    valueFrom: {fieldRef: {fieldPath: metadata.name}}\n",
            "- name: service\n    value: any\n",
        ],
        &[
            "Warning: AnalysisTemplate rate: spec.args[0].valueFrom.fieldRef: \"service\": is \
             never looked up here; leave it out, and give the value in the Rollout, where \
             valueFrom.fieldRef works",
        ],
    ),
    case(
        "API 5",
        ALONE,
        [
            "{name: service, value: web}",
            "{name: service, valueFrom: {secretKeyRef: {name: s, key: k}}}",
            "{name: service, value: api}",
        ],
        &[
            "Warning: Experiment trial: spec.analyses[0].args[0].valueFrom: \"service\": is \
             left out of the runs of an Experiment; put the Secret into the template, or \
             write a value",
        ],
    ),
    case(
        "API 6",
        BORROWED,
        [
            "workloadRef:",
            "template: {spec: {containers: [{name: web, image: 'web:v2'}]}}\n  workloadRef:",
            "minReadySeconds: 1\n  workloadRef:",
        ],
        &[
            "spec.template: Internal error: template must be empty for workload reference \
             rollout",
        ],
    ),
    case(
        "API 8",
        BORROWED,
        ["onsuccess", "OnSuccess", "progressively"],
        &[
            "Warning: spec.workloadRef.scaleDown: \"OnSuccess\": counts as never; write \
             onsuccess, progressively or never",
            "Warning: spec.workloadRef.scaleDown: Deployment \"web\" keeps its replicas (4) \
             and takes every new version at once, without steps; write scaleDown: onsuccess, \
             or replicas: 0 in the Deployment",
        ],
    ),
    case(
        "API 8",
        BORROWED,
        [
            "{apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: onsuccess}",
            "{apiVersion: apps/v1, kind: ReplicaSet, name: web, scaleDown: onsuccess}",
            "{apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: progressively}",
        ],
        &[
            "Warning: spec.workloadRef.scaleDown: \"onsuccess\": only a Deployment is scaled \
             down, this ReplicaSet keeps its pods; scale it by hand",
        ],
    ),
    case(
        "API 8",
        BORROWED,
        [
            "\nmetadata: {name: web-stable}",
            "\nmetadata: {name: web-stable}\nspec: {selector: {app: web}}\n---\n\
             apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: auto}\n\
             spec: {scaleTargetRef: {kind: Deployment, name: web}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {name: other}",
            "\nmetadata: {name: web-stable, labels: {any: label}}",
        ],
        &[
            "Warning: spec.workloadRef.name: HorizontalPodAutoscaler \"auto\" sizes \
             Deployment \"web\", whose place this Rollout takes; let its scaleTargetRef name \
             the Rollout",
        ],
    ),
    case(
        "API-27, API-30",
        BORROWED,
        [", scaleDown: onsuccess", "", ", scaleDown: progressively"],
        &[
            "Warning: spec.workloadRef.scaleDown: Deployment \"web\" keeps its replicas (4) \
             and takes every new version at once, without steps; write scaleDown: onsuccess, \
             or replicas: 0 in the Deployment",
        ],
    ),
    case(
        "API-27",
        BORROWED,
        [
            "spec: {selector: {app: web}}",
            "spec: {selector: {app: api}}",
            "spec: {selector: {}}",
        ],
        &[
            "spec.strategy.canary.stableService: Invalid value: \"web-stable\": Service \
             \"web-stable\" has unmatch label \"app\" in rollout",
        ],
    ),
    case(
        "API 12",
        BASIC,
        ["setWeight: 25", "setWeight: 101", "setWeight: 75"],
        &[
            "spec.strategy.canary.steps[0].setWeight: Invalid value: 101: SetWeight needs to \
             be between 0 and 100",
        ],
    ),
    case(
        "API 12",
        BLUE_GREEN,
        ["web-next", "web", "web-preview"],
        &[
            "spec.strategy.blueGreen.activeService: Invalid value: \"web\": This rollout uses \
             the same service for the active and preview services, but two different services \
             are required.",
        ],
    ),
    case(
        "API 12",
        BLUE_GREEN,
        [
            "blueGreen: {",
            "unknown: {}\n    blueGreen: {",
            "blueGreen: {autoPromotionEnabled: false, ",
        ],
        &["spec.strategy.unknown: unknown field"],
    ),
    case(
        "API 13",
        ROUTED,
        [
            "trafficRouting: {",
            "trafficRouting: {maxTrafficWeight: 0, ",
            "trafficRouting: {maxTrafficWeight: 1000, ",
        ],
        &[
            "spec.strategy.canary.trafficRouting.maxTrafficWeight: Invalid value: 0: must be \
             greater than 0",
            "spec.strategy.canary.steps[0].setWeight: Invalid value: 25: SetWeight needs to \
             be between 0 and 0",
        ],
    ),
    case(
        "API 13",
        BASIC,
        [
            "canary: {",
            "canary: {replicaProgressThreshold: {type: percent, value: 90}, ",
            "canary: {replicaProgressThreshold: {type: Percent, value: 90}, ",
        ],
        &[
            "Warning: spec.strategy.canary.replicaProgressThreshold.type: \"percent\": counts \
             as Pods; write Percent or Pods",
        ],
    ),
    case(
        "API-48",
        BASIC,
        [
            "canary: {",
            "canary: {replicaProgressThreshold: {type: Percent, value: 110}, ",
            "canary: {replicaProgressThreshold: {type: Pods, value: 110}, ",
        ],
        &[
            "Warning: spec.strategy.canary.replicaProgressThreshold.value: 110: there are \
             never so many pods, so no step completes; write 100 or less",
        ],
    ),
    case(
        "API-48",
        BASIC,
        [
            "spec:\n",
            "spec:\n  rollbackWindow: {revisions: -1}\n",
            "spec:\n  rollbackWindow: {revisions: 2}\n",
        ],
        &[
            "Warning: spec.rollbackWindow.revisions: -1: a negative number has no meaning; \
             leave it out",
        ],
    ),
    case(
        "API-48",
        BLUE_GREEN,
        [
            "blueGreen: {",
            "blueGreen: {scaleDownDelaySeconds: -1, ",
            "blueGreen: {scaleDownDelaySeconds: 5, ",
        ],
        &[
            "Warning: spec.strategy.blueGreen.scaleDownDelaySeconds: -1: a negative number \
             has no meaning; leave it out",
        ],
    ),
    case(
        "API 2",
        BASIC,
        [
            "canary: {",
            "canary: {maxSurge: 25 %, ",
            "canary: {maxSurge: 25%, ",
        ],
        &[
            "Warning: spec.strategy.canary.maxSurge: \"25 %\": is no percentage and counts as \
             0; write one such as \"25%\", without a blank",
        ],
    ),
    case(
        "API-11",
        BASIC,
        [
            "spec:\n",
            "spec:\n  revisionHistoryLimit: 1\n  rollbackWindow: {revisions: 3}\n",
            "spec:\n  revisionHistoryLimit: 3\n  rollbackWindow: {revisions: 3}\n",
        ],
        &[
            "Warning: spec.rollbackWindow.revisions: 3: revisionHistoryLimit keeps 1 old \
             ReplicaSets, and going back further than that takes all steps; keep as many as \
             the window is wide",
        ],
    ),
    case(
        "API-41",
        BASIC,
        [
            "canary: {",
            "canary: {canaryMetadata: {labels: {app: web-canary}}, ",
            "canary: {canaryMetadata: {labels: {role: canary, app: web}}, ",
        ],
        &[
            "Warning: spec.strategy.canary.canaryMetadata.labels[app]: \"web-canary\": \
             spec.selector finds the pods by this label, so that it cannot change with their \
             role; use another label",
        ],
    ),
    case(
        "CTL-151",
        BORROWED,
        [
            "spec: {selector: {app: web}}",
            "spec: {selector: {app: web, rollouts-pod-template-hash: 84c5f745db}}",
            "spec: {selector: {app: web}, type: ClusterIP}",
        ],
        &[
            "Warning: Service web-stable: spec.selector[rollouts-pod-template-hash]: \
             \"84c5f745db\": each time this manifest is applied, requests go to that version \
             again, whether it has pods or not; leave the label out",
        ],
    ),
    case(
        "API-13",
        BASIC,
        [
            "canary: {",
            "canary: {minPodsPerReplicaSet: 2, ",
            "canary: {maxUnavailable: 1, ",
        ],
        &[
            "Warning: spec.strategy.canary.minPodsPerReplicaSet: 2: has no effect without \
             trafficRouting; leave it out",
        ],
    ),
    case(
        "API 14, ANA 18",
        EXPERIMENT,
        ["name: new", "name: old", "name: newer"],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.templates[1].name: Duplicate \
             value: \"old\": the Experiment fails, and the update is aborted; give each its \
             own",
        ],
    ),
    case(
        "API 14, ANA 18",
        ALONE,
        [
            "selector: {matchLabels: {app: web}}\n    template",
            "selector: {}\n    template",
            "replicas: 2\n    selector: {matchLabels: {app: web}}\n    template",
        ],
        &[
            "Warning: Experiment trial: spec.templates: This experiment is selecting all pods \
             at index 0. A non-empty selector is required.",
        ],
    ),
    case(
        "API 17, CTL 15",
        BASIC,
        [
            "spec:\n",
            "spec:\n  paused: true\n",
            "spec:\n  paused: false\n",
        ],
        &[
            "Warning: spec.paused: true: holds every update; promote sets it to false, and \
             applying this manifest again holds the update again",
        ],
    ),
    case(
        "API 20",
        BLUE_GREEN,
        ["activeService: web, ", "", "activeService: web-main, "],
        &[
            "spec.strategy.blueGreen.activeService: Required value: a blue-green Rollout \
             needs the Service that it switches",
        ],
    ),
    case(
        "API 20",
        BASIC,
        [
            "canary: {",
            "canary: {pingPong: {pingService: a, pongService: b}, ",
            "canary: {pingPong: {pingService: a, pongService: b}, \
             trafficRouting: {istio: {virtualService: {name: web}}}, ",
        ],
        &[
            "spec.strategy.canary.trafficRouting: Required value: Ping-pong feature works \
             with the ALB, Istio, and plugin-based traffic routers only",
        ],
    ),
    case(
        "API 25",
        BASIC,
        [
            "spec: {containers:",
            "spec: {restartPolicy: Never, containers:",
            "spec: {restartPolicy: Always, containers:",
        ],
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported \
             values: \"Always\"",
        ],
    ),
    case(
        "API 25",
        BASIC,
        [
            "image: 'web:v1', ",
            "image: 'web:v1', volumeMounts: [{name: tmp, mountPath: /tmp}], ",
            "image: 'web:v1', env: [{name: A, value: b}], ",
        ],
        &[
            "Warning: spec.template.spec.containers[0].volumeMounts[0].name: \"tmp\": there \
             is no such volume for \"/tmp\", so the API server refuses the pods and the \
             update is invalid; add it to volumes",
        ],
    ),
    case(
        "API-49",
        BORROWED,
        [
            "spec: {selector: {app: web}}",
            "spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}",
            "spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}",
        ],
        &[
            "Warning: Service web-stable: spec.ports[0].targetPort: \"http\": no container of \
             the Rollout has a port of this name, so requests to it meet nobody; name it in \
             spec.template, or correct it here",
        ],
    ),
    case(
        "CTL 3",
        ROUTED,
        [
            "canary:\n",
            "canary:\n      abortScaleDownDelaySeconds: 0\n",
            "canary:\n      abortScaleDownDelaySeconds: 30\n",
        ],
        &[
            "Warning: spec.strategy.canary.abortScaleDownDelaySeconds: 0: keeps the pods of \
             an aborted update for ever; leave it out for 30 seconds",
        ],
    ),
    case(
        "CTL 4",
        BLUE_GREEN,
        [
            "blueGreen: {",
            "blueGreen: {scaleDownDelaySeconds: 0, ",
            "blueGreen: {scaleDownDelaySeconds: 30, ",
        ],
        &[
            "Warning: spec.strategy.blueGreen.scaleDownDelaySeconds: 0: lets the old pods go \
             at once, while proxies may still send them requests; 30 is usual",
        ],
    ),
    case(
        "CTL 18",
        BASIC,
        [
            "{pause: {}}",
            "{plugin: {name: a/b}}",
            "{pause: {duration: 1m}}",
        ],
        &[
            "Warning: spec.strategy.canary.steps[1].plugin.name: \"a/b\": step plugins are \
             not supported yet: the update waits there until the step is skipped",
        ],
    ),
    case(
        "CTL 21",
        BASIC,
        [
            "{name: web}\nspec",
            "{name: web, annotations: {argo-rollouts.argoproj.io/scale-down-deadline: '60'}}\nspec",
            "{name: web, annotations: {any: text}}\nspec",
        ],
        &[
            "Warning: metadata.annotations[argo-rollouts.argoproj.io/scale-down-deadline]: \
             \"60\": nobody reads it; delays are set by scaleDownDelaySeconds of the strategy",
        ],
    ),
    case(
        "TRF-360",
        ROUTED,
        [
            "nginx: {stableIngress: web}",
            "plugins: {argoproj-labs/gatewayAPI: {httpRoute: web}}",
            "traefik: {weightedTraefikServiceName: web}",
        ],
        &[
            "Warning: spec.strategy.canary.trafficRouting.plugins[argoproj-labs/gatewayAPI]: \
             Forbidden: not supported yet: the update waits at its first step; use another \
             router",
        ],
    ),
    case(
        "API-16",
        ROUTED,
        [
            "{nginx: {stableIngress: web}}",
            "{managedRoutes: []}",
            "{smi: {}}",
        ],
        &[
            "Warning: spec.strategy.canary.trafficRouting: Required value: names no router: \
             weights are recorded, and nobody splits the requests; name one, or leave \
             trafficRouting out",
        ],
    ),
    case(
        "TRF-110",
        SUBSETS,
        [
            "{name: canary}]",
            "{name: cannery}]",
            "{name: canary}, {name: other}]",
        ],
        &["Warning: \
             spec.strategy.canary.trafficRouting.istio.destinationRule.canarySubsetName: \
             \"canary\": DestinationRule \"web\" has no such subset, so routing fails and no \
             update goes on; add it there"],
    ),
    case(
        "CTL-126",
        BASIC,
        [
            "\napiVersion",
            "\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\n\
             spec: {minAvailable: 4, selector: {matchLabels: {app: web}}}\n---\napiVersion",
            "\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\n\
             spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}\n---\napiVersion",
        ],
        &[
            "Warning: spec.replicas: PodDisruptionBudget \"web\" allows no pod of these to be \
             evicted: a restart never ends, and no node can be drained; let it allow one",
        ],
    ),
    case(
        "API-49",
        BLUE_GREEN,
        [
            "\napiVersion",
            "\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: api}\nspec:\n  \
             selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: \
             {containers: [{name: web, image: 'web:v1'}]}}\n  strategy: {blueGreen: \
             {activeService: web}}\n---\napiVersion",
            "\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: api}\nspec:\n  \
             selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: \
             {containers: [{name: web, image: 'web:v1'}]}}\n  strategy: {blueGreen: \
             {activeService: api}}\n---\napiVersion",
        ],
        &[
            "Warning: Rollout api: spec.strategy.blueGreen.activeService: \"web\": Rollout \
             \"web\" names this Service, too: whichever comes second is invalid; give each \
             its own",
            "Warning: Rollout web: spec.strategy.blueGreen.activeService: \"web\": Rollout \
             \"api\" names this Service, too: whichever comes second is invalid; give each \
             its own",
        ],
    ),
];
