//! Errors as callers receive them: RFC 9457 problem details with a stable code.
//!
//! Every domain's `Rejection` is converted to a [`Problem`] by one exhaustive match; nothing else sets a status.

mod details;
mod rule;

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::movie::SeatKind;
use super::{Currency, Money, SeatId, TariffCode, Timestamp};
pub use details::{HoldLimit, HoldLimitOf, Overlap, OverlappingShowtime, ProblemShowtime, ReservationPlan};
pub use rule::Rule;

/// One field of a request that is readable but not valid. `field` is a path such as `seats[0]`. `code` and the parameters after
/// it are those of the rule that it breaks; codes and parameters are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    pub field: String,
    /// English, for developers.
    pub message: String,
    /// The rule: kebab-case and stable, such as `length`, `email`, `future`.
    #[serde(default)]
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// The value must be a multiple of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// `min`, `max` and `step` are in its minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The field with which this one was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// The kind of seat that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SeatKind>,
}

impl FieldError {
    pub fn new(field: impl Into<String>, rule: Rule) -> Self {
        /// A field error as it is serialized.
        #[derive(Serialize)]
        struct Error<'a> {
            field: String,
            message: &'a str,
            #[serde(flatten)]
            rule: &'a Rule,
        }
        let error = Error { field: field.into(), message: &rule.message(), rule: &rule };
        let value = serde_json::to_value(error).expect("a rule is plain data");
        serde_json::from_value(value).expect("every parameter of a rule is a field of the error")
    }

    /// A text with control characters; see [`super::strict`].
    pub fn control(field: &str) -> Self {
        Self::new(field, Rule::ControlCharacters)
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
    /// With `seats-taken`, `seat-unknown`, `not-your-seats` and `order-incomplete`: the seats that are meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<SeatId>,
    /// The conflicting showtimes, each with the seats that are meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub showtimes: Vec<ProblemShowtime>,
    /// With `showtimes-overlap`: the showtimes that overlap, soonest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlaps: Vec<Overlap>,
    /// With `ticket-type-…` and `order-incomplete`: the ticket types that are meant; of one that is left alone, the one that is needed
    /// comes second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_types: Vec<TariffCode>,
    /// With `price-changed`: the total as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Box<Money>>,
    /// With `plan-changed`: the plan as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<ReservationPlan>>,
    /// With `hold-limit`: the limit that was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<HoldLimit>,
    /// With `hold-cooldown` and `not-on-sale-yet`: when the request may be sent again.
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
            ticket_types: Vec::new(),
            total: None,
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

    /// 422 for one field.
    pub fn invalid_field(field: &str, rule: Rule) -> Self {
        Self::invalid(vec![FieldError::new(field, rule)])
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

    pub fn with_ticket_types(mut self, types: impl IntoIterator<Item = TariffCode>) -> Self {
        self.ticket_types = types.into_iter().collect();
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
    pub fn check(&mut self, ok: bool, field: &str, rule: Rule) {
        if !ok {
            self.0.push(FieldError::new(field, rule));
        }
    }

    /// Checks a number of characters.
    pub fn length(&mut self, length: usize, bounds: RangeInclusive<usize>, field: &str) {
        let (min, max) = (*bounds.start() as u64, *bounds.end() as u64);
        self.check(bounds.contains(&length), field, Rule::Length { min, max });
    }

    /// Checks a number of items; `of` is the English noun.
    pub fn count(&mut self, count: usize, bounds: RangeInclusive<usize>, field: &str, of: &'static str) {
        let (min, max) = (*bounds.start() as u64, *bounds.end() as u64);
        self.check(bounds.contains(&count), field, Rule::Count { min, max, of });
    }

    /// Checks a number.
    pub fn range(&mut self, number: impl Into<i64>, bounds: RangeInclusive<i64>, field: &str) {
        let (min, max) = (*bounds.start(), *bounds.end());
        self.check(bounds.contains(&number.into()), field, Rule::Range { min, max });
    }

    pub fn into_result(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}
