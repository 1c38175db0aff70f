//! What users get while a Rollout moves: shares and failures counted in requests, through real proxies.
//!
//! At each weight 1000 requests must be shared within three standard deviations, and a load that goes
//! on beside all of it must not lose one. Builds and fetches what is missing; runs in a network
//! namespace. `SLUICE_SKIP_CONTROLPLANE=1` leaves it out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do, and tell what they measured"
)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_e2e::controlplane::{Options, User, left_out};
use sluice_e2e::dataplane::envoy::{self, Envoy};
use sluice_e2e::dataplane::prometheus::Prometheus;
use sluice_e2e::dataplane::traefik::Traefik;
use sluice_e2e::dataplane::traffic::{Load, Seen, Target, send, three_sigma};
use sluice_e2e::dataplane::{self, Access};
use sluice_e2e::netns;
use sluice_e2e::pods::{self, Behaviour, Pods, Script};
use sluice_e2e::stand::{ARGO, Controller, ISTIO, Namespace, Stand, StandOptions, kind, text};
use sluice_e2e::toolchain::{self, Cache};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// For one thing to happen, on a busy machine; old pods stay for 30 s.
const SOON: Duration = Duration::from_secs(120);
/// Requests by which a share is judged.
const SAMPLE: u64 = 1000;

/// A manifest of `examples/`, each timed pause waiting for a person instead: measuring takes as long
/// as it takes.
fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("pause: {duration: 10s}", "pause: {}");
    // Requests are not to be tried again by the proxy: each failure must be seen.
    text.replace("    retries: {attempts: 3, perTryTimeout: 2s}\n", "")
}

/// A stand with served pods and a controller.
struct Scene {
    stand: Stand,
    space: Namespace,
    served: Pods,
    script: Script,
    controller: Controller,
    cancel: CancellationToken,
    following: JoinHandle<()>,
}

impl Scene {
    async fn start(crds: String) -> Self {
        let cancel = CancellationToken::new();
        let (served, script) = (Pods::default(), Script::default());
        let address = (Ipv4Addr::UNSPECIFIED, 80).into();
        pods::serve(served.clone(), address, cancel.clone())
            .await
            .unwrap();
        let plane = Options {
            users: vec![User::master("proxy")],
            ..Options::default()
        };
        let options = StandOptions {
            plane,
            crds,
            ..StandOptions::default()
        };
        let stand = Stand::start(options).await.unwrap();
        let following = tokio::spawn(pods::follow(
            stand.client(),
            served.clone(),
            script.clone(),
            cancel.clone(),
        ));
        let controller = Controller::start(Config::default(), stand.plane.client().unwrap());
        Self {
            space: stand.namespace("default"),
            stand,
            served,
            script,
            controller,
            cancel,
            following,
        }
    }

    /// An Envoy that follows the namespace.
    async fn mesh(
        &self,
        programs: &toolchain::Proxies,
    ) -> (String, JoinHandle<Result<Envoy, dataplane::Error>>) {
        let envoy = Envoy::start(programs).await.unwrap();
        let url = envoy.url();
        let client = self.stand.client();
        let task = tokio::spawn(envoy::follow(envoy, client, "default", self.cancel.clone()));
        (url, task)
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.controller.stop().await.unwrap();
        self.following.await.unwrap();
        let misrouted = self.served.misrouted();
        assert!(misrouted.is_empty(), "{misrouted:?}");
        self.stand.stop().await.unwrap();
    }
}

/// Sends small samples until one is as wanted: the proxy has taken the last change.
async fn until(target: &Target, what: &str, wanted: impl Fn(&Seen) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let seen = send(target, 200).await.unwrap();
        if wanted(&seen) {
            return;
        }
        assert!(Instant::now() < deadline, "not {what}: {seen}");
    }
}

