//! Requests about auditoriums.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::layout::validate_rows;
use super::{Auditorium, Row, some_change};
use crate::contract::{Access, Fields, Page, Paging, Request, Rule};

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
        fields.line(&self.name, 1..=100, "name");
        validate_time_zone(&self.time_zone, fields);
        validate_rows(&self.rows, fields);
    }
}

/// Absent fields stay unchanged. New rows also count for showtimes to come; refused where seats that are held or sold would
/// vanish or change their kind.
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
            fields.line(name, 1..=100, "name");
        }
        if let Some(time_zone) = &self.time_zone {
            validate_time_zone(time_zone, fields);
        }
        if let Some(rows) = &self.rows {
            validate_rows(rows, fields);
        }
    }
}

/// Refused while the auditorium has showtimes to come.
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
    fields.check((1..=64).contains(&name.len()), "timeZone", Rule::TimeZone);
}

#[cfg(test)]
mod tests {
    use super::super::is_date;

    #[test]
    fn a_date_is_of_four_two_and_two_digits() {
        assert!(is_date("2026-05-01"));
        for text in ["", "2026-5-1", "+2026-05-01", "-2026-05-01", "2026-02-30", "2026-05-01T00:00:00Z"] {
            assert!(!is_date(text), "{text}");
        }
    }
}
