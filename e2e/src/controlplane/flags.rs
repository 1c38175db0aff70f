//! How the three programs are called, and where their files lie.

use std::path::{Path, PathBuf};

/// Who asked for what, without bodies. A request is recorded when answered; a watch also when it
/// begins, which is when it counts.
pub(super) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Files and ports of one control plane.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) etcd_client: u16,
    pub(super) etcd_peer: u16,
    pub(super) apiserver: u16,
}

impl Layout {
    pub(super) fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.apiserver)
    }

    /// Written by kube-apiserver itself: its certificate and the CA that signed it.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("certs/apiserver.crt")
    }

    pub(super) fn service_account_key(&self) -> PathBuf {
        self.dir.join("service-account.key")
    }

    pub(super) fn service_account_public_key(&self) -> PathBuf {
        self.dir.join("service-account.pub")
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        // Names of users may hold colons and slashes.
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let name: String = user.chars().map(safe).collect();
        self.dir.join(format!("{name}.kubeconfig"))
    }

    pub(super) fn audit_policy(&self) -> PathBuf {
        self.dir.join("audit-policy.yaml")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    pub(super) fn etcd_args(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.etcd_client);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer);
        flags(&[
            ("data-dir", path(&self.dir.join("etcd"))),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("default={peer}")),
            ("log-level", "warn".to_owned()),
            // The data is gone with the test: no need to wait for the disk.
            ("unsafe-no-fsync", "true".to_owned()),
        ])
    }

    pub(super) fn apiserver_args(&self, audit: bool) -> Vec<String> {
        let text = str::to_owned;
        let mut args = flags(&[
            (
                "etcd-servers",
                format!("http://127.0.0.1:{}", self.etcd_client),
            ),
            ("secure-port", self.apiserver.to_string()),
            ("bind-address", text("127.0.0.1")),
            ("advertise-address", text("127.0.0.1")),
            ("cert-dir", path(&self.dir.join("certs"))),
            (
                "service-account-issuer",
                text("https://kubernetes.default.svc"),
            ),
            (
                "service-account-key-file",
                path(&self.service_account_public_key()),
            ),
            (
                "service-account-signing-key-file",
                path(&self.service_account_key()),
            ),
            ("service-cluster-ip-range", text("10.96.0.0/12")),
            ("authorization-mode", text("RBAC")),
            ("token-auth-file", path(&self.tokens())),
            // Pods need no token, and are admitted before their ServiceAccount exists.
            ("disable-admission-plugins", text("ServiceAccount")),
            // It would put 127.0.0.1 into an EndpointSlice, which the API refuses.
            ("endpoint-reconciler-type", text("none")),
        ]);
        if audit {
            args.extend(flags(&[
                ("audit-policy-file", path(&self.audit_policy())),
                ("audit-log-path", path(&self.audit_log())),
                // Written before the answer goes out, so that a count is never late.
                ("audit-log-mode", text("blocking")),
            ]));
        }
        args
    }

    pub(super) fn controller_manager_args(&self) -> Vec<String> {
        let text = str::to_owned;
        flags(&[
            (
                "kubeconfig",
                path(&self.kubeconfig(super::credentials::CONTROLLER_MANAGER)),
            ),
            (
                "service-account-private-key-file",
                path(&self.service_account_key()),
            ),
            ("leader-elect", text("false")),
            // Nobody renews the lease of our node, so nobody may judge it by that.
            (
                "controllers",
                text(
                    "*,-node-lifecycle-controller,-node-ipam-controller,-taint-eviction-controller",
                ),
            ),
            ("kube-api-qps", text("2000")),
            ("kube-api-burst", text("4000")),
            ("concurrent-replicaset-syncs", text("50")),
            ("concurrent-endpoint-syncs", text("20")),
            ("bind-address", text("127.0.0.1")),
            // It serves nothing that we ask for.
            ("secure-port", text("0")),
        ])
    }
}

fn flags(pairs: &[(&str, String)]) -> Vec<String> {
    pairs
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            dir: "/run/x".into(),
            etcd_client: 1,
            etcd_peer: 2,
            apiserver: 3,
        }
    }

    #[test]
    fn everything_listens_on_loopback_and_lies_in_the_folder() {
        let all = [
            layout().etcd_args(),
            layout().apiserver_args(true),
            layout().controller_manager_args(),
        ]
        .concat();
        for arg in all {
            let (name, value) = arg.split_once('=').unwrap();
            assert!(!value.contains("0.0.0.0"), "{arg}");
            if ["-file", "-dir", "-path", "kubeconfig"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                assert!(value.starts_with("/run/x/"), "{arg}");
            }
        }
    }

    #[test]
    fn requests_are_recorded_only_when_asked_for() {
        let recorded = |audit| {
            layout()
                .apiserver_args(audit)
                .join(" ")
                .contains("--audit-log-path=")
        };
        assert!(recorded(true));
        assert!(!recorded(false));
    }

    #[test]
    fn kubeconfig_names_are_plain_file_names() {
        let file = layout().kubeconfig("system:serviceaccount:a/b");
        assert_eq!(
            file,
            Path::new("/run/x/system_serviceaccount_a_b.kubeconfig")
        );
    }
}