/// The version gets its share of the requests, and none fails.
async fn share(target: &Target, label: &str, version: &str, weight: f64) {
    let near = |seen: &Seen| three_sigma(weight, seen.of(version), seen.total());
    until(target, &format!("{weight}% of {version}"), near).await;
    // One fair sample of 370 is outside of three standard deviations: then a second one decides.
    for last in [false, true] {
        let seen = send(target, SAMPLE).await.unwrap();
        let (hits, failed) = (seen.of(version), seen.failed());
        println!("{label}: weight {weight:>3}: {hits} of {SAMPLE} requests, {failed} failed");
        assert_eq!(failed, 0, "{seen}");
        if three_sigma(weight, hits, SAMPLE) {
            return;
        }
        assert!(!last, "at {weight}%: {seen}");
    }
}

/// Only these images have pods.
async fn only(space: &Namespace, images: &[&str]) {
    let wanted: BTreeSet<&str> = images.iter().copied().collect();
    let is_so = |sets: &[Value]| {
        let size = |set: &&Value| set.pointer("/status/replicas") != Some(&json!(0));
        let image = |set| text(set, "/spec/template/spec/containers/0/image");
        let found: BTreeSet<&str> = sets.iter().filter(size).map(image).collect();
        found == wanted
    };
    let what = format!("only {images:?} have pods");
    space
        .until_all(&kind("apps/v1", "ReplicaSet"), &what, SOON, is_so)
        .await
        .unwrap();
}

/// A Rollout through all its weights, promoted; then another update, aborted at its first weight.
async fn there_and_back(
    space: &Namespace,
    target: &Target,
    label: &str,
    name: &str,
    images: [&str; 3],
    weights: &[f64],
) {
    let [old, new, bad] = images;
    let tag = |image: &str| image.rsplit_once(':').unwrap().1.to_owned();
    space.phase(name, "Healthy", SOON).await.unwrap();
    let all = |image: &str| {
        let tag = tag(image);
        move |seen: &Seen| seen.of(&tag) == seen.total()
    };
    until(target, "all old", all(old)).await;
    let load = Load::start(target.clone().gently());

    space.set_image(name, new).await.unwrap();
    let mut step = 1;
    for weight in weights {
        space.paused_at(name, step, SOON).await.unwrap();
        share(target, label, &tag(new), *weight).await;
        space.promote(name, false).await.unwrap();
        step += 2;
    }
    space.phase(name, "Healthy", SOON).await.unwrap();
    until(target, "all new", all(new)).await;
    share(target, &format!("{label}, promoted"), &tag(new), 100.0).await;
    only(space, &[new]).await;

    space.set_image(name, bad).await.unwrap();
    space.paused_at(name, 1, SOON).await.unwrap();
    share(target, label, &tag(bad), weights[0]).await;
    space.abort(name).await.unwrap();
    space.phase(name, "Degraded", SOON).await.unwrap();
    until(target, "all back", all(new)).await;
    share(target, &format!("{label}, aborted"), &tag(bad), 0.0).await;
    only(space, &[new]).await;

    let seen = load.stop().await.unwrap();
    println!("{label}: beside all of it {seen}; {} failed", seen.failed());
    assert_eq!(seen.failed(), 0, "{seen}");
    assert!(seen.total() > SAMPLE, "{seen}");
}

/// TRF-60..: the canary Ingress of `examples/canary-nginx.yaml`, through Traefik's provider for the
/// annotations of ingress-nginx.
#[test]
fn a_canary_ingress_shares_requests() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::gateway_api_crds(&cache).unwrap();
    netns::run_test("a_canary_ingress_shares_requests", async move {
        let scene = Scene::start(crds).await;
        let plane = &scene.stand.plane;
        let access = Access::of(plane, "proxy").unwrap();
        let traefik = Traefik::start(&programs, &access).await.unwrap();
        plane.apply_yaml(&traefik.classes("default")).await.unwrap();
        scene
            .space
            .apply(&example("canary-nginx.yaml"))
            .await
            .unwrap();
        let target = Target::new(traefik.url(), "cart.example.com");
        let images = [
            "nginx:1.27-alpine",
            "nginx:1.28-alpine",
            "nginx:1.29-alpine",
        ];
        let weights = [20.0, 60.0];
        there_and_back(&scene.space, &target, "nginx", "cart", images, &weights).await;
        scene.stop().await;
        traefik.stop().await.unwrap();
    })
    .unwrap();
}

