//! One VirtualService: managed routes, weights and order in one draft (TRF-101..109, SE-27).

use serde_json::Value;
use sluice_core::event::Event;
use sluice_core::traffic::Want;
use sluice_crds::rollout::TlsRoute;

use super::{Istio, VirtualServiceTarget, managed, name_of, weights};
use crate::error::RouteError;
use crate::json::list;
use crate::patch::Draft;

/// What of the wanted state applies now.
pub(super) struct Scope<'a> {
    pub(super) want: &'a Want,
    /// The DestinationRule as found, where one is configured.
    pub(super) rule: Option<&'a Value>,
    /// Neither weights nor new routes: only the removal of managed ones, when that is wanted.
    pub(super) only_remove: bool,
}

/// A part of a VirtualService that holds routes.
#[derive(Clone, Copy)]
struct Section {
    key: &'static str,
    name: &'static str,
    /// Member of the Rollout that selects its routes.
    selector: &'static str,
}

const HTTP: Section = Section {
    key: "http",
    name: "HTTP",
    selector: "routes",
};
const TLS: Section = Section {
    key: "tls",
    name: "TLS",
    selector: "tlsRoutes",
};
const TCP: Section = Section {
    key: "tcp",
    name: "TCP",
    selector: "tcpRoutes",
};

impl Section {
    fn read(self, object: &Value) -> Vec<Value> {
        list(object, &format!("/spec/{}", self.key)).to_vec()
    }

    fn write(self, object: &mut Value, routes: Vec<Value>) {
        if self.read(object) != routes {
            crate::json::set(object, &["spec", self.key], Value::Array(routes));
        }
    }

    /// The only one of these routes, where the spec does not name any.
    fn only(self, candidates: &[usize]) -> Result<Vec<usize>, String> {
        match candidates {
            [one] => Ok(vec![*one]),
            _ => Err(format!(
                "spec.{}[] should be set in VirtualService and it must have exactly one route when \
                 omitting spec.strategy.canary.trafficRouting.istio.virtualService.{}",
                self.key, self.selector
            )),
        }
    }
}

/// Brings one VirtualService to the wanted state, with the event of each change.
pub(super) fn edit(
    draft: &mut Draft<'_>,
    target: &VirtualServiceTarget,
    istio: &Istio,
    scope: &Scope<'_>,
) -> Result<(), RouteError> {
    let want = scope.want;
    let object = draft.object;
    let refuse = |message: String| RouteError::malformed(object, message);
    for section in [HTTP, TLS, TCP] {
        let found = draft.wanted.pointer(&format!("/spec/{}", section.key));
        if found.is_some_and(|v| !v.is_array() && !v.is_null()) {
            return Err(refuse(format!(
                "Unable to get {} routes for Istio VirtualService",
                section.name
            )));
        }
    }

    let mut http = HTTP.read(&draft.wanted);
    let removing = want.remove_managed_routes || want.only_remove_managed_routes;
    if removing {
        let before = http.len();
        managed::remove(&mut http, &istio.removable);
        if http.len() < before {
            let text = format!(
                "VirtualService `{}` removed all managed routes.",
                object.name
            );
            draft
                .after
                .push(Event::normal("Updated VirtualService", text));
            HTTP.write(&mut draft.wanted, http.clone());
        }
    }
    if scope.only_remove {
        return Ok(());
    }
    if !removing {
        http = set_managed(draft, http, target, istio, scope).map_err(refuse)?;
    }

    let before = draft.wanted.clone();
    let (mut tls, mut tcp) = (TLS.read(&draft.wanted), TCP.read(&draft.wanted));
    if http.is_empty() && tls.is_empty() && tcp.is_empty() && target.http.is_empty() {
        return Err(refuse(
            "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService"
                .to_owned(),
        ));
    }
    if !http.is_empty() || !target.http.is_empty() {
        let selected = select_http(&http, target, istio).map_err(refuse)?;
        set_weights(&mut http, &selected, istio, want).map_err(refuse)?;
        managed::order(&mut http, &istio.managed);
    }
    if !tls.is_empty() {
        let selected = select_tls(&tls, &target.tls).map_err(refuse)?;
        set_weights(&mut tls, &selected, istio, want).map_err(refuse)?;
    }
    if !tcp.is_empty() {
        let selected = select_tcp(&tcp, &target.tcp).map_err(refuse)?;
        set_weights(&mut tcp, &selected, istio, want).map_err(refuse)?;
    }
    HTTP.write(&mut draft.wanted, http);
    TLS.write(&mut draft.wanted, tls);
    TCP.write(&mut draft.wanted, tcp);
    if draft.wanted != before {
        let text = format!(
            "VirtualService `{}` set to desiredWeight '{}'",
            object.name, want.weight
        );
        draft
            .after
            .push(Event::normal("Updated VirtualService", text));
    }
    Ok(())
}

