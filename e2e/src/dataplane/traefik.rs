//! Traefik: the Gateway API and the annotations of ingress-nginx, by one program.

use std::process::Command;

use super::{Access, Error, answers};
use crate::controlplane::free_ports;
use crate::process::{Process, RunDir};
use crate::toolchain::Proxies;

/// Name of the GatewayClass and the IngressClass in [`Traefik::classes`].
pub const GATEWAY_CLASS: &str = "traefik";
/// Name of the IngressClass in [`Traefik::classes`].
pub const INGRESS_CLASS: &str = "nginx";

/// A running Traefik. Dropping it kills it.
#[derive(Debug)]
pub struct Traefik {
    // Before the folder, which must not go under its feet.
    process: Process,
    web: u16,
    _dir: RunDir,
}

impl Traefik {
    /// Starts it and waits until it serves. Routes follow as it reads them.
    ///
    /// The CRDs of the Gateway API must be there already: it looks for them once.
    ///
    /// # Errors
    /// [`Error::Process`] with its last words, [`Error::NotReady`].
    pub async fn start(programs: &Proxies, access: &Access) -> Result<Self, Error> {
        let dir = RunDir::temporary("traefik")?;
        let [web, admin] = free_ports()?;
        let mut command = Command::new(&programs.traefik);
        command
            .args(arguments(access, web, admin))
            .env("KUBECONFIG", &access.kubeconfig)
            .current_dir(dir.path());
        let mut process = Process::spawn("traefik", command, &dir)?;
        answers(&mut process, &format!("http://127.0.0.1:{admin}/ping")).await?;
        Ok(Self {
            process,
            web,
            _dir: dir,
        })
    }

    /// Where requests go in, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.web)
    }

    /// The objects that bind it: GatewayClass, the Gateway `sluice` in the namespace, IngressClass.
    pub fn classes(&self, namespace: &str) -> String {
        format!(
            "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: {GATEWAY_CLASS}}}
spec: {{controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: sluice, namespace: {namespace}}}
spec:
  gatewayClassName: {GATEWAY_CLASS}
  listeners: [{{name: web, port: {port}, protocol: HTTP}}]
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: {INGRESS_CLASS}}}
spec: {{controller: k8s.io/ingress-nginx}}
",
            port = self.web
        )
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`Error::Process`] when it cannot be waited for.
    pub async fn stop(self) -> Result<(), Error> {
        self.process.stop(super::READY).await?;
        Ok(())
    }
}

fn arguments(access: &Access, web: u16, admin: u16) -> Vec<String> {
    let mut args = vec![
        format!("--entrypoints.web.address=127.0.0.1:{web}"),
        format!("--entrypoints.traefik.address=127.0.0.1:{admin}"),
        "--ping=true".to_owned(),
        "--log.level=INFO".to_owned(),
        "--global.checknewversion=false".to_owned(),
        "--global.sendanonymoususage=false".to_owned(),
        // How long it gathers changes before it acts on them; 2 s by default.
        "--providers.providersthrottleduration=100ms".to_owned(),
    ];
    for provider in ["kubernetesgateway", "kubernetesingressnginx"] {
        let option = format!("--providers.{provider}");
        args.extend([
            format!("{option}=true"),
            format!("{option}.endpoint={}", access.endpoint),
            format!("{option}.token={}", access.token),
            format!("{option}.certauthfilepath={}", access.ca_file.display()),
        ]);
    }
    args
}
