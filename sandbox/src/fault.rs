//! Stripe's error object, the answer to every rejected call (docs.stripe.com/api/errors).
//! Clients decide by `type`, `code` and `decline_code`; `message` is for people.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

type Text = Cow<'static, str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "invalid_request_error")]
    InvalidRequest,
    #[serde(rename = "card_error")]
    Card,
    #[serde(rename = "idempotency_error")]
    Idempotency,
    #[serde(rename = "api_error")]
    Api,
}

/// Why a call was rejected; also stored as a payment's `last_payment_error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub message: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<Text>,
}

impl Fault {
    fn new(status: u16, kind: Kind, message: Text) -> Self {
        Self { status, kind, message, code: None, decline_code: None, param: None }
    }

    /// An invalid request.
    pub fn invalid(message: impl Into<Text>) -> Self {
        Self::new(400, Kind::InvalidRequest, message.into())
    }

    /// An object that does not exist: 404 if the path names it, 400 if a parameter does.
    pub fn missing(status: u16, noun: &str, id: &str, param: &str) -> Self {
        let message = format!("No such {noun}: '{id}'");
        Self { status, ..Self::invalid(message).code("resource_missing").param(param) }
    }

    /// The card was declined.
    pub fn declined(code: &'static str, decline_code: &'static str, message: &'static str) -> Self {
        let declined = Self::new(402, Kind::Card, message.into()).code(code);
        Self { decline_code: Some(decline_code.into()), ..declined }
    }

    pub fn no_route(method: &str, path: &str) -> Self {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        Self { status: 404, ..Self::invalid(message) }
    }

    pub fn unauthorized(message: &'static str) -> Self {
        Self { status: 401, ..Self::invalid(message) }
    }

    /// The same key with other parameters.
    pub fn key_reused(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. \
             Try using a key other than '{key}' if you meant to execute a different request."
        );
        Self::new(400, Kind::Idempotency, message.into())
    }

    /// The first call with this key has not answered yet.
    pub fn key_in_use(key: &str) -> Self {
        let message = format!(
            "There is currently another in-progress request using this Idempotent Key: {key}. Please try again later."
        );
        Self { status: 409, ..Self::invalid(message).code("idempotency_key_in_use") }
    }

    /// A failure of the provider itself, caused by a switch or by a log that cannot be written.
    pub fn provider_error(status: u16) -> Self {
        match status {
            429 => Self::new(429, Kind::InvalidRequest, "Too many requests. Please slow down.".into())
                .code("rate_limit"),
            _ => Self::new(status, Kind::Api, "An unknown error occurred.".into()),
        }
    }

    pub fn code(self, code: &'static str) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    pub fn param(self, param: &str) -> Self {
        Self { param: Some(param.to_owned().into()), ..self }
    }
}
