//! The layout of an auditorium: which seats it has, what each is called, where it stands and which are sold together.
//!
//! A seat's name, its place and its neighbours are three things. Its id is made of the row's label and its `number`; its
//! place is its `column`; two seats are adjacent when they stand in adjacent columns of one row. Numbers may come in any order,
//! so nothing but the id is ever computed from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

use crate::contract::seat::is_row_label;
use crate::contract::{Fields, Rule, SeatId};

/// Bounds of a layout: the largest halls have some 50 rows and 1,000 seats; a seat map stays a small message.
pub const ROWS_MAX: usize = 60;
pub const SEATS_PER_ROW_MAX: usize = 100;
pub const SEATS_MAX: usize = 2_000;
/// Columns of a hall, aisles counted.
pub const COLUMNS_MAX: u16 = 100;
/// A sofa of four is the widest unit that is built.
const UNIT_SEATS_MAX: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatKind {
    Standard,
    Wheelchair,
    /// Sold only together with an adjacent WHEELCHAIR place, where there is one.
    Companion,
    Loveseat,
    /// No seat: an aisle or a pillar. It is never sold; an empty column means the same.
    Gap,
}

impl SeatKind {
    const ALL: [Self; 5] = [Self::Standard, Self::Wheelchair, Self::Companion, Self::Loveseat, Self::Gap];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::Wheelchair => "WHEELCHAIR",
            Self::Companion => "COMPANION",
            Self::Loveseat => "LOVESEAT",
            Self::Gap => "GAP",
        }
    }
}

// Read as a text, so that an error in a price names its kind: the path to an error has no names of an enum's variants.
impl<'de> Deserialize<'de> for SeatKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            serde::de::Error::custom("must be STANDARD, WHEELCHAIR, COMPANION, LOVESEAT or GAP")
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seat {
    /// The number on the seat: any number, in any order.
    pub number: u16,
    /// Its place, counted from 1 at the left as seen from the seats. When absent, its place in the row's list, gaps counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u16>,
    pub kind: SeatKind,
    /// Seats of a row with the same unit, such as a love seat, are sold together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u16>,
}

impl Seat {
    /// A seat whose place is its place in the row's list.
    pub fn new(number: u16, kind: SeatKind) -> Self {
        Self { number, column: None, kind, unit: None }
    }
}

/// A row of seats as they stand, from left to right as seen from the seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// 1–8 letters or digits of any script; no two rows have the same.
    pub label: String,
    pub seats: Vec<Seat>,
}

impl Row {
    /// The seats with the columns in which they stand.
    pub fn placed(&self) -> impl Iterator<Item = (u16, &Seat)> {
        (1..).zip(&self.seats).map(|(place, seat)| (seat.column.unwrap_or(place), seat))
    }
}

/// The layout with every column written down, as it is stored.
pub fn with_columns(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        for (place, seat) in (1..).zip(&mut row.seats) {
            seat.column.get_or_insert(place);
        }
    }
    rows
}

pub(super) fn validate_rows(rows: &[Row], fields: &mut Fields) {
    fields.count(rows.len(), 1..=ROWS_MAX, "rows", "rows");
    let (mut labels, mut ids) = (HashSet::new(), HashSet::new());
    let mut sold = 0;
    for (index, row) in rows.iter().enumerate() {
        let field = format!("rows[{index}]");
        let label = format!("{field}.label");
        fields.check(is_row_label(&row.label), &label, Rule::RowLabel { min: 1, max: 8 });
        fields.check(labels.insert(&row.label), &label, Rule::RowTwice);
        let sized = (1..=SEATS_PER_ROW_MAX).contains(&row.seats.len());
        fields.count(row.seats.len(), 1..=SEATS_PER_ROW_MAX, &format!("{field}.seats"), "seats");
        for (at, seat) in row.seats.iter().enumerate() {
            let field = format!("{field}.seats[{at}].number");
            fields.range(seat.number, 1..=999, &field);
            fields.check(ids.insert(SeatId::new(&row.label, seat.number)), &field, Rule::Twice);
            sold += usize::from(seat.kind != SeatKind::Gap);
        }
        if sized {
            validate_columns(row, &field, fields);
            validate_units(row, &field, fields);
        }
    }
    let rule = Rule::SeatCount { min: 1, max: SEATS_MAX as u64 };
    fields.check((1..=SEATS_MAX).contains(&sold), "rows", rule);
}

/// A row lists its seats from left to right, so that its list, its columns and what is drawn never disagree.
fn validate_columns(row: &Row, field: &str, fields: &mut Fields) {
    let mut before = 0;
    for (at, (column, _)) in row.placed().enumerate() {
        let field = format!("{field}.seats[{at}].column");
        fields.range(column, 1..=COLUMNS_MAX.into(), &field);
        fields.check(column != before, &field, Rule::ColumnTwice);
        fields.check(column >= before, &field, Rule::ColumnOrder);
        before = column;
    }
}