/// Header route, then mirror route, each with its event when it changed something (TRF-106, TRF-107).
fn set_managed(
    draft: &mut Draft<'_>,
    mut http: Vec<Value>,
    target: &VirtualServiceTarget,
    istio: &Istio,
    scope: &Scope<'_>,
) -> Result<Vec<Value>, String> {
    let Want {
        header_route,
        mirror_route,
        ..
    } = scope.want;
    if header_route.is_none() && mirror_route.is_none() {
        return Ok(http);
    }
    if http.is_empty() {
        return Err("spec.http not found".to_owned());
    }
    let to = managed::CanaryTarget::new(scope.want, istio.rule.as_ref().zip(scope.rule));
    let base = select_http(&http, target, istio)?
        .first()
        .and_then(|i| http.get(*i))
        .cloned()
        .unwrap_or_default();
    let mut finish = |http: &mut Vec<Value>, kind: &str, name: &str| {
        managed::order(http, &istio.managed);
        if HTTP.read(&draft.wanted) != *http {
            let text = format!("VirtualService `{}` set {kind} '{name}'", draft.object.name);
            draft
                .after
                .push(Event::normal("Updated VirtualService", text));
            HTTP.write(&mut draft.wanted, http.clone());
        }
    };
    if let Some(header) = header_route {
        managed::set_header(&mut http, header, &to, &base);
        finish(&mut http, "headerRoute", &header.name);
    }
    if let Some(mirror) = mirror_route {
        managed::set_mirror(&mut http, mirror, &to, &base);
        finish(&mut http, "mirrorRoute", &mirror.name);
    }
    Ok(http)
}

fn set_weights(
    routes: &mut [Value],
    selected: &[usize],
    istio: &Istio,
    want: &Want,
) -> Result<(), String> {
    for i in selected {
        if let Some(route) = routes.get_mut(*i) {
            weights::check(route, istio, want)?;
            weights::apply(route, istio, want);
        }
    }
    Ok(())
}

/// The routes of the spec, or the only one that is not managed, in front; then the managed mirrors,
/// which follow its weights (TRF-101, SE-6, SE-7).
fn select_http(
    http: &[Value],
    target: &VirtualServiceTarget,
    istio: &Istio,
) -> Result<Vec<usize>, String> {
    let mut selected = Vec::new();
    for name in &target.http {
        let position = http
            .iter()
            .position(|r| name_of(r) == name)
            .ok_or_else(|| {
                format!("HTTP Route '{name}' is not found in the defined Virtual Service.")
            })?;
        selected.push(position);
    }
    if selected.is_empty() {
        let own: Vec<usize> = positions(http, |r| !istio.removable.contains(name_of(r)));
        selected = HTTP.only(&own)?;
    }
    let mirrors = positions(http, |r| {
        r.get("mirror").is_some() && istio.managed.iter().any(|m| m == name_of(r))
    });
    for mirror in mirrors {
        if !selected.contains(&mirror) {
            selected.push(mirror);
        }
    }
    Ok(selected)
}

/// TLS routes by port and server names (TRF-102).
fn select_tls(tls: &[Value], wanted: &[TlsRoute]) -> Result<Vec<usize>, String> {
    if wanted.is_empty() {
        return TLS.only(&(0..tls.len()).collect::<Vec<_>>());
    }
    let selected = positions(tls, |route| {
        wanted
            .iter()
            .any(|w| has_port(route, w.port) && has_sni_hosts(route, &w.sni_hosts))
    });
    found(selected, TLS)
}

/// TCP routes by port (TRF-102).
fn select_tcp(tcp: &[Value], wanted: &[i64]) -> Result<Vec<usize>, String> {
    if wanted.is_empty() {
        return TCP.only(&(0..tcp.len()).collect::<Vec<_>>());
    }
    found(
        positions(tcp, |route| {
            wanted.iter().any(|port| has_port(route, *port))
        }),
        TCP,
    )
}

fn found(selected: Vec<usize>, section: Section) -> Result<Vec<usize>, String> {
    match selected.is_empty() {
        true => Err(format!(
            "No matching {} routes found in the defined Virtual Service.",
            section.name
        )),
        false => Ok(selected),
    }
}

fn positions(routes: &[Value], is_wanted: impl Fn(&Value) -> bool) -> Vec<usize> {
    routes
        .iter()
        .enumerate()
        .filter(|(_, r)| is_wanted(r))
        .map(|(i, _)| i)
        .collect()
}

/// Whether all matches of a route name this one port; 0 stands for none.
fn has_port(route: &Value, port: i64) -> bool {
    let mut ports: Vec<i64> = list(route, "/match")
        .iter()
        .map(|m| crate::json::number(m, "port"))
        .filter(|p| *p != 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [] => port == 0,
        [one] => *one == port,
        _ => false,
    }
}

fn has_sni_hosts(route: &Value, wanted: &[String]) -> bool {
    let mut hosts: Vec<&str> = list(route, "/match")
        .iter()
        .flat_map(|m| list(m, "/sniHosts"))
        .filter_map(Value::as_str)
        .collect();
    let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    for set in [&mut hosts, &mut wanted] {
        set.sort_unstable();
        set.dedup();
    }
    hosts == wanted
}
