//! Reports from the ticket log: the spans of time that they count by, and how sums of the database become lines. Pure.
//!
//! Invariant: every sum of a line is a sum of rows; nothing is rounded here, so that lines add up to the totals.

use std::collections::{BTreeMap, HashMap};

use bus::contract::reservation::{
    Admissions, PaidBy, REPORT_DAYS_MAX, Rejection, SalesRow, SalesSums, TicketRow, TicketSums, TicketsBy,
    report_days,
};
use bus::contract::tariff::{ReportedAs, TaxSum};
use bus::contract::{Currency, Money, TariffCode, Timestamp};
use jiff::tz::TimeZone;
use time::{Date, OffsetDateTime, Weekday};
use uuid::Uuid;

use crate::zone;

/// Days or film weeks: the first day of each, and when each begins; the last instant ends the last one.
pub struct Spans {
    pub first_days: Vec<Date>,
    pub starts: Vec<OffsetDateTime>,
}

impl Spans {
    pub fn days(from: &str, to: &str, zone: &TimeZone) -> Result<Self, Rejection> {
        Self::that_begin(from, to, zone, |_| true)
    }

    /// The first and the last one are only as long as the report.
    pub fn film_weeks(from: &str, to: &str, zone: &TimeZone) -> Result<Self, Rejection> {
        Self::that_begin(from, to, zone, |day| day.weekday() == Weekday::Thursday)
    }

    fn that_begin(
        from: &str,
        to: &str,
        zone: &TimeZone,
        begins: impl Fn(Date) -> bool,
    ) -> Result<Self, Rejection> {
        let range = Rejection::ReportRange { days: REPORT_DAYS_MAX as u64 };
        let (from, to) = report_days(from, to).ok_or_else(|| range.clone())?;
        if (to - from).whole_days() >= REPORT_DAYS_MAX {
            return Err(range);
        }
        let days = std::iter::successors(Some(from), |day| day.next_day()).take_while(|day| *day <= to);
        let first_days: Vec<Date> = days.filter(|day| *day == from || begins(*day)).collect();
        let ends = first_days.iter().copied().chain(to.next_day());
        let starts = ends.map(|day| Some(zone::day_start(day, zone)?.date_time()));
        let starts = starts.collect::<Option<_>>().ok_or(range)?;
        Ok(Self { first_days, starts })
    }

    /// The first day of the span with this number, which is counted from 1.
    fn first_day(&self, number: i32) -> Option<Date> {
        self.first_days.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }
}

/// The Thursday that begins the day's film week.
pub fn film_week(day: Date) -> Date {
    let since = day.weekday().number_days_from_monday() + 7 - Weekday::Thursday.number_days_from_monday();
    day.checked_sub(time::Duration::days(i64::from(since % 7))).unwrap_or(day)
}

/// Amounts of one currency by their rate of tax.
#[derive(Default)]
struct Taxes(BTreeMap<u32, (i64, i64)>);

impl Taxes {
    fn add(&mut self, rate: i32, amount: i64, tax: i64) {
        if amount != 0 || tax != 0 {
            let (net, taxes) = self.0.entry(u32::try_from(rate).unwrap_or_default()).or_default();
            *net += amount - tax;
            *taxes += tax;
        }
    }

    fn sums(&self) -> Vec<TaxSum> {
        self.0.iter().map(|(rate, (net, tax))| TaxSum { rate: *rate, net: *net, tax: *tax }).collect()
    }
}

/// Sums of tickets that agree in everything a report tells apart.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct TicketCell {
    pub span: i32,
    pub movie_id: Option<Uuid>,
    pub showtime_id: Option<Uuid>,
    pub ticket_type: Option<String>,
    pub reported_as: String,
    pub currency: String,
    pub tax_rate: i32,
    pub fee_tax_rate: i32,
    pub sold: i64,
    pub ended: i64,
    /// Of tickets that are valid: negative where a cell is of those that have ended.
    pub price: i64,
    pub tax: i64,
    pub fee: i64,
    pub fee_tax: i64,
    /// Of all tickets.
    pub value: i64,
    pub carried: i64,
    pub returned: i64,
}

#[derive(Default)]
struct TicketSum {
    admissions: Admissions,
    sold: i64,
    ended: i64,
    gross: i64,
    fees: i64,
    taxes: Taxes,
    returned: i64,
    net: i64,
}

impl TicketSum {
    fn add(&mut self, cell: &TicketCell) {
        let valid = cell.sold - cell.ended;
        let admissions = &mut self.admissions;
        let counted = match cell.reported_as.as_str() {
            of if of == ReportedAs::Reduced.as_str() => &mut admissions.reduced,
            of if of == ReportedAs::Free.as_str() => &mut admissions.free,
            _ => &mut admissions.full,
        };
        *counted += valid;
        admissions.total += valid;
        self.sold += cell.sold;
        self.ended += cell.ended;
        self.gross += cell.price;
        self.fees += cell.fee;
        self.taxes.add(cell.tax_rate, cell.price, cell.tax);
        self.taxes.add(cell.fee_tax_rate, cell.fee, cell.fee_tax);
        self.returned += cell.returned;
        self.net += cell.value - cell.carried - cell.returned;
    }

