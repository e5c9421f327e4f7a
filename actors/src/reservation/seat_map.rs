//! A showtime's seats in memory: the committed claims with their version, and the seats that this host has marked for changes
//! that are not yet committed.
//!
//! Invariant: `sequence` only moves by a notice that follows it directly or by a snapshot from the database, so the
//! committed part never skips a version.

use std::collections::HashMap;
use std::ops::Range;

use bus::contract::movie::{Prices, Row, SeatKind};
use bus::contract::reservation::{
    Rejection, SeatChange, SeatMap as SeatMapView, SeatStatus, SeatView, SeatsChanged,
};
use bus::contract::{Money, SeatId};
use uuid::Uuid;

/// One seat that may be sold. Seats of a row in adjacent columns are neighbours.
#[derive(Debug, Clone)]
pub struct Seat {
    pub id: SeatId,
    pub row: usize,
    pub column: u16,
    pub number: u16,
    pub kind: SeatKind,
    /// Seats of the row with the same unit are sold together.
    pub unit: Option<u16>,
    /// Of the default ticket type, as it is first shown; absent where the seat is not for sale.
    pub price: Option<Money>,
    committed: SeatStatus,
    mark: Option<Uuid>,
}

impl Seat {
    /// Free in the database and not marked by this host.
    pub fn is_free(&self) -> bool {
        self.committed == SeatStatus::Free && self.mark.is_none()
    }

    /// Free in the database.
    pub fn is_unsold(&self) -> bool {
        self.committed == SeatStatus::Free
    }
}

/// A layout of seats with prices, and the claims on them.
#[derive(Debug)]
pub struct SeatMap {
    pub sequence: i64,
    rows: Vec<String>,
    seats: Vec<Seat>,
    index: HashMap<SeatId, usize>,
}

/// The result of applying a notice.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    Newer,
    /// Applied already.
    Old,
    /// A version in between is missing, or this one can only be read.
    Gap,
}

/// Whether an order of named seats can be met.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    Free(Vec<usize>),
    /// Committed to someone else.
    Taken(Vec<SeatId>),
    /// Blocked only by marks whose commit is running.
    Wait,
}

impl SeatMap {
    pub fn new(layout: &[Row], prices: &Prices, sequence: i64) -> Self {
        let mut seats = Vec::new();
        for (row, line) in layout.iter().enumerate() {
            let mut places: Vec<_> = line.placed().filter(|(_, seat)| seat.kind != SeatKind::Gap).collect();
            // Layouts from before columns were written down may list them in another order.
            places.sort_by_key(|(column, _)| *column);
            for (column, seat) in places {
                let price = prices.get(&seat.kind).copied();
                let committed = if price.is_some() { SeatStatus::Free } else { SeatStatus::Blocked };
                let id = SeatId::new(&line.label, seat.number);
                seats.push(Seat {
                    id,
                    row,
                    column,
                    number: seat.number,
                    kind: seat.kind,
                    unit: seat.unit,
                    price,
                    committed,
                    mark: None,
                });
            }
        }
        let index = seats.iter().enumerate().map(|(index, seat)| (seat.id.clone(), index)).collect();
        Self { sequence, rows: layout.iter().map(|row| row.label.clone()).collect(), seats, index }
    }

    /// Seats that have a price.
    pub fn capacity(&self) -> usize {
        self.seats.iter().filter(|seat| seat.price.is_some()).count()
    }

