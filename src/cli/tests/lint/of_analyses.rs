//! What cuts an analysis or an Experiment.

use crate::case::{ALONE, ANALYSED, Case, EXPERIMENT, case};

pub(crate) const TOLD: &[Case] = &[
    case(
        "ANA 2",
        ANALYSED,
        [
            "stringData: {key: abc}",
            "stringData: {token: abc}",
            "data: {key: YWJj}",
        ],
        &[
            "Warning: AnalysisTemplate rate: spec.args[1].valueFrom.secretKeyRef.key: \
             \"key\": Secret \"token\" has no such key, so the analysis ends in Error; \
             correct one of them",
        ],
    ),
    case(
        "ANA 8",
        ANALYSED,
        [
            "{name: service, value: web}",
            "{name: service, valueFrom: {fieldRef: {fieldPath: spec.nothing}}}",
            "{name: service, valueFrom: {fieldRef: {fieldPath: spec.replicas}}}",
        ],
        &["Warning: \
             spec.strategy.canary.steps[1].analysis.args[0].valueFrom.fieldRef.fieldPath: \
             \"spec.nothing\": invalid path spec.nothing in rollout, so the analysis cannot \
             start; correct the path"],
    ),
    case(
        "ANA-28",
        ANALYSED,
        [
            "args: [{name: service, value: web}]",
            "args: [{name: service, value: web}, {name: servise, value: web}]",
            "args: [{name: service, value: api}]",
        ],
        &[
            "Warning: spec.strategy.canary.steps[1].analysis.args[1].name: \"servise\": no \
             template of this analysis has an argument of this name, so it is dropped; \
             correct the name, or leave it out",
        ],
    ),
    case(
        "ANA-29",
        ANALYSED,
        [
            "{name: service, value: web}",
            "{name: service}",
            "{name: service, value: ''}",
        ],
        &[
            "Warning: spec.strategy.canary.steps[1].analysis.args[0]: \"service\": without a \
             value it is the empty text, and takes the place of the template's default; write \
             a value, or leave it out",
        ],
    ),
    case(
        "ANA-29",
        ANALYSED,
        [
            "{name: service, value: web}",
            "{name: service, value: web, valueFrom: {podTemplateHashValue: newest}}",
            "{name: service, valueFrom: {podTemplateHashValue: Latest}}",
        ],
        &[
            "Warning: \
             spec.strategy.canary.steps[1].analysis.args[0].valueFrom.podTemplateHashValue: \
             \"newest\": counts as Latest; write Latest or Stable",
            "Warning: spec.strategy.canary.steps[1].analysis.args[0]: \"service\": has \
             podTemplateHashValue as well as value, and only podTemplateHashValue counts; leave the other out",
        ],
    ),
    case(
        "ANA-8",
        ANALYSED,
        [
            "count: 3",
            "count: 3\n    failureLimit: 4",
            "count: 3\n    failureLimit: 2",
        ],
        &[
            "Warning: spec.strategy.canary.steps[1].analysis.templates: \"rate\": metrics[0]: \
             count (3) must be >= failureLimit + consecutiveSuccessLimit (4 + 0) if both >= \
             0: the analysis ends in Error, and the update is aborted",
        ],
    ),
    case(
        "ANA-8",
        ALONE,
        [
            "\napiVersion",
            "\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisRun\nmetadata: {name: run}\nspec:\n  \
             metrics: [{name: a, count: 2, provider: {job: {spec: {}}}}]\n---\napiVersion",
            "\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisRun\nmetadata: {name: run}\nspec:\n  \
             metrics: [{name: a, count: 1, provider: {job: {spec: {}}}}]\n---\napiVersion",
        ],
        &[
            "Warning: AnalysisRun run: spec: \"metrics[0]: interval must be specified when \
             count > 1\": the run ends in Error at once",
        ],
    ),
    case(
        "ANA-2",
        ANALYSED,
        [
            "count: 3",
            "count: 3\n    failureLimit: two",
            "count: 3\n    failureLimit: '2'",
        ],
        &[
            "Warning: AnalysisTemplate rate: spec.metrics[0].failureLimit: \"two\": is no \
             number and counts as 0; write a number",
        ],
    ),
    case(
        "API-19",
        ANALYSED,
        [
            "templates: [{templateName: rate}]\n          args: [{name: service, value: web}]",
            "templates: []",
            "templates: [{templateName: other}]",
        ],
        &[
            "Warning: spec.strategy.canary.steps[1].analysis.templates: Required value: \
             without a template nothing is measured, and the update waits at this step for \
             ever; name one, or leave the step out",
        ],
    ),
    case(
        "ANA 14, ANA 15, ANA 16, ANA 25",
        ANALYSED,
        [
            "provider: {prometheus: {address: 'http://p', query: 'up{s=\"{{args.service}}\"}'}}",
            "provider: {graphite: {address: 'http://g', query: up}}",
            "provider: {web: {url: 'http://w/{{args.service}}'}}",
        ],
        &[
            "Warning: AnalysisTemplate rate: spec.metrics[0].provider.graphite: Forbidden: \
             not supported yet: the analysis ends in Error; use prometheus, web or job",
        ],
    ),
    case(
        "ANA 25",
        ANALYSED,
        [
            "    successCondition: result[0] < 0.05\n",
            "",
            "    failureCondition: result[0] > 0.05\n",
        ],
        &[
            "Warning: AnalysisTemplate rate: spec.metrics[0]: \"rate\": has no \
             successCondition and no failureCondition, so any answer counts as a success; \
             write one, such as \"result[0] < 0.05\"",
        ],
    ),
    case(
        "ANA 25",
        ANALYSED,
        [
            "result[0] < 0.05",
            "results[0] < 0.05",
            "'result[0] < 0.05 || \"results\" == \"\"'",
        ],
        &[
            "Warning: AnalysisTemplate rate: spec.metrics[0].successCondition: \"results[0] < \
             0.05\": the answer is called result; with another name every measurement is an \
             Error",
        ],
    ),
    case(
        "ANA 21",
        EXPERIMENT,
        [
            "duration: 10m",
            "duration: 10m\n          dryRun: [{metricName: latency}]",
            "duration: 10m\n          dryRun: [{metricName: rate}]",
        ],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.dryRun[0].metricName: \
             \"latency\": fits no metric of these analyses, so they end in Error, and the \
             update is aborted; correct the rule",
        ],
    ),
    case(
        "ANA 27",
        EXPERIMENT,
        ["weight: 5", "weight: 101", "weight: 100"],
        &[
            "spec.strategy.canary.steps[0].experiment.templates: Invalid value: 101: \
             Experiment template weights need to be between 0 and 100 together",
        ],
    ),
    case(
        "EXP-7",
        EXPERIMENT,
        [
            ", ports: [{containerPort: 80}]",
            "",
            ", ports: [{containerPort: 8080}]",
        ],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.templates[1].weight: 5: no \
             container of spec.template names a port, so there is no Service that requests \
             could go to; add containerPort",
        ],
    ),
    case(
        "EXP-16",
        EXPERIMENT,
        ["duration: 10m\n          ", "", "duration: 1m\n          "],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.duration: Required value: \
             without it, and without an analysis that is requiredForCompletion, the \
             Experiment never ends by itself, and the update waits at this step; write one \
             such as 10m",
        ],
    ),
    case(
        "EXP-16",
        EXPERIMENT,
        [
            "analyses: [",
            "analyses: [{name: b, templateName: endless, clusterScope: true, \
             requiredForCompletion: true}, ",
            "analyses: [{name: b, templateName: endless, clusterScope: true}, ",
        ],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.analyses[0].templateName: \
             \"endless\": metric up has an interval and no count, so the Experiment waits for \
             it for ever; give it a count, or take requiredForCompletion away",
        ],
    ),
    case(
        "EXP-15",
        EXPERIMENT,
        [
            "templates: [{name: old, specRef: stable}, {name: new, specRef: canary, weight: 5}]",
            "templates: []",
            "templates: [{name: new, specRef: canary}]",
        ],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.templates: Required value: an \
             Experiment without templates succeeds at once, and its analyses never start; \
             write one",
        ],
    ),
    case(
        "EXP-20",
        EXPERIMENT,
        ["specRef: stable", "specRef: old", "specRef: canary"],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.templates[0].specRef: \"old\": \
             names no version, so the update waits at this step; write canary or stable",
        ],
    ),
    case(
        "ANA-46",
        EXPERIMENT,
        [
            "args: [{name: service, value: web}]}]",
            "args: []}]",
            "args: [{name: service, value: api}]}]",
        ],
        &[
            "Warning: spec.strategy.canary.steps[0].experiment.analyses[0].templateName: \
             \"rate\": args.service was not resolved: the analysis ends in Error, and the \
             update is aborted",
        ],
    ),
];
