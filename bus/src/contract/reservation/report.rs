//! Reports from the ticket log: admissions by film week for distributors, sales by day for accountants.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::tariff::TaxSum;
use crate::contract::timestamp::day;
use crate::contract::{Access, Fields, Money, Page, Paging, Request, Rule, TariffCode, Timestamp};

/// 53 weeks, so that a whole year with the film weeks that it begins and ends in is one report.
pub const REPORT_DAYS_MAX: i64 = 53 * 7;
/// Lines of one answer: a line has at most 1.5 kB, and an answer must be below the `max_payload` of `nats.conf`.
pub const REPORT_LINES_MAX: u32 = 500;

/// Checks everything but the length of the range, which has a rejection of its own.
fn validate(from: &str, to: &str, time_zone: &str, paging: Paging, fields: &mut Fields) {
    fields.check(day(from).is_some(), "from", Rule::Date);
    fields.check(day(to).is_some(), "to", Rule::Date);
    if let (Some(from), Some(to)) = (day(from), day(to)) {
        fields.check(from <= to, "to", Rule::NotBefore { other: "from" });
    }
    // The host checks whether the zone exists.
    fields.check((1..=64).contains(&time_zone.len()), "timeZone", Rule::TimeZone);
    fields.range(paging.page, 1..=100_000, "page");
    fields.range(paging.page_size, 1..=i64::from(REPORT_LINES_MAX), "pageSize");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TicketsBy {
    Movie,
    Showtime,
    Day,
    Type,
}

/// Tickets of the shows of a span of days, by film week (Thursday to Wednesday).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportTickets {
    pub by: TicketsBy,
    /// The first day of shows, `YYYY-MM-DD`.
    pub from: String,
    /// The last day; at most 53 weeks.
    pub to: String,
    /// The time zone in which the days begin and end.
    pub time_zone: String,
    pub paging: Paging,
}

impl Request for ReportTickets {
    const SUBJECT: &'static str = "rpc.reservation.report_tickets";
    const ACCESS: Access = Access::Admin;
    type Answer = TicketReport;
    fn validate(&self, fields: &mut Fields) {
        validate(&self.from, &self.to, &self.time_zone, self.paging, fields);
    }
}

/// Tickets that are valid, by how they are reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admissions {
    pub full: i64,
    pub reduced: i64,
    pub free: i64,
    pub total: i64,
}

/// The sums of tickets in one currency. `gross`, `fees` and `taxes` are of tickets that are valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketSums {
    pub admissions: Admissions,
    /// All numbered tickets.
    pub sold: i64,
    /// Those that were cancelled, exchanged, returned or replaced.
    pub ended: i64,
    /// The prices, with tax and without fees.
    pub gross: Money,
    pub fees: Money,
    /// In `gross` and `fees`, by rate. With a rate of 0, so that they add up to them.
    pub taxes: Vec<TaxSum>,
    /// The money given back to customers, for valid and for ended tickets.
    pub returned: Money,
    /// The money that these tickets have brought, less what was given back and what went on to other tickets in exchanges.
    pub net: Money,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketRow {
    /// The Thursday on which the film week begins.
    pub week: String,
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
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub ticket_type: Option<TariffCode>,
    #[serde(flatten)]
    pub sums: TicketSums,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketReport {
    pub by: TicketsBy,
    pub from: String,
    pub to: String,
    pub time_zone: String,
    /// Of all lines, one for each currency.
    pub totals: Vec<TicketSums>,
    #[serde(flatten)]
    pub lines: Page<TicketRow>,
}

/// Money of tickets by the day on which it came or was given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportSales {
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day; at most 53 weeks.
    pub to: String,
    /// The time zone in which the days begin and end.
    pub time_zone: String,
    pub paging: Paging,
}

impl Request for ReportSales {
    const SUBJECT: &'static str = "rpc.reservation.report_sales";
    const ACCESS: Access = Access::Admin;
    type Answer = SalesReport;
    fn validate(&self, fields: &mut Fields) {
        validate(&self.from, &self.to, &self.time_zone, self.paging, fields);
    }
}

/// How customers have paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaidBy {
    /// Through the payment provider.
    Online,
    /// The order cost nothing.
    None,
}

impl PaidBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::None => "NONE",
        }
    }
}

/// The sums of sales in one currency: `net` is `gross − returned`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SalesSums {
    /// Tickets issued.
    pub sold: i64,
    /// Tickets that ended.
    pub ended: i64,
    /// The money captured for orders that were confirmed, with fees and tax. An exchange captures nothing.
    pub gross: Money,
    /// The money given back to customers.
    pub returned: Money,
    pub net: Money,
    /// The part of `net` that fees are.
    pub fees: Money,
    /// In `net`, by rate. With a rate of 0, so that they add up to it.
    pub taxes: Vec<TaxSum>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SalesRow {
    pub day: String,
    pub paid_by: PaidBy,
    #[serde(flatten)]
    pub sums: SalesSums,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SalesReport {
    pub from: String,
    pub to: String,
    pub time_zone: String,
    /// Of all lines, one for each currency.
    pub totals: Vec<SalesSums>,
    #[serde(flatten)]
    pub lines: Page<SalesRow>,
}

/// First and last day of a report that was validated.
pub fn report_days(from: &str, to: &str) -> Option<(time::Date, time::Date)> {
    Some((day(from)?, day(to)?))
}