/// The weights that `examples/canary-istio.yaml` gives to two hosts, through Envoy.
#[test]
fn a_virtual_service_shares_requests_between_hosts() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::istio_crds(&cache).unwrap();
    netns::run_test(
        "a_virtual_service_shares_requests_between_hosts",
        async move {
            let scene = Scene::start(crds).await;
            let (url, mesh) = scene.mesh(&programs).await;
            scene
                .space
                .apply(&example("canary-istio.yaml"))
                .await
                .unwrap();
            let target = Target::new(url, "catalog");
            let images = [
                "nginx:1.27-alpine",
                "nginx:1.28-alpine",
                "nginx:1.29-alpine",
            ];
            let weights = [20.0, 50.0, 80.0];
            there_and_back(
                &scene.space,
                &target,
                "istio hosts",
                "catalog",
                images,
                &weights,
            )
            .await;
            scene.stop().await;
            mesh.await.unwrap().unwrap().stop().await.unwrap();
        },
    )
    .unwrap();
}

const SUBSETS: &str = "
apiVersion: v1
kind: Service
metadata: {name: basket}
spec:
  selector: {app: basket}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: basket}
spec:
  host: basket
  subsets:
  - {name: stable, labels: {app: basket}}
  - {name: canary, labels: {app: basket}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: basket}
spec:
  hosts: [basket]
  http:
  - name: primary
    route:
    - {destination: {host: basket, subset: stable}, weight: 100}
    - {destination: {host: basket, subset: canary}, weight: 0}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: basket}
spec:
  replicas: 4
  selector: {matchLabels: {app: basket}}
  template:
    metadata: {labels: {app: basket}}
    spec:
      containers:
      - {name: web, image: 'web:v1', ports: [{name: http, containerPort: 80}]}
  strategy:
    canary:
      trafficRouting:
        istio:
          virtualService: {name: basket, routes: [primary]}
          destinationRule:
            {name: basket, stableSubsetName: stable, canarySubsetName: canary}
      steps:
      - setWeight: 10
      - pause: {}
      - setWeight: 50
      - pause: {}
";

/// The weights of two subsets of one host, through Envoy.
#[test]
fn a_virtual_service_shares_requests_between_subsets() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::istio_crds(&cache).unwrap();
    netns::run_test(
        "a_virtual_service_shares_requests_between_subsets",
        async move {
            let scene = Scene::start(crds).await;
            let (url, mesh) = scene.mesh(&programs).await;
            scene.space.apply(SUBSETS).await.unwrap();
            let target = Target::new(url, "basket");
            let images = ["web:v1", "web:v2", "web:v3"];
            let weights = [10.0, 50.0];
            there_and_back(
                &scene.space,
                &target,
                "istio subsets",
                "basket",
                images,
                &weights,
            )
            .await;
            scene.stop().await;
            mesh.await.unwrap().unwrap().stop().await.unwrap();
        },
    )
    .unwrap();
}

