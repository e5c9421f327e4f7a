//! The time of every event, row and answer.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A UTC time with microseconds, which is what Postgres keeps. JSON: RFC 3339 with `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// This machine's clock: for tokens and logs only. Decisions use the database's clock.
    pub fn wall_clock() -> Self {
        OffsetDateTime::now_utc().into()
    }
    pub fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }
    pub fn unix_micros(self) -> i64 {
        (self.0.unix_timestamp_nanos() / 1000) as i64
    }
    pub fn plus(self, duration: std::time::Duration) -> Self {
        (self.0 + duration).into()
    }
    pub fn minus(self, duration: std::time::Duration) -> Self {
        (self.0 - duration).into()
    }
    pub fn date_time(self) -> OffsetDateTime {
        self.0
    }
}

/// A day `YYYY-MM-DD`, far from the ends of what a date can hold.
pub fn day(text: &str) -> Option<time::Date> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(text, &format).ok()?;
    (text.len() == 10 && (1970..=9000).contains(&date.year())).then_some(date)
}

impl From<OffsetDateTime> for Timestamp {
    fn from(value: OffsetDateTime) -> Self {
        let utc = value.to_offset(time::UtcOffset::UTC);
        let micros = utc.microsecond();
        Self(utc.replace_microsecond(micros).unwrap_or(utc))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| std::fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339)
            .ok()
            // Far from the ends of what `time` can hold, where a change of zone or a sum would panic.
            .filter(|time| (1900..=9000).contains(&time.year()))
            .map(Self::from)
            .ok_or_else(|| serde::de::Error::custom("must be an RFC 3339 time such as 2026-05-01T18:30:00Z"))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Timestamp, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn times_that_no_clock_can_hold_are_refused_and_do_not_panic() {
        for text in ["9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "soon"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("2026-05-01T20:30:00+02:00").unwrap().to_string(), "2026-05-01T18:30:00Z");
    }

    #[test]
    fn a_sum_keeps_to_microseconds_as_the_database_does() {
        let sum = read("2026-05-01T18:30:00Z").unwrap().plus(std::time::Duration::from_nanos(1_234_567));
        assert_eq!(sum.to_string(), "2026-05-01T18:30:00.001234Z");
        assert_eq!(sum.minus(std::time::Duration::from_nanos(1)).to_string(), "2026-05-01T18:30:00.001233Z");
    }
}
