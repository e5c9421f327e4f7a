//! Requests of staff to payment: lists, another check of payments that do not settle, and the revenue report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Payment, PaymentStatus};
use crate::contract::timestamp::day;
use crate::contract::{Access, Fields, Money, Page, Paging, Request, Rule, Timestamp};

/// All payments, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListPayments {
    pub status: Option<PaymentStatus>,
    pub reservation_id: Option<Uuid>,
    /// Only those that need a person, or only those that do not.
    pub attention: Option<bool>,
    pub paging: Paging,
}

impl Request for ListPayments {
    const SUBJECT: &'static str = "rpc.payment.list";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<Payment>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

/// Checks at the provider everything of a payment that is not settled. Its `attention` ends when it settles, or at once where
/// nothing is open.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumePayment {
    pub id: Uuid,
}

impl Request for ResumePayment {
    const SUBJECT: &'static str = "rpc.payment.resume";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = Payment;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevenueBy {
    Day,
    Movie,
    Showtime,
}

/// Showtimes that a report may name: those of a page of a list.
const SHOWTIMES_MAX: usize = 100;

/// The revenue, from the ledger: by the day on which the money moved. An exchange moves money and tickets to the other show on
/// the day of the exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportRevenue {
    pub by: RevenueBy,
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day.
    pub to: String,
    /// The time zone in which the days begin and end.
    pub time_zone: String,
    /// Only of these showtimes, at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_ids: Option<Vec<Uuid>>,
    pub paging: Paging,
}

/// A leap year and a day, so that a whole leap year is one report.
const DAYS_MAX: i64 = 367;

impl ReportRevenue {
    /// First and last day.
    pub fn days(&self) -> Option<(time::Date, time::Date)> {
        Some((day(&self.from)?, day(&self.to)?))
    }
}

impl Request for ReportRevenue {
    const SUBJECT: &'static str = "rpc.payment.revenue";
    const ACCESS: Access = Access::Admin;
    type Answer = RevenueReport;
    fn validate(&self, fields: &mut Fields) {
        let (from, to) = (day(&self.from), day(&self.to));
        fields.check(from.is_some(), "from", Rule::Date);
        fields.check(to.is_some(), "to", Rule::Date);
        if let (Some(from), Some(to)) = (from, to) {
            let days = (to - from).whole_days() + 1;
            fields.check(days >= 1, "to", Rule::NotBefore { other: "from" });
            let rule = Rule::Within { max: DAYS_MAX as u64, other: "from" };
            fields.check(days <= DAYS_MAX, "to", rule);
        }
        // The host checks whether the zone exists.
        fields.check((1..=64).contains(&self.time_zone.len()), "timeZone", Rule::TimeZone);
        if let Some(ids) = &self.showtime_ids {
            fields.count(ids.len(), 1..=SHOWTIMES_MAX, "showtimeIds", "showtimes");
        }
        self.paging.validate(fields);
    }
}

/// Money of one currency. `net` is `gross − refunded − disputed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revenue {
    /// The money captured for reservations, and what was waived of exchanges.
    pub gross: Money,
    /// The money given back to moviegoers.
    pub refunded: Money,
    /// The money that open and lost disputes took.
    pub disputed: Money,
    pub net: Money,
    /// Seats that are sold: an exchange changes their number and a cancellation takes them back, whatever is paid back.
    pub tickets: i64,
}

/// One line: of a day, a movie or a showtime, in one currency. A line whose amounts are all 0 is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevenueRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub movie_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub movie_title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    #[serde(flatten)]
    pub revenue: Revenue,
}

/// A page of lines, and the sums over all lines, one for each currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevenueReport {
    pub by: RevenueBy,
    pub from: String,
    pub to: String,
    pub time_zone: String,
    pub totals: Vec<Revenue>,
    #[serde(flatten)]
    pub lines: Page<RevenueRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_in_error(from: &str, to: &str) -> Vec<String> {
        let request = ReportRevenue {
            by: RevenueBy::Day,
            from: from.into(),
            to: to.into(),
            time_zone: "UTC".into(),
            showtime_ids: None,
            paging: Paging::default(),
        };
        let mut fields = Fields::default();
        request.validate(&mut fields);
        fields.into_result().map_or_else(|p| p.errors.into_iter().map(|e| e.field).collect(), |()| Vec::new())
    }

    #[test]
    fn a_report_has_real_days_in_order_and_a_year_at_most() {
        assert!(fields_in_error("2026-01-01", "2026-01-01").is_empty());
        assert!(fields_in_error("2028-01-01", "2028-12-31").is_empty());
        assert_eq!(fields_in_error("2026-01-02", "2026-01-01"), ["to"]);
        assert_eq!(fields_in_error("2026-01-01", "2027-02-01"), ["to"]);
        assert_eq!(fields_in_error("2026-02-30", "today"), ["from", "to"]);
    }
}
