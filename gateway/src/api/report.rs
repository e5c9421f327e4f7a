//! REST of the reports of tickets and of sales: as JSON in pages, or all lines as CSV.

use std::sync::Arc;

use bus::contract::reservation::{
    REPORT_DAYS_MAX, REPORT_LINES_MAX, ReportSales, ReportTickets, SalesReport, SalesRow, TicketReport,
    TicketRow, TicketsBy, report_days,
};
use bus::contract::{Page, Paging, Problem, Request};
use futures::StreamExt;
use futures::stream::{Buffered, Iter};
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::{Date, Weekday};

use super::{Domain, paging};
use crate::csv_file::{CsvFile, Report};
use crate::hosts::Hosts;
use crate::payload::{Answer, Caller, Of};
use crate::problem::Refused;

/// Lines of a file, each of some 200 bytes: a year of a large multiplex by film week. They are read page by page.
const FILE_LINES_MAX: usize = 20_000;

/// Film weeks of one part of a file: few enough that its lines are mostly one page.
const PART_WEEKS: u8 = 4;

/// Parts that are read at once: while one is written the host computes the next. A file takes no more of the hosts than two
/// readers do.
const PARTS_AT_ONCE: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

pub struct Reports {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Reservation")]
impl Reports {
    /// Tickets of shows, by film week
    ///
    /// Of the shows from the first to the last day, with a line for each film week (Thursday to Wednesday) and currency.
    /// `admissions`, `gross`, `fees` and `taxes` are of tickets that are valid; `net` is the money that all of the shows' tickets have
    /// brought. As CSV it has all lines, in the columns that `docs/reports.md` lists.
    #[oai(path = "/v1/admin/reports/tickets", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn tickets(
        &self,
        caller: Caller,
        /// The first day, `YYYY-MM-DD`.
        from: Query<String>,
        /// The last day; at most 53 weeks, else 422 `report-range`.
        to: Query<String>,
        /// `movie` without it.
        by: Query<Option<Of<TicketsBy>>>,
        /// `json` without it.
        format: Query<Option<Of<Format>>>,
        /// Where the days begin and end, such as Europe/Berlin; UTC without it.
        #[oai(name = "timeZone")]
        time_zone: Query<Option<String>>,
        /// Counted from 1. A file has all lines, 20,000 at most, else 422 `report-too-long`.
        page: Query<Option<u32>>,
        /// At most 500; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Result<Report<TicketReport>, Refused> {
        let request = ReportTickets {
            by: by.0.map_or(TicketsBy::Movie, |by| by.0),
            from: from.0,
            to: to.0,
            time_zone: time_zone.0.unwrap_or_else(|| "UTC".into()),
            paging: paging(page.0, page_size.0),
        };
        if !is_file(format.0) {
            return Ok(Report::Json(Answer::new(self.hosts.submit(&caller, request).await?)));
        }
        Ok(Report::File(self.ticket_file(&caller, &request).await?))
    }

    /// Sales by day
    ///
    /// For the accountant: money captured and given back, by the day on which the order was confirmed, or its change decided.
    /// `taxes` add up to `net`, and `fees` are a part of it. Disputes are in the revenue report.
    #[oai(path = "/v1/admin/reports/sales", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn sales(
        &self,
        caller: Caller,
        /// The first day, `YYYY-MM-DD`.
        from: Query<String>,
        /// The last day; at most 53 weeks, else 422 `report-range`.
        to: Query<String>,
        /// `json` without it.
        format: Query<Option<Of<Format>>>,
        /// Where the days begin and end, such as Europe/Berlin; UTC without it.
        #[oai(name = "timeZone")]
        time_zone: Query<Option<String>>,
        /// Counted from 1. A file has all lines.
        page: Query<Option<u32>>,
        /// At most 500; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Result<Report<SalesReport>, Refused> {
        let request = ReportSales {
            from: from.0,
            to: to.0,
            time_zone: time_zone.0.unwrap_or_else(|| "UTC".into()),
            paging: paging(page.0, page_size.0),
        };
        if !is_file(format.0) {
            return Ok(Report::Json(Answer::new(self.hosts.submit(&caller, request).await?)));
        }
        let at = |paging| ReportSales { paging, ..request.clone() };
        let lines = |report: &mut SalesReport| take::<SalesRow>(&mut report.lines);
        let (report, lines) = self.everything(&caller, at, lines).await?;
        Ok(Report::File(CsvFile::of_sales(&report, &lines)?))
    }
}

fn is_file(format: Option<Of<Format>>) -> bool {
    format.is_some_and(|format| format.0 == Format::Csv)
}

/// The lines of a page, and how many lines there are in all.
fn take<T>(page: &mut Page<T>) -> (Vec<T>, u64) {
    (std::mem::take(&mut page.items), page.total)
}