fn validate_units(row: &Row, field: &str, fields: &mut Fields) {
    let mut units: BTreeMap<u16, Vec<(usize, u16, SeatKind)>> = BTreeMap::new();
    for (at, (column, seat)) in row.placed().enumerate() {
        if let Some(unit) = seat.unit {
            units.entry(unit).or_default().push((at, column, seat.kind));
        }
    }
    for (unit, seats) in units {
        let field = format!("{field}.seats[{}].unit", seats[0].0);
        fields.range(unit, 1..=COLUMNS_MAX.into(), &field);
        let sized = (2..=UNIT_SEATS_MAX).contains(&seats.len());
        fields.check(sized, &field, Rule::UnitSize { min: 2, max: UNIT_SEATS_MAX as u64 });
        let adjacent = seats.windows(2).all(|pair| pair[0].1.checked_add(1) == Some(pair[1].1));
        fields.check(adjacent, &field, Rule::UnitApart);
        let kind = seats[0].2;
        // A companion place is already bound to its wheelchair place.
        let together = !matches!(kind, SeatKind::Gap | SeatKind::Companion);
        fields.check(together, &field, Rule::UnitKind);
        fields.check(seats.iter().all(|seat| seat.2 == kind), &field, Rule::UnitMixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, numbers: &[u16]) -> Row {
        let seats = numbers.iter().map(|&number| Seat::new(number, SeatKind::Standard)).collect();
        Row { label: label.into(), seats }
    }

    /// Seats as (column, unit), numbered from the left.
    fn placed(seats: &[(u16, u16)]) -> Row {
        let seat = |(number, &(column, unit))| Seat {
            column: Some(column),
            unit: (unit > 0).then_some(unit),
            ..Seat::new(number, SeatKind::Loveseat)
        };
        Row { label: "A".into(), seats: (1..).zip(seats).map(seat).collect() }
    }

    fn errors(rows: &[Row]) -> Vec<String> {
        let mut fields = Fields::default();
        validate_rows(rows, &mut fields);
        let problem = fields.into_result().err();
        problem.map(|p| p.errors.into_iter().map(|e| e.field).collect()).unwrap_or_default()
    }

    #[test]
    fn a_layout_names_every_seat_once() {
        assert_eq!(errors(&[row("A", &[1, 2]), row("B", &[1])]), Vec::<String>::new());
        assert_eq!(errors(&[row("A", &[7, 5, 3, 1, 2, 4, 6])]), Vec::<String>::new());
        assert_eq!(errors(&[row("A", &[1, 1])]), ["rows[0].seats[1].number"]);
        assert_eq!(errors(&[]), ["rows", "rows"]);
        assert_eq!(errors(&[row("A", &[0])]), ["rows[0].seats[0].number"]);
        assert_eq!(errors(&[row("A", &[1]), row("A", &[2])]), ["rows[1].label"]);
    }

    #[test]
    fn a_row_has_any_label_of_letters_or_digits() {
        for label in ["A", "11", "Loge", "Ä", "Ряд7", "一", "Balkon12"] {
            assert_eq!(errors(&[row(label, &[1])]), Vec::<String>::new(), "{label}");
        }
        for label in
            ["", "A,B", "A/B", "1-1", "A B", " ", "LongLabel", "A\u{308}", "\u{212b}", "A\n", "\u{200b}"]
        {
            assert_eq!(errors(&[row(label, &[1])]), ["rows[0].label"], "{label:?}");
        }
    }

    #[test]
    fn rows_that_are_numbers_name_every_seat_once() {
        let numbers: Vec<u16> = (1..=12).collect();
        assert_eq!(
            errors(&[row("1", &numbers), row("11", &numbers), row("111", &[1])]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn columns_rise_from_left_to_right_and_default_to_the_place_in_the_list() {
        assert_eq!(errors(&[placed(&[(1, 0), (3, 0), (100, 0)])]), Vec::<String>::new());
        assert_eq!(errors(&[placed(&[(2, 0), (2, 0)])]), ["rows[0].seats[1].column"]);
        assert_eq!(errors(&[placed(&[(2, 0), (1, 0)])]), ["rows[0].seats[1].column"]);
        assert_eq!(errors(&[placed(&[(1, 0), (101, 0)])]), ["rows[0].seats[1].column"]);
        let mut mixed = row("A", &[9, 8, 7]);
        mixed.seats[0].column = Some(2);
        assert_eq!(errors(&[mixed]), ["rows[0].seats[1].column"]);
        let columns = with_columns(vec![row("A", &[9, 8, 7])]).remove(0).seats;
        assert_eq!(columns.iter().map(|seat| seat.column).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn a_unit_is_of_two_to_four_adjacent_seats_of_one_kind() {
        assert_eq!(errors(&[placed(&[(1, 1), (2, 1), (4, 2), (5, 2)])]), Vec::<String>::new());
        assert_eq!(errors(&[placed(&[(1, 1), (2, 0)])]), ["rows[0].seats[0].unit"]);
        assert_eq!(errors(&[placed(&[(1, 1), (3, 1)])]), ["rows[0].seats[0].unit"]);
        assert_eq!(errors(&[placed(&[(1, 1), (2, 0), (3, 1)])]), ["rows[0].seats[0].unit"]);
        assert_eq!(errors(&[placed(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)])]), ["rows[0].seats[0].unit"]);
        let mut mixed = placed(&[(1, 1), (2, 1)]);
        mixed.seats[1].kind = SeatKind::Standard;
        assert_eq!(errors(&[mixed]), ["rows[0].seats[0].unit"]);
        let mut gaps = placed(&[(1, 1), (2, 1)]);
        gaps.seats.iter_mut().for_each(|seat| seat.kind = SeatKind::Gap);
        assert_eq!(errors(&[gaps, row("B", &[1])]), ["rows[0].seats[0].unit"]);
    }
}