/// Scrapes the pods behind each Service, labelled by the Service, until cancelled.
async fn scraped(
    space: Namespace,
    prometheus: Prometheus,
    cancel: CancellationToken,
) -> Prometheus {
    let slices = kind("discovery.k8s.io/v1", "EndpointSlice");
    let mut known = BTreeSet::new();
    while !cancel.is_cancelled() {
        let mut found = BTreeSet::new();
        for slice in space.list(&slices).await.unwrap() {
            let service = text(&slice, "/metadata/labels/kubernetes.io~1service-name").to_owned();
            let endpoints = slice.get("endpoints").and_then(Value::as_array);
            for endpoint in endpoints.into_iter().flatten() {
                if let Ok(ip) = text(endpoint, "/addresses/0").parse::<Ipv4Addr>() {
                    found.insert((SocketAddr::from((ip, 80)), service.clone()));
                }
            }
        }
        if found != known {
            let labels: Vec<_> = found
                .iter()
                .map(|(address, service)| (*address, [("service", &**service)]))
                .collect();
            let targets: Vec<(SocketAddr, &[(&str, &str)])> = labels
                .iter()
                .map(|(address, labels)| (*address, &labels[..]))
                .collect();
            prometheus.scrape(&targets).unwrap();
            known = found;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    prometheus
}

/// `examples/canary-prometheus.yaml`: the canary fails from 40 % on, the analysis sees it in a real
/// Prometheus and aborts, and nobody meets the canary any more.
#[test]
fn a_failing_canary_is_rolled_back_by_what_prometheus_says() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    let prometheus = toolchain::prometheus(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::istio_crds(&cache).unwrap();
    let test = "a_failing_canary_is_rolled_back_by_what_prometheus_says";
    netns::run_test(test, async move {
        let scene = Scene::start(crds).await;
        let space = &scene.space;
        let (url, mesh) = scene.mesh(&programs).await;
        let prometheus = Prometheus::start(&prometheus).await.unwrap();
        let address = prometheus.url();
        let scraping = tokio::spawn(scraped(space.clone(), prometheus, scene.cancel.clone()));
        let manifest = example("canary-prometheus.yaml").replace(
            "args: [{name: service, value: checkout-canary}]",
            &format!(
                "args: [{{name: service, value: checkout-canary}}, \
                 {{name: prometheus, value: '{address}'}}]"
            ),
        );
        assert!(manifest.contains(&address));
        space.apply(&manifest).await.unwrap();
        space.phase("checkout", "Healthy", SOON).await.unwrap();
        let target = Target::new(url, "checkout");
        let old = |seen: &Seen| seen.of("1.27-alpine") == seen.total();
        until(&target, "all old", old).await;

        let load = Load::start(target.clone().gently());
        let bad = "nginx:1.28-alpine";
        space.set_image("checkout", bad).await.unwrap();
        space.paused_at("checkout", 1, SOON).await.unwrap();
        share(&target, "prometheus", "1.28-alpine", 20.0).await;
        space.paused_at("checkout", 3, SOON).await.unwrap();
        share(&target, "prometheus", "1.28-alpine", 40.0).await;
        let started = Instant::now();
        let failing = Behaviour::good("1.28-alpine").failing(0.5);
        scene.script.set(&scene.served, bad, failing);

        let (runs, routes) = (kind(ARGO, "AnalysisRun"), kind(ISTIO, "VirtualService"));
        let (mut judged, mut back) = (None, None);
        while back.is_none() {
            let failed = |run: &Value| text(run, "/status/phase") == "Failed";
            if judged.is_none() && space.list(&runs).await.unwrap().iter().any(failed) {
                judged = Some(Instant::now());
            }
            let route = space.find(&routes, "checkout").await.unwrap().unwrap();
            if route.pointer("/spec/http/0/route/1/weight") == Some(&json!(0)) {
                back = Some(Instant::now());
            }
            assert!(started.elapsed() < SOON, "not aborted: {route}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = back.unwrap().saturating_duration_since(judged.unwrap_or(started));
        println!(
            "prometheus: {:.1} s from the first failure to the verdict, {:.0} ms more until the route \
             was back",
            started.elapsed().as_secs_f64() - took.as_secs_f64(),
            took.as_secs_f64() * 1000.0
        );
        assert!(judged.is_some(), "the route went back before the verdict");
        assert!(took < Duration::from_secs(1), "{took:?}");
        let rollout = space.phase("checkout", "Degraded", SOON).await.unwrap();
        let message = text(&rollout, "/status/message");
        assert!(message.contains("error-rate"), "{message}");

        until(&target, "all back", old).await;
        let meanwhile = load.stop().await.unwrap();
        println!("prometheus: until traffic was back {meanwhile}");
        assert!(meanwhile.failed() > 0, "the canary did fail: {meanwhile}");
        assert!(
            meanwhile.failures.keys().all(|failure| failure == "500 1.28-alpine"),
            "only by the canary: {meanwhile}"
        );
        let load = Load::start(target.clone().gently());
        share(&target, "prometheus, rolled back", "1.28-alpine", 0.0).await;
        only(space, &["nginx:1.27-alpine"]).await;
        let after = load.stop().await.unwrap();
        println!("prometheus: after that {after}; {} failed", after.failed());
        assert_eq!(after.failed(), 0, "{after}");

        scene.stop().await;
        mesh.await.unwrap().unwrap().stop().await.unwrap();
        scraping.await.unwrap().stop().await.unwrap();
    })
    .unwrap();
}
