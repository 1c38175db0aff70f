//! `lint` over the examples, and over what is wrong (CLI-34).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::plugin;
use expect_test::{Expect, expect};

/// Replaces `old` by `new` in a Rollout that is right, with a Service and a VirtualService.
fn check(old: &str, new: &str, wanted: Expect) {
    let manifest = include_str!("lint/good.yaml");
    assert!(manifest.contains(old), "{old:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rollout.yaml");
    std::fs::write(&file, manifest.replacen(old, new, 1)).unwrap();
    let output = plugin().arg("lint").arg("-f").arg(&file).output().unwrap();
    let output = common::Said::from(output);
    let text = output.all().replace(file.to_str().unwrap(), "FILE");
    wanted.assert_eq(&format!("exit {}\n{text}", output.code));
}

/// CLI-34: silent and 0 when clean.
#[test]
fn examples_are_clean() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let output = plugin().arg("lint").arg("-f").arg(&path).output().unwrap();
        let said = common::Said::from(output);
        assert_eq!((said.code, said.all().as_str()), (0, ""), "{path:?}");
        seen += 1;
    }
    assert!(seen > 3);
}

/// CLI-34: unknown fields are refused, wherever they stand.
#[test]
fn unknown_fields() {
    check(
        "replicas: 3",
        "replicas: 3",
        expect![[r#"
        exit 0
    "#]],
    );
    check(
        "replicas: 3",
        "replicaz: 3",
        expect![[r#"
        exit 1
        spec.replicaz: unknown field
        Error: spec.replicaz: unknown field
    "#]],
    );
    check(
        "- setWeight: 20",
        "- setWait: 20",
        expect![[r#"
        exit 1
        spec.strategy.canary.steps[0].setWait: unknown field
        spec.strategy.canary.steps[0]: Invalid value: {}: a step does one thing; write setWeight, pause, setCanaryScale, analysis, experiment, setHeaderRoute or setMirrorRoute
        Error: spec.strategy.canary.steps[0].setWait: unknown field
    "#]],
    );
    check(
        "image: web:v1",
        "imaj: web:v1",
        expect![[r#"
        exit 1
        spec.template.spec.containers[0].imaj: unknown field
        spec.template.spec.containers[0].image: Required value
        Error: spec.template.spec.containers[0].imaj: unknown field
    "#]],
    );
}

/// CLI-34: the controller's own validation.
#[test]
fn invalid_values() {
    check(
        "setWeight: 20",
        "setWeight: 120",
        expect![[r#"
        exit 1
        spec.strategy.canary.steps[0].setWeight: Invalid value: 120: SetWeight needs to be between 0 and 100
        Error: spec.strategy.canary.steps[0].setWeight: Invalid value: 120: SetWeight needs to be between 0 and 100
    "#]],
    );
    check(
        "{duration: 10s}",
        "{duration: soon}",
        expect![[r#"
        exit 1
        spec.strategy.canary.steps[1].pause.duration: Invalid value: -1: Duration needs to be greater than 0
        Error: spec.strategy.canary.steps[1].pause.duration: Invalid value: -1: Duration needs to be greater than 0
    "#]],
    );
    check(
        "stableService: web-stable",
        "stableService: web-canary",
        expect![[r#"
            exit 1
            spec.strategy.canary.stableService: Invalid value: "web-canary": This rollout uses the same service for the stable and canary services, but two different services are required.
            Error: spec.strategy.canary.stableService: Invalid value: "web-canary": This rollout uses the same service for the stable and canary services, but two different services are required.
        "#]],
    );
    check(
        "replicas: 3",
        "replicas: many",
        expect![[r#"
            exit 1
            spec.replicas: Invalid value: "many": a whole number is needed
            Error: spec.replicas: Invalid value: "many": a whole number is needed
        "#]],
    );
}

/// CLI-34: a member of the wrong type is named by its path, with what to write instead.
#[test]
fn wrong_types() {
    for (old, new, wanted) in [
        (
            "replicas: 3",
            "replicas: \"3\"",
            expect![[r#"
            exit 1
            spec.replicas: Invalid value: "3": a whole number is needed; write 3 without quotes
            Error: spec.replicas: Invalid value: "3": a whole number is needed; write 3 without quotes
        "#]],
        ),
        (
            "replicas: 3",
            "replicas: 3\n  paused: \"true\"",
            expect![[r#"
                exit 1
                spec.paused: Invalid value: "true": true or false is needed; write true without quotes
                Error: spec.paused: Invalid value: "true": true or false is needed; write true without quotes
            "#]],
        ),
        (
            "- setWeight: 20",
            "- setWeight: twenty",
            expect![[r#"
            exit 1
            spec.strategy.canary.steps[0].setWeight: Invalid value: "twenty": a whole number is needed
            Error: spec.strategy.canary.steps[0].setWeight: Invalid value: "twenty": a whole number is needed
        "#]],
        ),
        (
            "stableService: web-stable",
            "stableService: [web-stable]",
            expect![[r#"
                exit 1
                spec.strategy.canary.stableService: Invalid value: a list: a text is needed
                Error: spec.strategy.canary.stableService: Invalid value: a list: a text is needed
            "#]],
        ),
        (
            "image: web:v1",
            "image: 17",
            expect![[r#"
            exit 1
            spec.template.spec.containers[0].image: Invalid value: 17: cannot be read (invalid type: integer `17`, expected a string); correct or remove it; texts that look like numbers need quotes
            Error: spec.template.spec.containers[0].image: Invalid value: 17: cannot be read (invalid type: integer `17`, expected a string); correct or remove it; texts that look like numbers need quotes
        "#]],
        ),
        (
            "image: web:v1",
            "image: web:v1\n        env: [{name: PORT, value: 8080}]",
            expect![[r#"
                exit 1
                spec.template.spec.containers[0].env[0].value: Invalid value: 8080: cannot be read (invalid type: integer `8080`, expected a string); correct or remove it; texts that look like numbers need quotes
                Error: spec.template.spec.containers[0].env[0].value: Invalid value: 8080: cannot be read (invalid type: integer `8080`, expected a string); correct or remove it; texts that look like numbers need quotes
            "#]],
        ),
        (
            "image: web:v1",
            "image: web:v1\n        readinessProbe: {periodSeconds: often}",
            expect![[r#"
                exit 1
                spec.template.spec.containers[0].readinessProbe.periodSeconds: Invalid value: "often": cannot be read (invalid type: string "often", expected i32); correct or remove it; numbers stand without quotes
                Error: spec.template.spec.containers[0].readinessProbe.periodSeconds: Invalid value: "often": cannot be read (invalid type: string "often", expected i32); correct or remove it; numbers stand without quotes
            "#]],
        ),
    ] {
        check(old, new, wanted);
    }
}

/// What is valid and hardly meant is said on stderr; the exit code stays 0.
#[test]
fn warnings() {
    check(
        "replicas: 3",
        "replicas: 3\n  paused: true",
        expect![[r#"
            exit 0
            Warning: spec.paused: true: holds every update; promote sets it to false, and applying this manifest again holds the update again
        "#]],
    );
    check(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout",
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {scaleTargetRef: {kind: Rollout, name: web}}\n---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout",
        expect![[r#"
            exit 0
            Warning: spec.replicas: HorizontalPodAutoscaler "web" sets it, too: each time this manifest is applied, the size jumps back; leave spec.replicas out
        "#]],
    );
    check(
        "- setWeight: 20",
        "- setCanaryScale: {replicas: 1}\n      - setWeight: 80",
        expect![[r#"
            exit 0
            Warning: spec.strategy.canary.steps[1].setWeight: 80: steps[0].setCanaryScale holds the canary at 1 pod(s), and this weight needs 3; put {setCanaryScale: {matchTrafficWeight: true}} before it
        "#]],
    );
}

/// CLI-34: Services and VirtualServices of the same file.
#[test]
fn objects_of_the_same_file() {
    check(
        "spec: {selector: {app: web}}",
        "spec: {selector: {app: other}}",
        expect![[r#"
            exit 1
            spec.strategy.canary.stableService: Invalid value: "web-stable": Service "web-stable" has unmatch label "app" in rollout
            Error: spec.strategy.canary.stableService: Invalid value: "web-stable": Service "web-stable" has unmatch label "app" in rollout
        "#]],
    );
    check(
        "name: primary",
        "name: secondary",
        expect![[r#"
        exit 1
        spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": Istio VirtualService has invalid HTTP routes. Error: HTTP Route 'primary' is not found in the defined Virtual Service.
        Error: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": Istio VirtualService has invalid HTTP routes. Error: HTTP Route 'primary' is not found in the defined Virtual Service.
    "#]],
    );
    check(
        "host: web-canary",
        "host: elsewhere",
        expect![[r#"
        exit 1
        spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": Istio VirtualService has invalid HTTP routes. Error: Canary Service 'web-canary' not found in route
        Error: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web": Istio VirtualService has invalid HTTP routes. Error: Canary Service 'web-canary' not found in route
    "#]],
    );
}

/// API-27: a Rollout is judged with the workload that it takes its pods from, if that is there.
#[test]
fn workloads_of_the_same_files() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: stable}\n\
                   spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}\n";
    let deployment = |label: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  \
             replicas: 0\n  selector: {{matchLabels: {{app: {label}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {label}}}}}\n    \
             spec: {{containers: [{{name: web, image: 'web:v1', ports: [{{name: http, \
             containerPort: 80}}]}}]}}\n"
        )
    };
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n  \
                   workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  \
                   strategy: {canary: {stableService: stable}}\n";
    // Nobody knows the labels of a workload that is not in the files.
    piped(&format!("{rollout}{service}"), &expect![["exit 0\n"]]);
    let good = deployment("web");
    piped(&format!("{rollout}{service}{good}"), &expect![["exit 0\n"]]);
    let other = deployment("api");
    piped(
        &format!("{rollout}{service}{other}"),
        &expect![[r#"
            exit 1
            spec.strategy.canary.stableService: Invalid value: "stable": Service "stable" has unmatch label "app" in rollout
            ! Error: spec.strategy.canary.stableService: Invalid value: "stable": Service "stable" has unmatch label "app" in rollout
        "#]],
    );
}

/// CLI-34: objects of another namespace are not those that a Rollout names.
#[test]
fn namespaces_are_kept_apart() {
    let manifest = include_str!("lint/good.yaml");
    let shop = manifest.replace(
        "metadata: {name: web",
        "metadata: {namespace: shop, name: web",
    );
    let other = "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: test, name: web-stable}\n\
                 spec: {selector: {app: other}}\n";
    let text = format!("{shop}{other}");
    piped(&text, &expect![["exit 0\n"]]);
    // A VirtualService may be named with its namespace.
    let far = shop
        .replace(
            "virtualService: {name: web",
            "virtualService: {name: web.mesh.cluster.local",
        )
        .replace(
            "kind: VirtualService\nmetadata: {namespace: shop",
            "kind: VirtualService\nmetadata: {namespace: mesh",
        );
    piped(&far, &expect![["exit 0\n"]]);
    let found = far.replace("host: web-canary", "host: web-next");
    piped(
        &found,
        &expect![[r#"
            exit 1
            spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web.mesh.cluster.local": Istio VirtualService has invalid HTTP routes. Error: Canary Service 'web-canary' not found in route
            ! Error: spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: "web.mesh.cluster.local": Istio VirtualService has invalid HTTP routes. Error: Canary Service 'web-canary' not found in route
        "#]],
    );
}

#[test]
fn files_that_cannot_be_read() {
    check(
        "spec:",
        "spec: [",
        expect![[r#"
        exit 1
        Error: FILE: did not find expected ',' or ']' at line 5 column 1, while parsing a flow sequence at line 4 column 7
    "#]],
    );
    let said = common::Said::from(
        plugin()
            .args(["lint", "-f", "/nowhere.yaml"])
            .output()
            .unwrap(),
    );
    expect![[r#"
        Error: /nowhere.yaml: No such file or directory (os error 2)
    "#]]
    .assert_eq(&said.all());
}

/// What `lint` says of a text from a pipe.
fn piped(text: &str, wanted: &Expect) {
    use std::io::Write;
    let mut child = plugin()
        .args(["lint", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let said = common::Said::from(child.wait_with_output().unwrap());
    wanted.assert_eq(&said.text());
}

/// A Rollout that is right, with something else in its place.
fn rollout(old: &str, new: &str) -> String {
    let text = "apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:v1'}]}
  strategy: {canary: {steps: [{setWeight: 25}, {pause: {}}]}}
";
    assert!(text.contains(old), "{old:?}");
    text.replacen(old, new, 1)
}

/// CLI-34: a Rollout is judged wherever it stands: a pipe, a List, after empty documents, with
/// merged anchors, with the line ends of Windows.
#[test]
fn every_shape_is_judged() {
    let wrong = rollout("replicas: 4", "replicas: x");
    let found = expect![[r#"
        exit 1
        spec.replicas: Invalid value: "x": a whole number is needed
        ! Error: spec.replicas: Invalid value: "x": a whole number is needed
    "#]];
    piped(&wrong, &found);
    let item: String = wrong.lines().map(|line| format!("  {line}\n")).collect();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}",
        item.trim_start()
    );
    piped(&list, &found);
    piped(&format!("---\n# nothing\n---\n{wrong}---\n"), &found);
    piped(&wrong.replace('\n', "\r\n"), &found);
    let merged = rollout("{name: web, image:", "{<<: {name: web}, image:");
    piped(&merged, &expect![["exit 0\n"]]);
}

/// CLI-34: what is not read as the Rollout that it was meant to be is not passed over in silence.
#[test]
fn objects_that_miss_their_kind() {
    piped(
        &rollout("argoproj.io/v1alpha1", "argoproj.io/v1beta1"),
        &expect![[r#"
            exit 1
            Rollout web: apiVersion: Unsupported value: "argoproj.io/v1beta1": supported values: "argoproj.io/v1alpha1"
            ! Error: Rollout web: apiVersion: Unsupported value: "argoproj.io/v1beta1": supported values: "argoproj.io/v1alpha1"
        "#]],
    );
    piped(
        &rollout("kind: Rollout", "kind: rollout"),
        &expect![[r#"
            exit 1
            rollout web: kind: Unsupported value: "rollout": supported values: "Rollout"
            ! Error: rollout web: kind: Unsupported value: "rollout": supported values: "Rollout"
        "#]],
    );
    piped(
        &rollout("{name: web}\nspec", "{}\nspec"),
        &expect![[r#"
            exit 1
            metadata.name: Required value: name or generateName is required
            ! Error: metadata.name: Required value: name or generateName is required
        "#]],
    );
    piped(
        "kind: Service\n",
        &expect![[r#"
            exit 0
            ! Warning: no Rollout in the given files: nothing was checked
        "#]],
    );
}

/// CLI-34: of several Rollouts it is said which one is meant; the same name twice is told.
#[test]
fn several_rollouts() {
    let text = format!(
        "{}---\n{}---\n{}",
        rollout("replicas: 4", "replicas: x"),
        rollout("name: web}\nspec", "name: api}\nspec"),
        rollout("name: web}\nspec", "name: api}\nspec"),
    );
    piped(
        &text,
        &expect![[r#"
            exit 1
            Rollout web: spec.replicas: Invalid value: "x": a whole number is needed
            Rollout api: metadata.name: Duplicate value: "api": the files hold another Rollout of this name, and only the last one applied would stay
            Rollout api: metadata.name: Duplicate value: "api": the files hold another Rollout of this name, and only the last one applied would stay
            ! Error: Rollout web: spec.replicas: Invalid value: "x": a whole number is needed
        "#]],
    );
}

/// API-49: analysis templates of the same files are judged with the Rollout; what nobody reads in
/// them is a warning.
#[test]
fn templates_beside_a_rollout() {
    let rollout = rollout(
        "{pause: {}}",
        "{analysis: {templates: [{templateName: rate}]}}",
    );
    let template = |rest: &str| {
        format!(
            "{rollout}---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\n\
             metadata: {{name: rate}}\nspec:\n  metrics:\n  - name: rate\n{rest}    successCondition: result[0] \
             < 1\n    provider: {{prometheus: {{address: 'http://p', query: up}}}}\n"
        )
    };
    piped(&template(""), &expect![["exit 0\n"]]);
    piped(
        &template("    interval: 10s\n"),
        &expect![[r#"
            exit 1
            spec.strategy.canary.steps[1].analysis.templates: Invalid value: "rate": AnalysisTemplate rate has metric rate which runs indefinitely. Invalid value for count: <nil>
            ! Error: spec.strategy.canary.steps[1].analysis.templates: Invalid value: "rate": AnalysisTemplate rate has metric rate which runs indefinitely. Invalid value for count: <nil>
        "#]],
    );
    piped(
        &template("    failurelimit: 3\n"),
        &expect![[r#"
            exit 0
            ! Warning: AnalysisTemplate rate: spec.metrics[0].failurelimit: unknown field
        "#]],
    );
}
