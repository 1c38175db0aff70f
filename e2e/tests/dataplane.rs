//! Proxies, Prometheus and served pods, before any controller is involved: what the tests with
//! traffic rely on.
//!
//! Builds and fetches what is missing. `SLUICE_SKIP_CONTROLPLANE=1` leaves it out.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sluice_e2e::controlplane::{ControlPlane, Options, User, left_out};
use sluice_e2e::dataplane::envoy::{self, Envoy};
use sluice_e2e::dataplane::prometheus::Prometheus;
use sluice_e2e::dataplane::traefik::Traefik;
use sluice_e2e::dataplane::traffic::{Load, Seen, Target, send, three_sigma};
use sluice_e2e::dataplane::{Access, http_client};
use sluice_e2e::netns;
use sluice_e2e::pods::{self, Behaviour, Pods};
use sluice_e2e::toolchain::{self, Cache};
use tokio_util::sync::CancellationToken;

const PORT: u16 = 8080;
const OLD: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
/// For proxies to take a change; they need less than a second.
const DEADLINE: Duration = Duration::from_secs(30);

const WORKLOAD: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: stable}, spec: {ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: canary}, spec: {ports: [{port: 80, targetPort: 8080}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: stable-1, labels: {kubernetes.io/service-name: stable}}
  addressType: IPv4
  ports: [{name: '', port: 8080, protocol: TCP}]
  endpoints: [{addresses: [10.200.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: old}}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: canary-1, labels: {kubernetes.io/service-name: canary}}
  addressType: IPv4
  ports: [{name: '', port: 8080, protocol: TCP}]
  endpoints: [{addresses: [10.200.0.2], conditions: {ready: true}, targetRef: {kind: Pod, name: new}}]
";

/// Served pods of two versions.
async fn served() -> (Pods, CancellationToken) {
    let (pods, cancel) = (Pods::default(), CancellationToken::new());
    let address: SocketAddr = (Ipv4Addr::UNSPECIFIED, PORT).into();
    pods::serve(pods.clone(), address, cancel.clone())
        .await
        .unwrap();
    pods.set(OLD, Behaviour::good("v1"));
    pods.set(NEW, Behaviour::good("v2"));
    (pods, cancel)
}

/// Sends small samples until one is as wanted.
async fn until(target: &Target, wanted: impl Fn(&Seen) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = send(target, 100).await.unwrap();
        if wanted(&seen) {
            return;
        }
        assert!(Instant::now() < deadline, "still {seen}");
    }
}

/// 1000 requests, of which v2 must get its share. All must succeed.
async fn expect_share(target: &Target, weight: f64) {
    let seen = send(target, 1000).await.unwrap();
    assert_eq!(seen.failed(), 0, "{seen}");
    assert!(
        three_sigma(weight, seen.of("v2"), 1000),
        "at {weight}%: {seen}"
    );
}

#[test]
fn traefik_follows_http_routes_and_canary_ingresses() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::gateway_api_crds(&cache).unwrap();
    netns::run_test("traefik_follows_http_routes_and_canary_ingresses", async move {
        let (served, cancel) = served().await;
        let users = vec![User::master("traefik")];
        let plane = ControlPlane::start(Options { users, ..Options::default() }).await.unwrap();
        plane.apply_yaml(&crds).await.unwrap();
        plane.apply_yaml(WORKLOAD).await.unwrap();
        let traefik =
            Traefik::start(&programs, &Access::of(&plane, "traefik").unwrap()).await.unwrap();
        plane.apply_yaml(&traefik.classes("default")).await.unwrap();

        let route = |stable: u32, canary: u32| {
            format!(
                "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: web}},
                   spec: {{parentRefs: [{{name: sluice}}], hostnames: [gateway.test], rules: [
                     {{backendRefs: [{{name: stable, port: 80, weight: {stable}}},
                                     {{name: canary, port: 80, weight: {canary}}}]}}]}}}}"
            )
        };
        let target = Target::new(traefik.url(), "gateway.test");
        plane.apply_yaml(&route(80, 20)).await.unwrap();
        until(&target, |seen| seen.of("v2") > 0).await;
        expect_share(&target, 20.0).await;
        // No request is lost while weights change.
        let load = Load::start(target.clone());
        plane.apply_yaml(&route(0, 100)).await.unwrap();
        until(&target, |seen| seen.of("v2") == 100).await;
        expect_share(&target, 100.0).await;
        let seen = load.stop().await.unwrap();
        assert_eq!(seen.failed(), 0, "{seen}");

        let ingress = |name: &str, notes: &str| {
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: Ingress,
                   metadata: {{name: {name}, annotations: {{{notes}}}}},
                   spec: {{ingressClassName: nginx, rules: [{{host: ingress.test, http: {{paths: [
                     {{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]}}}}]}}}}"
            )
        };
        let notes = |weight: u32| {
            format!(
                "nginx.ingress.kubernetes.io/canary: 'true', \
                 nginx.ingress.kubernetes.io/canary-weight: '{weight}'"
            )
        };
        let target = Target::new(traefik.url(), "ingress.test");
        plane.apply_yaml(&ingress("stable", "")).await.unwrap();
        plane.apply_yaml(&ingress("canary", &notes(20))).await.unwrap();
        until(&target, |seen| seen.of("v1") > 0 && seen.of("v2") > 0).await;
        expect_share(&target, 20.0).await;
        plane.apply_yaml(&ingress("canary", &notes(60))).await.unwrap();
        until(&target, |seen| seen.of("v2") > 40).await;
        expect_share(&target, 60.0).await;

        assert!(served.misrouted().is_empty(), "{:?}", served.misrouted());
        cancel.cancel();
        traefik.stop().await.unwrap();
        plane.stop().await.unwrap();
    })
    .unwrap();
}

