//! Acting as a ServiceAccount, with what its roles allow and nothing more.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Config};

use super::{ControlPlane, Error, client_from};

/// Credentials of a ServiceAccount, good for an hour.
#[derive(Debug, Clone)]
pub struct ServiceAccountAccess {
    /// Its name in the audit log, `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// A token as a pod would have it mounted.
    pub token: String,
    /// What a client connects with.
    pub config: Config,
}

impl ServiceAccountAccess {
    /// A client that acts as the ServiceAccount.
    ///
    /// # Errors
    /// [`Error::Api`] when the client cannot be built.
    pub fn client(&self) -> Result<Client, Error> {
        client_from(self.config.clone())
    }
}

impl ControlPlane {
    /// Creates namespace and ServiceAccount unless they exist, and asks for a token.
    ///
    /// # Errors
    /// [`Error::Api`] with the server's answer.
    pub async fn service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<ServiceAccountAccess, Error> {
        let client = self.client()?;
        let label = format!("ServiceAccount {namespace}/{name}");
        let params = PostParams::default();

        let meta = |name: &str| ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        let spaces = Api::<Namespace>::all(client.clone());
        let space = Namespace {
            metadata: meta(namespace),
            ..Namespace::default()
        };
        unless_there(spaces.create(&params, &space).await)
            .map_err(Error::api("create", format!("Namespace {namespace}")))?;

        let accounts = Api::<ServiceAccount>::namespaced(client, namespace);
        let account = ServiceAccount {
            metadata: meta(name),
            ..ServiceAccount::default()
        };
        unless_there(accounts.create(&params, &account).await)
            .map_err(Error::api("create", label.as_str()))?;

        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &params, &request)
            .await
            .map_err(Error::api("ask for a token of", label.as_str()))?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .ok_or(Error::NoToken(label))?;
        Ok(ServiceAccountAccess {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            config: self.config_with_token(&token)?,
            token,
        })
    }
}

fn unless_there<T>(answer: kube::Result<T>) -> kube::Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}
