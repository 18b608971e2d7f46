//! The client of the payment provider.

use crate::contracts::{Order, Receipt, Refusal};
use sakia::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The header that names a call, the same in every attempt. The provider does the work once and repeats its answer.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Money that the provider holds for us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The provider's name for it.
    pub id: String,
    /// The order that it is for.
    pub order: String,
    /// How much.
    pub cents: u64,
}

/// What the provider answers to a void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voided {
    /// The provider's name for it.
    pub id: String,
}

/// Connections to a payment provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Provider {
    http: reqwest::Client,
    url: String,
}

impl Provider {
    /// The provider at `url`, for example `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(Provider { http, url: url.into() })
    }

    /// Asks the provider to hold the money.
    ///
    /// # Errors
    /// [`Refusal::Declined`], permanently; anything else may be tried again.
    pub async fn authorize(&self, order: &Order, key: &str) -> Result<Authorization> {
        self.post("authorize", order, key).await
    }

    /// Takes the money.
    ///
    /// # Errors
    /// As [`Provider::authorize`].
    pub async fn capture(&self, authorization: &Authorization, key: &str) -> Result<Receipt> {
        self.post("capture", authorization, key).await
    }

    /// Lets the money go.
    ///
    /// # Errors
    /// As [`Provider::authorize`].
    pub async fn void(&self, authorization: &Authorization, key: &str) -> Result<Voided> {
        self.post("void", authorization, key).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &impl Serialize,
        key: &str,
    ) -> Result<T> {
        let request =
            self.http.post(format!("{}/{operation}", self.url)).header(IDEMPOTENCY_KEY, key).json(body);
        let response = request.send().await?;
        if response.status() == reqwest::StatusCode::PAYMENT_REQUIRED {
            return Err(Error::permanent(Refusal::Declined(response.text().await?)));
        }
        Ok(response.error_for_status()?.json().await?)
    }
}