/// The parts of a report of tickets, whose lines together are its lines: for the host computes a report anew for each page of it.
fn parts(request: &ReportTickets) -> Vec<ReportTickets> {
    let Some((first, last)) = report_days(&request.from, &request.to) else { return vec![request.clone()] };
    // The host refuses it.
    if (last - first).whole_days() >= REPORT_DAYS_MAX {
        return vec![request.clone()];
    }
    let begins = |day: &Date| day.weekday() == Weekday::Thursday && day.iso_week().is_multiple_of(PART_WEEKS);
    let days = std::iter::successors(Some(first), |day| day.next_day()).take_while(|day| *day <= last);
    let from: Vec<Date> = days.filter(|day| *day == first || begins(day)).collect();
    let to = from.iter().skip(1).filter_map(|day| day.previous_day()).chain([last]);
    let part = |(from, to): (&Date, Date)| ReportTickets {
        from: from.to_string(),
        to: to.to_string(),
        ..request.clone()
    };
    from.iter().zip(to).map(part).collect()
}

fn too_long() -> Problem {
    let detail = format!("The file would have more than {FILE_LINES_MAX} lines. Ask for fewer days at once.");
    Problem::new(422, "report-too-long", detail)
}

/// The results in the order of the parts, of which so many are read at once.
fn in_order<F: Future>(reads: Vec<F>) -> Buffered<Iter<std::vec::IntoIter<F>>> {
    futures::stream::iter(reads).buffered(PARTS_AT_ONCE)
}

impl Reports {
    async fn ticket_file(&self, caller: &Caller, request: &ReportTickets) -> Result<CsvFile, Refused> {
        let reads = parts(request).into_iter().map(|part| self.part(caller, part)).collect();
        let (mut all, mut lines, mut read) = (None, Vec::new(), in_order(reads));
        while let Some(part) = read.next().await {
            let (report, more) = part?;
            if lines.len() + more.len() > FILE_LINES_MAX {
                return Err(too_long().into());
            }
            lines.extend(more);
            all = Some(TicketReport { from: request.from.clone(), to: request.to.clone(), ..report });
        }
        drop(read);
        let report = all.ok_or_else(Problem::internal)?;
        Ok(CsvFile::of_tickets(&report, &lines)?)
    }

    async fn part(
        &self,
        caller: &Caller,
        part: ReportTickets,
    ) -> Result<(TicketReport, Vec<TicketRow>), Problem> {
        let at = |paging| ReportTickets { paging, ..part.clone() };
        self.everything(caller, at, |report: &mut TicketReport| take::<TicketRow>(&mut report.lines)).await
    }

    /// A report with its lines of all pages, for a file.
    async fn everything<R: Request, T>(
        &self,
        caller: &Caller,
        at: impl Fn(Paging) -> R,
        lines_of: impl Fn(&mut R::Answer) -> (Vec<T>, u64),
    ) -> Result<(R::Answer, Vec<T>), Problem>
    where
        R::Answer: DeserializeOwned,
    {
        let mut lines = Vec::new();
        for page in 1.. {
            let json = self.hosts.submit(caller, at(Paging { page, page_size: REPORT_LINES_MAX })).await?;
            let mut report: R::Answer = serde_json::from_slice(&json).map_err(|error| {
                tracing::error!(%error, "an unreadable report");
                Problem::internal()
            })?;
            let (more, total) = lines_of(&mut report);
            if total > FILE_LINES_MAX as u64 {
                return Err(too_long());
            }
            let is_last = more.is_empty() || lines.len() + more.len() >= total as usize;
            lines.extend(more);
            if is_last {
                return Ok((report, lines));
            }
        }
        unreachable!("a report has a last page")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_file_are_whole_film_weeks_and_together_all_its_days() {
        let request = |from: &str, to: &str| ReportTickets {
            by: TicketsBy::Movie,
            from: from.into(),
            to: to.into(),
            time_zone: "UTC".into(),
            paging: Paging::default(),
        };
        let year = parts(&request("2026-01-01", "2026-12-31"));
        assert_eq!((year.len(), &*year[0].from, &*year[year.len() - 1].to), (14, "2026-01-01", "2026-12-31"));
        for (part, next) in year.iter().zip(&year[1..]) {
            let (from, _) = report_days(&next.from, &next.to).unwrap();
            let (_, to) = report_days(&part.from, &part.to).unwrap();
            assert_eq!((from.weekday(), to.next_day()), (Weekday::Thursday, Some(from)), "{part:?} {next:?}");
        }
        for (from, to) in [("2026-03-05", "2026-03-05"), ("2026-01-01", "2027-02-01"), ("soon", "later")] {
            assert_eq!(parts(&request(from, to)), [request(from, to)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_parts_are_read_at_once_and_their_order_is_kept() {
        let running = std::sync::atomic::AtomicUsize::new(0);
        let most = std::sync::atomic::AtomicUsize::new(0);
        let read = async |part: u64| {
            use std::sync::atomic::Ordering::SeqCst;
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            // Later parts are ready sooner.
            tokio::time::sleep(std::time::Duration::from_millis(100 - 10 * part)).await;
            running.fetch_sub(1, SeqCst);
            part
        };
        let found: Vec<u64> = in_order((0..7).map(read).collect()).collect().await;
        assert_eq!((found, most.into_inner()), ((0..7).collect(), 2));
    }
}
