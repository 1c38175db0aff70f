//! Tokens, the key of ServiceAccounts, and kubeconfigs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::Error;
use super::flags::Layout;

pub(super) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// What precedes the point of a P-256 public key in its DER form (RFC 5480): the sequence, the two
/// object identifiers, and the head of the bit string.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A user of the API, told by its token. What it may do is for RBAC to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name that RoleBindings and the audit log use.
    pub name: String,
    /// Groups beside `system:authenticated`.
    pub groups: Vec<String>,
}

impl User {
    /// A user in no group: it may do what bindings by its name allow.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            groups: vec![],
        }
    }

    /// A user that may do everything, for telling requests apart by name.
    pub fn master(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            groups: vec!["system:masters".to_owned()],
        }
    }
}

/// All secrets of one control plane.
#[derive(Debug)]
pub(super) struct Credentials {
    users: Vec<(User, String)>,
    private_key: String,
    public_key: String,
    certificate: String,
}

impl Credentials {
    pub(super) fn generate(users: &[User]) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let own = [User::master("admin"), User::master(CONTROLLER_MANAGER)];
        let users = own
            .into_iter()
            .chain(users.iter().cloned())
            .map(|user| Ok((user, token(&random)?)))
            .collect::<Result<_, Error>>()?;
        let unkeyed = |_| Error::Random("the ServiceAccount key");
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(unkeyed)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .map_err(|_| Error::Random("the ServiceAccount key"))?;
        let public = [&P256_PREFIX, pair.public_key().as_ref()].concat();
        Ok(Self {
            users,
            private_key: pem("PRIVATE KEY", document.as_ref()),
            public_key: pem("PUBLIC KEY", &public),
            certificate: String::new(),
        })
    }

    pub(super) fn token(&self, user: &str) -> Option<&str> {
        self.users
            .iter()
            .find(|(known, _)| known.name == user)
            .map(|(_, token)| token.as_str())
    }

    /// Writes what kube-apiserver reads at its start.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), Error> {
        write_private(&layout.tokens(), &self.token_file())?;
        write_private(&layout.service_account_key(), &self.private_key)?;
        write_private(&layout.service_account_public_key(), &self.public_key)
    }

    /// The lines `token,user,uid,"groups"`.
    fn token_file(&self) -> String {
        let line = |(index, (user, token)): (usize, &(User, String))| {
            format!(
                "{token},\"{}\",{index},\"{}\"\n",
                user.name,
                user.groups.join(",")
            )
        };
        self.users.iter().enumerate().map(line).collect()
    }

    /// Reads the certificate; false while kube-apiserver has not written all of it.
    pub(super) fn complete(&mut self, certificate: &Path) -> bool {
        let text = fs::read_to_string(certificate).unwrap_or_default();
        // The server's own, then the CA's.
        let whole = text.matches("-----END CERTIFICATE-----").count() >= 2;
        if whole {
            self.certificate = text;
        }
        whole
    }

    pub(super) fn write_kubeconfigs(&self, layout: &Layout) -> Result<(), Error> {
        for (user, token) in &self.users {
            let config = self.kubeconfig(layout, &user.name, token);
            // JSON is YAML.
            write_private(&layout.kubeconfig(&user.name), &format!("{config:#}\n"))?;
        }
        Ok(())
    }

    pub(super) fn kubeconfig(&self, layout: &Layout, user: &str, token: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sluice", "cluster": {
                "server": layout.endpoint(),
                "certificate-authority-data": STANDARD.encode(&self.certificate),
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "sluice", "context": {"cluster": "sluice", "user": user}}],
            "current-context": "sluice",
        })
    }
}

fn token(random: &SystemRandom) -> Result<String, Error> {
    let mut bytes = [0; 16];
    random
        .fill(&mut bytes)
        .map_err(|_| Error::Random("a token"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, c) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text + &format!("\n-----END {label}-----\n")
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file(path))
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
    fn each_user_has_a_token_of_its_own() {
        let users = [
            User::named("system:serviceaccount:a:b"),
            User::master("bench"),
        ];
        let made = Credentials::generate(&users).unwrap();
        let file = made.token_file();
        assert_eq!(file.lines().count(), 4);
        for line in file.lines() {
            assert_eq!(line.split_once(',').unwrap().0.len(), 32, "{line}");
        }
        assert!(file.contains("\"bench\",3,\"system:masters\"\n"), "{file}");
        assert!(
            file.contains("\"system:serviceaccount:a:b\",2,\"\"\n"),
            "{file}"
        );
        assert_ne!(made.token("admin"), made.token("bench"));
        assert_eq!(made.token("nobody"), None);
    }

    #[test]
    fn keys_are_pem_with_short_lines() {
        let made = Credentials::generate(&[]).unwrap();
        for key in [&made.private_key, &made.public_key] {
            assert!(
                key.starts_with("-----BEGIN P") && key.ends_with("-----\n"),
                "{key}"
            );
            assert!(
                key.lines().all(|line| line.len() <= 64 && !line.is_empty()),
                "{key}"
            );
        }
    }

    #[test]
    fn a_certificate_half_written_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut made = Credentials::generate(&[]).unwrap();
        assert!(!made.complete(Path::new("/nonexistent")));
        let one = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n";
        fs::write(file.path(), one).unwrap();
        assert!(!made.complete(file.path()));
        fs::write(file.path(), one.repeat(2)).unwrap();
        assert!(made.complete(file.path()));
        let config = made.kubeconfig(&layout(), "admin", "t");
        assert_eq!(
            config["clusters"][0]["cluster"]["server"],
            "https://127.0.0.1:3"
        );
    }
}
