//! Reports as CSV (RFC 4180, UTF-8, with a header line), which a browser saves under a name and a spreadsheet imports.
//!
//! Invariant: no text of the file is a formula to a spreadsheet: one that begins like a formula is written behind an apostrophe
//! (OWASP, CSV injection). Amounts are in major units with a point, exact to the last minor unit.

use bus::contract::reservation::{SalesReport, SalesRow, TicketReport, TicketRow};
use bus::contract::tariff::TaxSum;
use bus::contract::{Currency, Money, Problem};
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use schemars::JsonSchema;

use crate::payload::Answer;

const CSV: &str = "text/csv; charset=utf-8; header=present";

/// The first columns of a report of tickets; two columns for each rate of tax follow.
pub const TICKET_COLUMNS: [&str; 18] = [
    "week",
    "day",
    "movieId",
    "movieTitle",
    "showtimeId",
    "startsAt",
    "type",
    "full",
    "reduced",
    "free",
    "admissions",
    "sold",
    "ended",
    "currency",
    "gross",
    "fees",
    "returned",
    "net",
];

/// The first columns of a report of sales; two columns for each rate of tax follow.
pub const SALES_COLUMNS: [&str; 9] =
    ["day", "paidBy", "sold", "ended", "currency", "gross", "returned", "net", "fees"];

pub struct CsvFile {
    content: Vec<u8>,
    /// Of ASCII letters, digits, dashes and dots.
    name: String,
}

impl CsvFile {
    /// All lines of a report of tickets, of which `report` has the days.
    pub fn of_tickets(report: &TicketReport, lines: &[TicketRow]) -> Result<Self, Problem> {
        let rates = rates(lines.iter().flat_map(|line| &line.sums.taxes));
        let fields = |line: &TicketRow| {
            let sums = &line.sums;
            let (currency, admissions) = (sums.gross.currency, sums.admissions);
            let id = |id: &Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
            let counts = [
                admissions.full,
                admissions.reduced,
                admissions.free,
                admissions.total,
                sums.sold,
                sums.ended,
            ];
            let mut fields = vec![
                line.week.clone(),
                line.day.clone().unwrap_or_default(),
                id(&line.movie_id),
                plain_text(line.movie_title.as_deref().unwrap_or_default()),
                id(&line.showtime_id),
                line.starts_at.map(|at| at.to_string()).unwrap_or_default(),
                line.ticket_type.as_ref().map(|code| code.to_string()).unwrap_or_default(),
            ];
            fields.extend(counts.map(|count| count.to_string()));
            fields.push(currency.as_str().to_owned());
            fields.extend([sums.gross, sums.fees, sums.returned, sums.net].map(amount));
            fields.extend(tax_fields(&sums.taxes, &rates, currency));
            fields
        };
        let content = table(&TICKET_COLUMNS, &rates, lines.iter().map(fields))?;
        Ok(Self { content, name: format!("tickets-{}-{}.csv", report.from, report.to) })
    }

    /// All lines of a report of sales.
    pub fn of_sales(report: &SalesReport, lines: &[SalesRow]) -> Result<Self, Problem> {
        let rates = rates(lines.iter().flat_map(|line| &line.sums.taxes));
        let fields = |line: &SalesRow| {
            let (sums, currency) = (&line.sums, line.sums.gross.currency);
            let mut fields = vec![
                line.day.clone(),
                line.paid_by.as_str().to_owned(),
                sums.sold.to_string(),
                sums.ended.to_string(),
                currency.as_str().to_owned(),
            ];
            fields.extend([sums.gross, sums.returned, sums.net, sums.fees].map(amount));
            fields.extend(tax_fields(&sums.taxes, &rates, currency));
            fields
        };
        let content = table(&SALES_COLUMNS, &rates, lines.iter().map(fields))?;
        Ok(Self { content, name: format!("sales-{}-{}.csv", report.from, report.to) })
    }
}

