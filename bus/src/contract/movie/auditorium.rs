//! Requests about auditoriums, and what a layout of seats must be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use uuid::Uuid;

use super::{Auditorium, ROWS_MAX, Row, SEATS_MAX, SEATS_PER_ROW_MAX, SeatKind, some_change};
use crate::contract::{Access, Fields, Page, Paging, Request, SeatId};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAuditorium {
    pub name: String,
    /// IANA name, such as `Europe/Berlin`.
    pub time_zone: String,
    pub rows: Vec<Row>,
}

impl Request for CreateAuditorium {
    const SUBJECT: &'static str = "rpc.movie.create_auditorium";
    const ACCESS: Access = Access::Admin;
    type Answer = Auditorium;
    fn validate(&self, fields: &mut Fields) {
        fields.text(&self.name, 1..=100, "name");
        validate_time_zone(&self.time_zone, fields);
        validate_rows(&self.rows, fields);
    }
}

/// What is absent stays. New rows also count for showtimes to come; refused where seats that are held or sold would
/// vanish or become of another kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateAuditorium {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// IANA name, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Row>>,
}

impl Request for UpdateAuditorium {
    const SUBJECT: &'static str = "rpc.movie.update_auditorium";
    const ACCESS: Access = Access::Admin;
    type Answer = Auditorium;
    fn validate(&self, fields: &mut Fields) {
        some_change(&[self.name.is_some(), self.time_zone.is_some(), self.rows.is_some()], fields);
        if let Some(name) = &self.name {
            fields.text(name, 1..=100, "name");
        }
        if let Some(time_zone) = &self.time_zone {
            validate_time_zone(time_zone, fields);
        }
        if let Some(rows) = &self.rows {
            validate_rows(rows, fields);
        }
    }
}

/// Refused while it has showtimes to come.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteAuditorium {
    pub id: Uuid,
}

impl Request for DeleteAuditorium {
    const SUBJECT: &'static str = "rpc.movie.delete_auditorium";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetAuditorium {
    pub id: Uuid,
}

impl Request for GetAuditorium {
    const SUBJECT: &'static str = "rpc.movie.get_auditorium";
    const ACCESS: Access = Access::Public;
    type Answer = Auditorium;
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListAuditoriums {
    pub paging: Paging,
}

impl Request for ListAuditoriums {
    const SUBJECT: &'static str = "rpc.movie.list_auditoriums";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Auditorium>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

fn validate_time_zone(name: &str, fields: &mut Fields) {
    fields.check((1..=64).contains(&name.len()), "timeZone", "must be an IANA time zone");
}

fn validate_rows(rows: &[Row], fields: &mut Fields) {
    fields.check((1..=ROWS_MAX).contains(&rows.len()), "rows", "must have 1–60 rows");
    let mut ids = HashSet::new();
    let mut sold = 0;
    for (index, row) in rows.iter().enumerate() {
        let field = format!("rows[{index}]");
        // Letters only: a label that ends in a digit would make A1+1 and A+11 the same seat.
        let label_ok =
            (1..=3).contains(&row.label.len()) && row.label.bytes().all(|b| b.is_ascii_uppercase());
        fields.check(label_ok, &format!("{field}.label"), "must be 1–3 letters A–Z");
        let sized = (1..=SEATS_PER_ROW_MAX).contains(&row.seats.len());
        fields.check(sized, &format!("{field}.seats"), "must have 1–100 seats");
        for (at, seat) in row.seats.iter().enumerate() {
            let field = format!("{field}.seats[{at}].number");
            fields.check((1..=999).contains(&seat.number), &field, "must be 1–999");
            fields.check(ids.insert(SeatId::new(&row.label, seat.number)), &field, "is there twice");
            sold += usize::from(seat.kind != SeatKind::Gap);
        }
    }
    fields.check((1..=SEATS_MAX).contains(&sold), "rows", "must have 1–2000 seats beside gaps");
}

#[cfg(test)]
mod tests {
    use super::super::{Seat, is_date};
    use super::*;

    fn row(label: &str, numbers: &[u16]) -> Row {
        let seats = numbers.iter().map(|&number| Seat { number, kind: SeatKind::Standard }).collect();
        Row { label: label.into(), seats }
    }

    fn errors(rows: &[Row]) -> Vec<String> {
        let mut fields = Fields::default();
        validate_rows(rows, &mut fields);
        fields
            .into_result()
            .err()
            .map(|p| p.errors.into_iter().map(|e| e.field).collect())
            .unwrap_or_default()
    }

    #[test]
    fn a_layout_names_every_seat_once() {
        assert_eq!(errors(&[row("A", &[1, 2]), row("B", &[1])]), Vec::<String>::new());
        assert_eq!(errors(&[row("A", &[1, 1])]), ["rows[0].seats[1].number"]);
        assert_eq!(errors(&[row("A1", &[1])]), ["rows[0].label"]);
        assert_eq!(errors(&[]), ["rows", "rows"]);
        assert_eq!(errors(&[row("A", &[0])]), ["rows[0].seats[0].number"]);
    }

    #[test]
    fn a_date_is_of_four_two_and_two_digits() {
        assert!(is_date("2026-05-01"));
        for text in ["", "2026-5-1", "+2026-05-01", "-2026-05-01", "2026-02-30", "2026-05-01T00:00:00Z"] {
            assert!(!is_date(text), "{text}");
        }
    }
}
