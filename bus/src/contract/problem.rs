//! Errors as callers receive them: RFC 9457 problem details with a stable code.
//!
//! Every domain's `Rejection` is converted to a [`Problem`] by one exhaustive match; nothing else sets a status.

mod details;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SeatId, Timestamp};
pub use details::{HoldLimit, HoldLimitOf, Overlap, OverlappingShowtime, ProblemShowtime, ReservationPlan};

/// One field of a request that is readable but not valid. `field` is a path such as `seats[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl FieldError {
    /// A text with control characters; see [`super::strict`].
    pub fn control(field: &str) -> Self {
        Self { field: field.to_owned(), message: "must not contain control characters".to_owned() }
    }
}

/// RFC 9457 `application/problem+json`. `code` is kebab-case and stable; `requestId` is filled in by the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: String,
    #[serde(default)]
    pub request_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `seats-taken` and `seat-unknown`: the seats that are meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<SeatId>,
    /// The conflicting showtimes, each with the seats that are meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub showtimes: Vec<ProblemShowtime>,
    /// With `showtimes-overlap`: the showtimes that overlap, soonest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlaps: Vec<Overlap>,
    /// With `plan-changed`: the plan as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<ReservationPlan>>,
    /// With `hold-limit`: the limit that was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<HoldLimit>,
    /// With `hold-cooldown`: when the request may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Seconds after which a retry makes sense; sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:marquee:problem:{code}"),
            title: title(status).to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            request_id: String::new(),
            errors: Vec::new(),
            seats: Vec::new(),
            showtimes: Vec::new(),
            overlaps: Vec::new(),
            plan: None,
            limit: None,
            retry_at: None,
            retry_after: None,
        }
    }

    /// 422: readable but not valid, with the fields named.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(422, "invalid", "Some fields are not valid; see errors.") }
    }

    /// 503: something that the request needs is not available; the same request may be sent again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(503, "unavailable", detail) }
    }

    /// 500 without details: they are in the log under the request id.
    pub fn internal() -> Self {
        Self::new(500, "internal", "Something went wrong on our side. The request id finds it in our log.")
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(404, "not-found", format!("There is no such {what}, or it is not yours."))
    }

    pub fn unauthorized(code: &str, detail: &str) -> Self {
        Self::new(401, code, detail)
    }

    pub fn with_seats(mut self, seats: Vec<SeatId>) -> Self {
        self.seats = seats;
        self
    }

    pub fn with_showtimes(mut self, showtimes: Vec<ProblemShowtime>) -> Self {
        self.showtimes = showtimes;
        self
    }

    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<crate::Failure> for Problem {
    /// After a transient failure the request may be repeated; poison is a bug of ours, whose details stay in the log.
    fn from(failure: crate::Failure) -> Self {
        tracing::warn!(%failure, "a request failed");
        match failure {
            crate::Failure::Transient(_) => {
                Self::unavailable("A part of the system is not available. Please try again shortly.")
            }
            crate::Failure::Poison(_) => Self::internal(),
        }
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

/// Collects the invalid fields of a request, so that one answer names all of them.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    pub fn check(&mut self, ok: bool, field: &str, message: &str) {
        if !ok {
            self.0.push(FieldError { field: field.to_owned(), message: message.to_owned() });
        }
    }

    pub fn into_result(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}
