//! Seats as values of a database's columns.

use bus::contract::SeatId;

/// Seats of a `text[]` column.
pub fn seat_ids(column: Vec<String>) -> Result<Vec<SeatId>, sqlx::Error> {
    let id = |text: String| {
        SeatId::parse(&text).ok_or_else(|| sqlx::Error::Decode(format!("{text:?} is no seat id").into()))
    };
    column.into_iter().map(id).collect()
}

/// Seats as one of many such values of a statement, for `string_to_array`: Postgres has no arrays of arrays of unlike
/// lengths, and no seat's id has a comma.
pub fn seat_column(seats: &[SeatId]) -> String {
    seats.iter().map(SeatId::as_str).collect::<Vec<_>>().join(",")
}