/// Every rate of the report, in thousandths of a percent.
fn rates<'a>(taxes: impl Iterator<Item = &'a TaxSum>) -> Vec<u32> {
    let mut rates: Vec<u32> = taxes.map(|tax| tax.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    rates
}

/// `7`, `5.5`.
fn percent(rate: u32) -> String {
    let text = format!("{}.{:03}", rate / 1000, rate % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn tax_fields(taxes: &[TaxSum], rates: &[u32], currency: Currency) -> Vec<String> {
    let of = |rate: &u32| taxes.iter().find(|tax| tax.rate == *rate).map_or((0, 0), |tax| (tax.net, tax.tax));
    rates.iter().map(of).flat_map(|(net, tax)| [currency.plain(net), currency.plain(tax)]).collect()
}

fn amount(money: Money) -> String {
    money.currency.plain(money.amount)
}

fn plain_text(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn table(
    columns: &[&str],
    rates: &[u32],
    lines: impl Iterator<Item = Vec<String>>,
) -> Result<Vec<u8>, Problem> {
    let failed = |error: String| {
        tracing::error!(error, "a report could not be written as CSV");
        Problem::internal()
    };
    let of_rates = rates
        .iter()
        .flat_map(|rate| [format!("net {}%", percent(*rate)), format!("tax {}%", percent(*rate))]);
    let header = columns.iter().map(|column| (*column).to_owned()).chain(of_rates);
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(header).map_err(|error| failed(error.to_string()))?;
    for line in lines {
        writer.write_record(line).map_err(|error| failed(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

/// A report as JSON or as a file.
pub enum Report<T> {
    Json(Answer<T>),
    File(CsvFile),
}

impl<T: Send> IntoResponse for Report<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Json(answer) => answer.into_response(),
            Self::File(file) => Response::builder()
                .content_type(CSV)
                .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", file.name))
                .body(file.content),
        }
    }
}

impl<T: JsonSchema> ApiResponse for Report<T> {
    fn meta() -> MetaResponses {
        let mut responses = Answer::<T>::meta();
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let file = MetaMediaType { content_type: "text/csv", schema };
        responses.responses.iter_mut().for_each(|response| response.content.push(file_of(&file)));
        responses
    }

    fn register(registry: &mut Registry) {
        Answer::<T>::register(registry);
    }
}

fn file_of(file: &MetaMediaType) -> MetaMediaType {
    MetaMediaType { content_type: file.content_type, schema: file.schema.clone() }
}

#[cfg(test)]
mod tests {
    use bus::contract::reservation::{Admissions, TicketSums, TicketsBy};
    use bus::contract::{Page, Paging};

    use super::*;

    fn line(title: &str, gross: i64) -> TicketRow {
        let money = |amount| Money { amount, currency: Currency::EUR };
        TicketRow {
            week: "2026-01-01".into(),
            day: None,
            movie_id: None,
            movie_title: Some(title.into()),
            showtime_id: None,
            starts_at: None,
            ticket_type: None,
            sums: TicketSums {
                admissions: Admissions { full: 2, reduced: 1, free: 0, total: 3 },
                sold: 4,
                ended: 1,
                gross: money(gross),
                fees: money(50),
                taxes: vec![TaxSum { rate: 5500, net: gross - 7, tax: 7 }],
                returned: money(0),
                net: money(-5),
            },
        }
    }

    #[test]
    fn titles_that_look_like_formulas_or_have_separators_are_only_text() {
        let titles = ["=1+2", "+1", "-1", "@SUM(A1)", "\tTab", "Amélie, \"die\" fabelhafte\nWelt", "1917"];
        let lines: Vec<TicketRow> = titles.iter().map(|title| line(title, 123_456)).collect();
        let lines_of = Page { items: vec![], page: 1, page_size: Paging::default().page_size, total: 7 };
        let report = TicketReport {
            by: TicketsBy::Movie,
            from: "2026-01-01".into(),
            to: "2026-01-07".into(),
            time_zone: "UTC".into(),
            totals: vec![],
            lines: lines_of,
        };
        let file = CsvFile::of_tickets(&report, &lines).unwrap();
        assert_eq!(file.name, "tickets-2026-01-01-2026-01-07.csv");
        let mut reader = csv::Reader::from_reader(file.content.as_slice());
        let header = reader.headers().unwrap().clone();
        assert_eq!(header.iter().take(18).collect::<Vec<_>>(), TICKET_COLUMNS);
        assert_eq!(header.iter().skip(18).collect::<Vec<_>>(), ["net 5.5%", "tax 5.5%"]);
        for (row, title) in reader.records().map(Result::unwrap).zip(titles) {
            let field = |name| row.get(header.iter().position(|column| column == name).unwrap()).unwrap();
            let expected = if title.starts_with(['A', '1']) { title.to_owned() } else { format!("'{title}") };
            assert_eq!(field("movieTitle"), expected);
            assert_eq!((field("gross"), field("net"), field("fees")), ("1234.56", "-0.05", "0.50"));
            assert_eq!((field("net 5.5%"), field("tax 5.5%")), ("1234.49", "0.07"));
        }
    }
}