    /// Takes over the claims as one statement read them; marks stay.
    pub fn load<'a>(&mut self, sequence: i64, claims: impl Iterator<Item = (&'a SeatId, SeatStatus)>) {
        self.sequence = sequence;
        for seat in self.seats.iter_mut().filter(|seat| seat.committed != SeatStatus::Blocked) {
            seat.committed = SeatStatus::Free;
        }
        for (id, status) in claims {
            self.commit_seat(id, status);
        }
    }

    /// Takes over other seats and prices; marks stay on the seats that stay. The next `load` brings the committed claims.
    pub fn refit(&mut self, layout: &[Row], prices: &Prices) {
        let mut fitted = Self::new(layout, prices, self.sequence);
        for seat in &mut fitted.seats {
            seat.mark = self.index.get(&seat.id).and_then(|index| self.seats[*index].mark);
        }
        *self = fitted;
    }

    pub fn apply(&mut self, notice: &SeatsChanged) -> Applied {
        if notice.sequence <= self.sequence {
            return Applied::Old;
        }
        if notice.sequence > self.sequence + 1 || notice.reload {
            return Applied::Gap;
        }
        self.sequence = notice.sequence;
        for SeatChange { id, status } in &notice.changes {
            self.commit_seat(id, *status);
        }
        Applied::Newer
    }

    fn commit_seat(&mut self, id: &SeatId, status: SeatStatus) {
        if let Some(index) = self.index.get(id) {
            self.seats[*index].committed = status;
        }
    }

    /// The seats' indexes, or the ids that the hall lacks, or those that are not for sale.
    pub fn find(&self, ids: &[SeatId]) -> Result<Vec<usize>, Rejection> {
        let unknown: Vec<SeatId> = ids.iter().filter(|id| !self.index.contains_key(*id)).cloned().collect();
        if !unknown.is_empty() {
            return Err(Rejection::SeatUnknown(unknown));
        }
        let found: Vec<usize> = ids.iter().map(|id| self.index[id]).collect();
        let blocked = found.iter().filter(|i| self.seats[**i].committed == SeatStatus::Blocked);
        let blocked: Vec<SeatId> = blocked.map(|i| self.seats[*i].id.clone()).collect();
        if blocked.is_empty() { Ok(found) } else { Err(Rejection::SeatBlocked(blocked)) }
    }

    pub fn named(&self, wanted: Vec<usize>) -> Named {
        let taken = wanted.iter().filter(|i| self.seats[**i].committed != SeatStatus::Free);
        let taken: Vec<SeatId> = taken.map(|i| self.seats[*i].id.clone()).collect();
        if !taken.is_empty() {
            Named::Taken(taken)
        } else if wanted.iter().any(|i| self.seats[*i].mark.is_some()) {
            Named::Wait
        } else {
            Named::Free(wanted)
        }
    }

    /// The seats that are sold together with this one, itself included. Units stand in adjacent columns, so it is a range.
    pub fn unit(&self, seat: usize) -> Range<usize> {
        let Seat { row, unit: Some(unit), .. } = self.seats[seat] else { return seat..seat + 1 };
        let is_of_it = |other: &&Seat| other.row == row && other.unit == Some(unit);
        let before = self.seats[..seat].iter().rev().take_while(is_of_it).count();
        let from_here = self.seats[seat..].iter().take_while(is_of_it).count();
        seat - before..seat + from_here
    }

    /// Whether they stand side by side.
    pub fn are_adjacent(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.seats[a], &self.seats[b]);
        a.row == b.row && a.column.abs_diff(b.column) == 1
    }

    /// The wheelchair places that a companion place is sold with; none for any other kind.
    pub fn wheelchairs_beside(&self, seat: usize) -> impl Iterator<Item = usize> {
        let is_companion = self.seats[seat].kind == SeatKind::Companion;
        let beside = seat.saturating_sub(1)..(seat + 2).min(self.seats.len());
        let is_wheelchair = move |other: &usize| {
            let place = &self.seats[*other];
            place.kind == SeatKind::Wheelchair && place.price.is_some() && self.are_adjacent(seat, *other)
        };
        beside.filter(is_wheelchair).filter(move |_| is_companion)
    }

    /// Whether all stand side by side, in one row without an aisle or a stranger between.
    pub fn are_together(&self, seats: &[usize]) -> bool {
        let mut sorted = seats.to_vec();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| self.are_adjacent(pair[0], pair[1]))
    }

    pub fn mark(&mut self, seats: &[usize], reservation: Uuid) {
        for index in seats {
            // Marking a marked seat would give it to two orders at once; the database would refuse the second.
            assert!(self.seats[*index].is_free(), "only a free seat is marked");
            self.seats[*index].mark = Some(reservation);
        }
    }

    /// Ends the marks of a change: committed seats are held from now on, even if an older notice arrives later.
    pub fn settle(&mut self, reservation: Uuid, committed: bool) {
        for seat in self.seats.iter_mut().filter(|seat| seat.mark == Some(reservation)) {
            seat.mark = None;
            if committed {
                seat.committed = SeatStatus::Held;
            }
        }
    }

    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub fn ids(&self, seats: &[usize]) -> Vec<SeatId> {
        seats.iter().map(|index| self.seats[*index].id.clone()).collect()
    }

    /// The published view: committed claims only.
    pub fn view(&self) -> SeatMapView {
        let seats = self.seats.iter().map(|seat| SeatView {
            id: seat.id.clone(),
            row: self.rows[seat.row].clone(),
            number: seat.number,
            column: seat.column,
            kind: seat.kind,
            unit: seat.unit,
            status: seat.committed,
            price: seat.price,
        });
        SeatMapView { sequence: self.sequence, seats: seats.collect() }
    }
}