#[test]
fn envoy_follows_virtual_services() {
    if left_out() {
        return;
    }
    let cache = Cache::from_env().unwrap();
    let programs = toolchain::proxies(&cache).unwrap();
    toolchain::control_plane(&cache).unwrap();
    let crds = toolchain::istio_crds(&cache).unwrap();
    netns::run_test("envoy_follows_virtual_services", async move {
        let (served, cancel) = served().await;
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        plane.apply_yaml(&crds).await.unwrap();
        plane.apply_yaml(WORKLOAD).await.unwrap();
        let envoy = Envoy::start(&programs).await.unwrap();
        let url = envoy.url();
        let client = plane.client().unwrap();
        let followed =
            tokio::spawn(envoy::follow(envoy, client, "default", cancel.clone()));

        let target = Target::new(url, "stable.default.svc");
        until(&target, |seen| seen.of("v1") == 100).await;

        let route = |canary: u32, more: &str| {
            let stable = 100 - canary;
            format!(
                "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: web}},
                   spec: {{hosts: [stable], http: [
                     {{match: [{{headers: {{x-user: {{exact: tester}}}}}}],
                       route: [{{destination: {{host: canary}}}}]}},
                     {{route: [{{destination: {{host: stable}}, weight: {stable}}},
                               {{destination: {{host: canary}}, weight: {canary}}}]{more}}}]}}}}"
            )
        };
        plane.apply_yaml(&route(30, "")).await.unwrap();
        until(&target, |seen| seen.of("v2") > 0).await;
        expect_share(&target, 30.0).await;
        expect_share(&target.clone().header("x-user", "tester"), 100.0).await;

        // No request is lost while weights change.
        let load = Load::start(target.clone());
        for weight in [50, 70, 100] {
            plane.apply_yaml(&route(weight, "")).await.unwrap();
        }
        until(&target, |seen| seen.of("v2") == 100).await;
        expect_share(&target, 100.0).await;
        let seen = load.stop().await.unwrap();
        assert_eq!(seen.failed(), 0, "{seen}");

        // Copies reach the canary, and clients do not notice.
        let copies = ", mirror: {host: canary}, mirrorPercentage: {value: 100}";
        plane.apply_yaml(&route(0, copies)).await.unwrap();
        until(&target, |seen| seen.of("v1") == 100).await;
        let deadline = Instant::now() + DEADLINE;
        while served.versions()["v2"].mirrored == 0 {
            send(&target, 10).await.unwrap();
            assert!(Instant::now() < deadline, "no copies");
        }

        assert!(served.misrouted().is_empty(), "{:?}", served.misrouted());
        cancel.cancel();
        followed.await.unwrap().unwrap().stop().await.unwrap();
        plane.stop().await.unwrap();
    })
    .unwrap();
}

#[test]
fn prometheus_sees_what_pods_answer() {
    if left_out() {
        return;
    }
    let program = toolchain::prometheus(&Cache::from_env().unwrap()).unwrap();
    netns::run_test("prometheus_sees_what_pods_answer", async move {
        let (served, cancel) = served().await;
        served.set(NEW, Behaviour::good("v2").failing(0.25));
        let prometheus = Prometheus::start(&program).await.unwrap();
        let address = SocketAddr::from((NEW, PORT));
        prometheus.scrape(&[(address, &[("pod", "new")])]).unwrap();
        send(&Target::new(format!("http://{address}/"), "web"), 100)
            .await
            .unwrap();

        let client = http_client().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer: serde_json::Value = client
                .get(format!("{}/api/v1/query", prometheus.url()))
                .query(&[(
                    "query",
                    r#"http_requests_total{pod="new",code="500",version="v2"}"#,
                )])
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            if answer
                .pointer("/data/result/0/value/1")
                .is_some_and(|value| value == "25")
            {
                break;
            }
            assert!(Instant::now() < deadline, "{answer}");
            tokio::task::yield_now().await;
        }
        cancel.cancel();
        prometheus.stop().await.unwrap();
    })
    .unwrap();
}