    fn of(&self, currency: Currency) -> TicketSums {
        let money = |amount| Money { amount, currency };
        TicketSums {
            admissions: self.admissions,
            sold: self.sold,
            ended: self.ended,
            gross: money(self.gross),
            fees: money(self.fees),
            taxes: self.taxes.sums(),
            returned: money(self.returned),
            net: money(self.net),
        }
    }
}

/// Showtimes of a report, by which its lines are named: title of each movie, start of each showtime.
#[derive(Default)]
pub struct Names {
    pub movies: HashMap<Uuid, String>,
    pub starts: HashMap<Uuid, Timestamp>,
}

/// What the lines are sorted by, and what makes two lines one.
type TicketKey = (i32, String, Option<Timestamp>, Option<Uuid>, Option<Uuid>, Currency);

/// The lines in their order, and the totals by currency.
pub fn ticket_lines(
    by: TicketsBy,
    spans: &Spans,
    cells: &[TicketCell],
    names: &Names,
) -> Option<(Vec<TicketRow>, Vec<TicketSums>)> {
    let mut sums: BTreeMap<TicketKey, TicketSum> = BTreeMap::new();
    let mut totals: BTreeMap<Currency, TicketSum> = BTreeMap::new();
    for cell in cells {
        let currency = Currency::parse(&cell.currency)?;
        let title = || cell.movie_id.and_then(|id| names.movies.get(&id)).cloned().unwrap_or_default();
        let text = match by {
            TicketsBy::Movie => title(),
            TicketsBy::Type => cell.ticket_type.clone().unwrap_or_default(),
            TicketsBy::Showtime | TicketsBy::Day => String::new(),
        };
        let starts_at = cell.showtime_id.and_then(|id| names.starts.get(&id)).copied();
        let key = (cell.span, text, starts_at, cell.showtime_id, cell.movie_id, currency);
        sums.entry(key).or_default().add(cell);
        totals.entry(currency).or_default().add(cell);
    }
    let row = |(key, sum): (&TicketKey, &TicketSum)| {
        let (span, text, starts_at, showtime_id, movie_id, currency) = key;
        let day = spans.first_day(*span)?;
        Some(TicketRow {
            week: film_week(day).to_string(),
            day: (by == TicketsBy::Day).then(|| day.to_string()),
            movie_id: *movie_id,
            movie_title: movie_id.and_then(|id| names.movies.get(&id)).cloned(),
            showtime_id: *showtime_id,
            starts_at: *starts_at,
            ticket_type: if by == TicketsBy::Type { TariffCode::parse(text) } else { None },
            sums: sum.of(*currency),
        })
    };
    let rows = sums.iter().map(row).collect::<Option<_>>()?;
    Some((rows, totals.iter().map(|(currency, sum)| sum.of(*currency)).collect()))
}

/// Sums of sales, and of money given back, that agree in everything a report tells apart.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SalesCell {
    pub span: i32,
    pub paid_by: String,
    pub currency: String,
    pub tax_rate: i32,
    pub fee_tax_rate: i32,
    pub sold: i64,
    pub ended: i64,
    /// Captured; less what came from other tickets.
    pub gross: i64,
    pub returned: i64,
    /// The four add up to `gross − returned`, with the taxes in them.
    pub price: i64,
    pub tax: i64,
    pub fee: i64,
    pub fee_tax: i64,
}

#[derive(Default)]
struct SalesSum {
    sold: i64,
    ended: i64,
    gross: i64,
    returned: i64,
    fees: i64,
    taxes: Taxes,
}

impl SalesSum {
    fn add(&mut self, cell: &SalesCell) {
        self.sold += cell.sold;
        self.ended += cell.ended;
        self.gross += cell.gross;
        self.returned += cell.returned;
        self.fees += cell.fee;
        self.taxes.add(cell.tax_rate, cell.price, cell.tax);
        self.taxes.add(cell.fee_tax_rate, cell.fee, cell.fee_tax);
    }

    fn of(&self, currency: Currency) -> SalesSums {
        let money = |amount| Money { amount, currency };
        SalesSums {
            sold: self.sold,
            ended: self.ended,
            gross: money(self.gross),
            returned: money(self.returned),
            net: money(self.gross - self.returned),
            fees: money(self.fees),
            taxes: self.taxes.sums(),
        }
    }
}

/// The lines in their order, and the totals by currency.
pub fn sales_lines(spans: &Spans, cells: &[SalesCell]) -> Option<(Vec<SalesRow>, Vec<SalesSums>)> {
    let mut sums: BTreeMap<(i32, PaidBy, Currency), SalesSum> = BTreeMap::new();
    let mut totals: BTreeMap<Currency, SalesSum> = BTreeMap::new();
    for cell in cells {
        let currency = Currency::parse(&cell.currency)?;
        let paid_by = if cell.paid_by == PaidBy::None.as_str() { PaidBy::None } else { PaidBy::Online };
        sums.entry((cell.span, paid_by, currency)).or_default().add(cell);
        totals.entry(currency).or_default().add(cell);
    }
    let row = |((span, paid_by, currency), sum): (&(i32, PaidBy, Currency), &SalesSum)| {
        let day = spans.first_day(*span)?.to_string();
        Some(SalesRow { day, paid_by: *paid_by, sums: sum.of(*currency) })
    };
    let rows = sums.iter().map(row).collect::<Option<_>>()?;
    Some((rows, totals.iter().map(|(currency, sum)| sum.of(*currency)).collect()))
}
