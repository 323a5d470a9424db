//! Service-account tokens in files, renewed before they expire, as a kubelet does for pods.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::failure::{Code, Failure, Tried};
use crate::folder::write_private;

/// Lifetime asked for.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Renewal: well before the end, and again soon when it fails.
const RENEWAL: Duration = Duration::from_secs(1800);
const RETRY: Duration = Duration::from_secs(5);

/// Audience of tokens that buy a certificate.
pub(crate) const CERTIFICATE_AUDIENCE: &str = "istio-ca";

/// A token that is kept in a file.
#[derive(Debug, Clone)]
pub(crate) struct TokenFile {
    /// Namespace of the service account.
    pub(crate) namespace: String,
    /// Service account.
    pub(crate) account: String,
    /// Audience; the API server's own unless given.
    pub(crate) audience: Option<&'static str>,
    /// File.
    pub(crate) file: PathBuf,
}

impl TokenFile {
    /// Writes a first token, and keeps renewing it until the runtime ends.
    pub(crate) async fn keep(self, client: Client) -> Result<(), Failure> {
        self.renew(&client).await?;
        tokio::spawn(async move {
            let mut pause = RENEWAL;
            loop {
                tokio::time::sleep(pause).await;
                pause = match self.renew(&client).await {
                    Ok(()) => RENEWAL,
                    Err(failure) => {
                        tracing::warn!("{}", failure.chain());
                        RETRY
                    }
                };
            }
        });
        Ok(())
    }

    async fn renew(&self, client: &Client) -> Result<(), Failure> {
        let what = || {
            format!(
                "cannot get a token for service account {}/{}",
                self.namespace, self.account
            )
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: self.audience.into_iter().map(str::to_owned).collect(),
                expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(&self.account, &PostParams::default(), &request)
            .await
            .tried(what)?;
        let token = answer
            .status
            .map(|status| status.token)
            .ok_or_else(|| Failure::new(Code::Bug, format!("{}: the answer has no token", what())))?;
        write_private(&self.file, &token).tried(|| format!("cannot write {}", self.file.display()))
    }
}
