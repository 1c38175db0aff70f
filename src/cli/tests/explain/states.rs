//! The states that users meet most: the table, the JSON, and whether the printed command helps.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::common::stage::{Stage, web};

/// On stable, then with another image and these annotations on its pods.
async fn updating(strategy: Value, annotations: Value, deadline: i32) -> (Stage, Value) {
    let stage = Stage::new().await;
    let mut rollout = web(strategy);
    rollout["spec"]["progressDeadlineSeconds"] = json!(deadline);
    stage.bench.apply(&rollout);
    stage.phase("Healthy").await;
    let template = &mut rollout["spec"]["template"];
    template["metadata"]["annotations"] = annotations;
    template["spec"]["containers"][0]["image"] = json!("web:v2");
    stage.bench.apply(&rollout);
    (stage, rollout)
}

async fn told(stage: &Stage, table: Expect, form: Expect) {
    table.assert_eq(&stage.explain().await);
    form.assert_eq(&serde_json::to_string_pretty(&stage.explain_json().await).unwrap());
}

/// A pause with an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_timed_pause() {
    let steps = json!([{"setWeight": 25}, {"pause": {"duration": "1h"}}]);
    let (stage, _) = updating(json!({"canary": {"steps": steps}}), json!({}), 600).await;
    stage.phase("Paused").await;
    told(
        &stage,
        expect![[r#"
        exit 0
        web waits for a timed pause to end.

        Waits for   a timed pause to end
                    step 2/2 pauses for 3600 s
          on        Rollout/web
          since     PAST
          until     FUTURE
          end with  kubectl argo rollouts promote web -n default

        Then        the new version gets everything and becomes the stable one
        Give up     kubectl argo rollouts abort web -n default

        Rollout     Canary, revision 2, Paused - CanaryPauseStep
        Step        2/2, pause: 1h
        Share       25 % wanted for the canary, 25 % in force
        Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                    revision 2 (canary): web:v2, 1 of 1 pods available
        Controller  controller_1 in namespace argo-rollouts leads
    "#]],
        expect![[r#"
        {
          "state": "waiting",
          "summary": "web waits for a timed pause to end.",
          "waits": [
            {
              "command": "kubectl argo rollouts promote web -n default",
              "headline": "a timed pause to end",
              "message": "step 2/2 pauses for 3600 s",
              "object": "Rollout/web",
              "reason": "Paused",
              "since": "TIME",
              "until": "TIME"
            }
          ]
        }"#]],
    )
    .await;
    stage.do_as_told().await;
    stage.phase("Healthy").await;
}

/// Pods that crash, in their own words.
#[tokio::test(flavor = "multi_thread")]
async fn crashing_pods() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let crash = json!({"sim.sluice.dev/fate": "crash", "sim.sluice.dev/run-seconds": "0.1"});
    let (stage, _) = updating(json!({"canary": {"steps": steps}}), crash, 600).await;
    let crashes = || {
        let pods = stage.bench.cluster.list("v1", "Pod", "default", "");
        let waits = "back-off restarting failed container";
        pods.iter().any(|pod| pod.to_string().contains(waits))
    };
    stage.until(|_| crashes()).await;
    stage.phase("Progressing").await;
    told(&stage, expect![[r#"
        exit 0
        web waits for pods to become available.

        Waits for   pods to become available
                    setWeight 25 waits for the canary: 0 of 1 pods available
                    - pod web-64f5f56875-RANDOM: CrashLoopBackOff: back-off restarting
                      failed container in pod web-64f5f56875-RANDOM; last exit code 1
          on        ReplicaSet/web-64f5f56875
          since     PAST
          remedy    correct what the pods complain about (a new image, a quota, a
                    probe), or abort

        Then        step 2/2, pause
        Give up     kubectl argo rollouts abort web -n default

        Rollout     Canary, revision 2, Progressing - more replicas need to be updated
        Step        1/2, setWeight: 25
        Share       25 % wanted for the canary, 0 % in force
        Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                    revision 2 (canary): web:v2, 0 of 1 pods available
        Deadline    without progress until FUTURE, it counts as
                    Degraded
        Controller  controller_1 in namespace argo-rollouts leads
    "#]], expect![[r#"
        {
          "state": "waiting",
          "summary": "web waits for pods to become available.",
          "waits": [
            {
              "headline": "pods to become available",
              "message": "setWeight 25 waits for the canary: 0 of 1 pods available",
              "object": "ReplicaSet/web-64f5f56875",
              "reason": "PodsNotAvailable",
              "remedy": "correct what the pods complain about (a new image, a quota, a probe), or abort",
              "since": "TIME"
            }
          ]
        }"#]]).await;
}

/// No progress within the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_deadline() {
    let strategy = json!({"blueGreen": {"activeService": "active"}});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "active", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    let stage = Stage::new().await;
    stage.bench.apply(&service);
    let mut rollout = web(strategy);
    rollout["spec"]["progressDeadlineSeconds"] = json!(3);
    stage.bench.apply(&rollout);
    stage.phase("Healthy").await;
    let template = &mut rollout["spec"]["template"];
    template["metadata"]["annotations"] = json!({"sim.sluice.dev/fate": "never-ready"});
    stage.bench.apply(&rollout);
    stage.phase("Degraded").await;
    told(&stage, expect![[r#"
        exit 0
        web is stuck: it has waited too long for pods to become available.

        Waits for   pods to become available
                    the new version needs all its pods: 0 of 4 available
                    - 4 pods (web-57c7564477-RANDOM ...): NotReady: running, but not
                      ready: its readiness probe or a readiness gate says no
          on        ReplicaSet/web-57c7564477
          since     PAST
          remedy    correct what the pods complain about (a new image, a quota, a
                    probe), or abort

        Give up     kubectl argo rollouts abort web -n default

        Rollout     BlueGreen, revision 2, Degraded - ProgressDeadlineExceeded:
                    ReplicaSet "web-57c7564477" has timed out progressing.
        Versions    revision 1 (stable, active): web:v1, 4 of 4 pods available
                    revision 2 (new): web:v1, 0 of 4 pods available
        Controller  controller_1 in namespace argo-rollouts leads
    "#]], expect![[r#"
        {
          "state": "stuck",
          "summary": "web is stuck: it has waited too long for pods to become available.",
          "waits": [
            {
              "headline": "pods to become available",
              "message": "the new version needs all its pods: 0 of 4 available",
              "object": "ReplicaSet/web-57c7564477",
              "reason": "PodsNotAvailable",
              "remedy": "correct what the pods complain about (a new image, a quota, a probe), or abort",
              "since": "TIME"
            }
          ]
        }"#]]).await;
}

/// An analysis whose Prometheus does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_analysis() {
    let stage = Stage::new().await;
    let template = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": "errors", "namespace": "default"},
        "spec": {"metrics": [{"name": "error-rate", "interval": "1h", "count": 5,
            "successCondition": "result[0] < 0.05",
            "provider": {"prometheus": {"address": "http://127.0.0.1:1", "query": "e"}}}]}});
    stage.bench.apply(&template);
    let steps = json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "errors"}]}},
        {"pause": {}}]);
    let mut rollout = web(json!({"canary": {"steps": steps}}));
    stage.bench.apply(&rollout);
    stage.phase("Healthy").await;
    rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:v2");
    stage.bench.apply(&rollout);
    let measured = || {
        let runs = stage
            .bench
            .cluster
            .list("argoproj.io/v1alpha1", "AnalysisRun", "default", "");
        runs.iter()
            .any(|run| run["status"]["metricResults"][0]["measurements"].is_array())
    };
    stage.until(|_| measured()).await;
    stage.phase("Progressing").await;
    told(
        &stage,
        expect![[r#"
            exit 0
            web waits for an analysis to end.

            Waits for   an analysis to end
                        has not ended yet
                        - error-rate: last Error: Post "http://127.0.0.1:1/api/v1/query":
                          client error (Connect): tcp connect error: Connection refused (os
                          error 111); 0 of 5 measured; 0 failed, 0 tolerated; 1 error in a
                          row, 4 tolerated
              on        AnalysisRun/web-84c5f745db-2-1
              since     PAST
              skip with kubectl argo rollouts promote web -n default

            Then        step 3/3, pause
            Give up     kubectl argo rollouts abort web -n default

            Rollout     Canary, revision 2, Progressing - more replicas need to be updated
            Step        2/3, analysis
            Share       25 % wanted for the canary, 25 % in force
            Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                        revision 2 (canary): web:v2, 1 of 1 pods available
            Controller  controller_1 in namespace argo-rollouts leads
        "#]],
        expect![[r#"
        {
          "state": "waiting",
          "summary": "web waits for an analysis to end.",
          "waits": [
            {
              "command": "kubectl argo rollouts promote web -n default",
              "headline": "an analysis to end",
              "message": "has not ended yet",
              "object": "AnalysisRun/web-84c5f745db-2-1",
              "reason": "AnalysisRunning",
              "since": "TIME"
            }
          ]
        }"#]],
    )
    .await;
    stage.do_as_told().await;
    stage.phase("Paused").await;
}

/// Aborted by a person, and back in the update by the command that is printed.
#[tokio::test(flavor = "multi_thread")]
async fn aborted() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let (stage, _) = updating(json!({"canary": {"steps": steps}}), json!({}), 600).await;
    stage.phase("Paused").await;
    let said = stage.bench.run(&["abort", "web", "-n", "default"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    stage.phase("Degraded").await;
    stage
        .until(|rollout| {
            let status = &rollout["status"];
            status["availableReplicas"] == 4 && status["updatedReplicas"].as_i64().unwrap_or(0) == 0
        })
        .await;
    told(
        &stage,
        expect![[r#"
            exit 0
            The update of web was aborted by a person.

            Waits for   a person to retry, or to change the spec
                        the update to revision 2 is aborted
              on        Rollout/web
              since     PAST
              until     somebody acts
              moved by  kubectl argo rollouts retry rollout web -n default

            Rollout     Canary, revision 2, Degraded
            Share       0 % wanted for the canary, 0 % in force
            Versions    revision 1 (stable): web:v1, 4 of 4 pods available
                        revision 2 (canary): web:v2, 0 of 0 pods available
            Controller  controller_1 in namespace argo-rollouts leads
        "#]],
        expect![[r#"
        {
          "state": "aborted",
          "summary": "The update of web was aborted by a person.",
          "waits": [
            {
              "command": "kubectl argo rollouts retry rollout web -n default",
              "headline": "a person to retry, or to change the spec",
              "message": "the update to revision 2 is aborted",
              "object": "Rollout/web",
              "reason": "Aborted",
              "since": "TIME"
            }
          ]
        }"#]],
    )
    .await;
    stage.do_as_told().await;
    stage.phase("Paused").await;
}

/// A spec that cannot be carried out.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_spec() {
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let (stage, mut rollout) = updating(json!({"canary": {"steps": steps}}), json!({}), 600).await;
    stage.phase("Paused").await;
    rollout["spec"]["strategy"]["canary"]["maxSurge"] = json!(0);
    rollout["spec"]["strategy"]["canary"]["maxUnavailable"] = json!(0);
    stage.bench.apply(&rollout);
    stage.phase("Degraded").await;
    told(&stage, expect![[r#"
        exit 0
        web cannot be carried out: spec.strategy.maxSurge: Invalid value: 0: MaxSurge
        and MaxUnavailable both can not be zero.

        Waits for   the spec, or an object it names, to be corrected
                    spec.strategy.maxSurge: Invalid value: 0: MaxSurge and
                    MaxUnavailable both can not be zero
          on        Rollout/web
          since     PAST
          next look FUTURE
          remedy    correct the manifest and apply it; the rollout then goes on by
                    itself

        Give up     kubectl argo rollouts abort web -n default

        Rollout     Canary, Degraded
        Step        2/2, pause
        Share       25 % wanted for the canary, 25 % in force
        Versions    revision 1 (stable): web:v1, 3 of 3 pods available
                    revision 2 (canary): web:v2, 1 of 1 pods available
        Controller  controller_1 in namespace argo-rollouts leads
    "#]], expect![[r#"
        {
          "state": "invalid",
          "summary": "web cannot be carried out: spec.strategy.maxSurge: Invalid value: 0: MaxSurge and MaxUnavailable both can not be zero.",
          "waits": [
            {
              "headline": "the spec, or an object it names, to be corrected",
              "lookedAtAgain": "TIME",
              "message": "spec.strategy.maxSurge: Invalid value: 0: MaxSurge and MaxUnavailable both can not be zero",
              "object": "Rollout/web",
              "reason": "InvalidSpec",
              "remedy": "correct the manifest and apply it; the rollout then goes on by itself",
              "since": "TIME"
            }
          ]
        }"#]]).await;
}
