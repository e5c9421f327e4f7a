//! Reservation's SQL. The steps of a batch are written by one statement; showtimes and deadlines, which are few, by a dialogue.

pub mod erasure;
mod holds;
mod locks;
mod read;
mod report;
mod showtime;
mod statement;
mod ticket_log;
mod ticket_report;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bus::contract::reservation::{
    Rejection, ReservationChanged, SeatChange, SeatStatus, SeatsChanged, changed_subject, seats_subject,
};
use bus::contract::{SeatId, Timestamp};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::holds::Bounds;
use super::model::{Reservation, Seats, Showtime};
use super::tickets::TicketChanges;
use crate::delivery::{self, Loss, RowError, Statement, WriteError};

pub use holds::{UNPAID_ENDS_FOR, holders};
pub use read::{
    Filter, due, guest_addresses, guests_with_orders, list, of_user, open_of_showtime, pending_of_user,
    reservations, sequences, snapshot,
};
pub use report::{cancellation, free_seats, occupancy, sagas, steps};
pub use showtime::claimed;
use showtime::{cancel_showtime, change_showtime, put_showtime};
pub use ticket_report::{names, sales, tickets};

type Written<T> = Result<T, WriteError<Rejection>>;

/// The rows that one change writes.
#[derive(Debug)]
pub enum Rows {
    /// The first version of a showtime that reaches this domain.
    Showtime(Showtime),
    /// A later version; one that is not newer changes nothing.
    ShowtimeChanged(Box<Showtime>),
    /// Nothing is sold any more.
    ShowtimeCancelled(Box<Showtime>),
    Step(Box<Step>),
    /// Two reservations at once: a reservation and the new one that is to replace it.
    Pair(Box<[Step; 2]>),
    /// The orders of a guest, which go to an account together.
    Merge(Vec<Step>),
    /// A later deadline; nothing else changes, so that there is no new version.
    Deadline {
        id: Uuid,
        version: i64,
        deadline: Option<Timestamp>,
    },
}

impl Rows {
    fn steps(&self) -> &[Step] {
        match self {
            Self::Step(step) => std::slice::from_ref(step),
            Self::Pair(steps) => steps.as_slice(),
            Self::Merge(steps) => steps,
            _ => &[],
        }
    }

    /// A showtime or a deadline.
    async fn write_row(&self, db: &mut PgConnection) -> Result<Sequences, RowError<Rejection>> {
        match self {
            Self::Showtime(showtime) => put_showtime(db, showtime).await?,
            Self::ShowtimeCancelled(showtime) => cancel_showtime(db, showtime).await?,
            Self::ShowtimeChanged(showtime) => {
                let sequence = change_showtime(db, showtime).await?;
                return Ok(sequence.map(|sequence| (showtime.id, sequence)).into_iter().collect());
            }
            Self::Deadline { id, version, deadline } => {
                if !move_deadline(db, *id, *version, *deadline).await? {
                    return Err(RowError::Stale);
                }
            }
            Self::Step(_) | Self::Pair(_) | Self::Merge(_) => {}
        }
        Ok(Sequences::new())
    }
}

/// One step of a saga: the reservation as it is afterwards.
#[derive(Debug)]
pub struct Step {
    pub reservation: Reservation,
    pub log: Logged,
    pub seats: Seats,
    /// The rows that it adds to the ticket log.
    pub tickets: TicketChanges,
    /// Ends a hold that its customer did not pay.
    pub ends_unpaid: bool,
}

/// The step's entry in the saga's history.
#[derive(Debug, Default)]
pub struct Logged {
    /// Name of the input.
    pub input: &'static str,
    pub by: Option<Uuid>,
    pub detail: Option<String>,
}

impl Step {
    /// A new reservation that holds its seats.
    pub fn of_new(reservation: Reservation, bounds: Bounds, showtime_version: i64) -> Self {
        let log = Logged {
            input: "create",
            detail: reservation.saga.exchange_of.map(|old| format!("exchange of {old}")),
            ..Logged::default()
        };
        let tickets = TicketChanges::none(&reservation);
        let seats = Seats::New { bounds, showtime_version };
        Self { reservation, log, seats, tickets, ends_unpaid: false }
    }

    fn is_new(&self) -> bool {
        matches!(self.seats, Seats::New { .. })
    }

    /// Of a new reservation.
    fn bounds(&self) -> Option<&Bounds> {
        match &self.seats {
            Seats::New { bounds, .. } => Some(bounds),
            _ => None,
        }
    }

    /// The network whose open holds a new reservation counts to.
    fn network(&self) -> Option<&str> {
        self.bounds()?.network.as_ref().map(|network| network.name.as_str())
    }

    fn unpaid_ended_at(&self) -> Option<OffsetDateTime> {
        self.ends_unpaid.then(|| self.reservation.updated_at.date_time())
    }

    /// The showtimes whose seats it touches.
    fn showtimes(&self) -> impl Iterator<Item = Uuid> {
        let now = (self.seats != Seats::Keep).then_some(self.reservation.showtime_id);
        let before = match self.seats {
            Seats::Move { from_showtime, .. } => Some(from_showtime),
            _ => None,
        };
        now.into_iter().chain(before)
    }

    /// Whether it takes seats, for which locks are needed first.
    fn takes(&self) -> bool {
        matches!(self.seats, Seats::New { .. } | Seats::Reclaim | Seats::Move { .. })
    }

    /// Seats that it takes, which must be free.
    fn claimed(&self) -> impl Iterator<Item = &SeatId> {
        let showtime = self.reservation.showtime_id;
        self.seats_now().filter(move |seat| match &self.seats {
            Seats::New { .. } | Seats::Reclaim => true,
            Seats::Move { from_showtime, from_seats, .. } => {
                *from_showtime != showtime || !from_seats.contains(seat)
            }
            Seats::Keep | Seats::Sell | Seats::Free => false,
        })
    }

    /// Seats that it gives up, with their showtime.
    fn freed(&self) -> Vec<(Uuid, &SeatId)> {
        let reservation = &self.reservation;
        match &self.seats {
            Seats::Free => self.seats_now().map(|seat| (reservation.showtime_id, seat)).collect(),
            Seats::Move { from_showtime, from_seats, .. } => {
                let keeps =
                    |seat: &SeatId| *from_showtime == reservation.showtime_id && reservation.has_seat(seat);
                let given_up = from_seats.iter().filter(|seat| !keeps(seat));
                given_up.map(|seat| (*from_showtime, seat)).collect()
            }
            Seats::Keep | Seats::New { .. } | Seats::Sell | Seats::Reclaim => Vec::new(),
        }
    }

    fn seats_now(&self) -> impl Iterator<Item = &SeatId> {
        self.reservation.saga.terms.lines.iter().map(|line| &line.seat)
    }

    /// The new states of seats for the seat maps.
    fn changes(&self) -> Vec<(Uuid, SeatChange)> {
        let change = |showtime, seat: &SeatId, status| (showtime, SeatChange { id: seat.clone(), status });
        let taken: Vec<(&SeatId, SeatStatus)> = match self.seats {
            Seats::New { .. } => self.claimed().map(|seat| (seat, SeatStatus::Held)).collect(),
            Seats::Reclaim | Seats::Move { .. } => {
                self.claimed().map(|seat| (seat, SeatStatus::Sold)).collect()
            }
            Seats::Sell => self.seats_now().map(|seat| (seat, SeatStatus::Sold)).collect(),
            Seats::Keep | Seats::Free => Vec::new(),
        };
        let freed = self.freed().into_iter().map(|(showtime, seat)| change(showtime, seat, SeatStatus::Free));
        let showtime = self.reservation.showtime_id;
        freed.chain(taken.into_iter().map(|(seat, status)| change(showtime, seat, status))).collect()
    }
}

/// A step, with the index of its row in the batch.
struct Placed<'a> {
    row: usize,
    step: &'a Step,
}

impl std::ops::Deref for Placed<'_> {
    type Target = Step;
    fn deref(&self) -> &Step {
        self.step
    }
}

/// The showtimes whose seats a change touched, with their new sequences.
pub type Sequences = Vec<(Uuid, i64)>;

impl delivery::Rows for Rows {
    type Rejection = Rejection;
    type Written = Sequences;

    const GAUGES: &'static [delivery::Gauge] = &[
        ("sagas_attention", "select count(*) from reservations where attention"),
        ("holds_open", "select count(*) from reservations where status = 'PENDING'"),
        (
            "deadlines_oldest_seconds",
            "select extract(epoch from now() - min(deadline)) from reservations where deadline < now()",
        ),
    ];

    fn is_statement(&self) -> bool {
        !self.steps().is_empty()
    }

    fn statement(rows: &[&Self]) -> Statement {
        statement::of(&placed(rows))
    }

    fn lock<'a>(
        db: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<(), WriteError<Rejection>>> {
        async move { locks::lock(db, &placed(rows)).await }.boxed()
    }

    fn written(rows: &[&Self], written: &Value) -> Vec<Sequences> {
        let sequences: HashMap<Uuid, i64> = Deserialize::deserialize(written).unwrap_or_default();
        let touched = |rows: &&Self| -> Sequences {
            let showtimes: BTreeSet<Uuid> = rows.steps().iter().flat_map(Step::showtimes).collect();
            showtimes.into_iter().filter_map(|id| sequences.get(&id).map(|at| (id, *at))).collect()
        };
        rows.iter().map(touched).collect()
    }

    fn lost(rows: &[&Self], found: &Value) -> Vec<(usize, Loss<Rejection>)> {
        statement::lost(&placed(rows), found)
    }

    fn write<'a>(db: &'a mut PgConnection, rows: &'a [&'a Self]) -> BoxFuture<'a, Written<Vec<Sequences>>> {
        async move {
            let mut written = Vec::with_capacity(rows.len());
            for (index, row) in rows.iter().enumerate() {
                written.push(row.write_row(db).await.map_err(|error| error.at(index))?);
            }
            Ok(written)
        }
        .boxed()
    }

    /// One notice for each showtime with all its changes, and one for each reservation that existed before.
    fn notices(committed: &[(&Self, &Sequences)]) -> Vec<(String, Bytes)> {
        let mut halls: BTreeMap<(Uuid, i64), Vec<SeatChange>> = BTreeMap::new();
        let mut notices = Vec::new();
        for (rows, sequences) in committed {
            if let (Self::ShowtimeChanged(showtime), Some((_, sequence))) = (rows, sequences.first()) {
                let reload = SeatsChanged { sequence: *sequence, changes: vec![], reload: true };
                notices.push((seats_subject(showtime.id), json(&reload)));
            }
            for step in rows.steps() {
                for (showtime, change) in step.changes() {
                    let at = sequences.iter().find(|(id, _)| *id == showtime);
                    halls.entry((showtime, at.map_or(0, |(_, at)| *at))).or_default().push(change);
                }
                // Nobody knows the id of a new reservation yet.
                if !step.is_new() {
                    let (version, status) = (step.reservation.version, step.reservation.saga.status());
                    let changed = ReservationChanged { version, status };
                    notices.push((changed_subject(step.reservation.id), json(&changed)));
                }
            }
        }
        for ((showtime, sequence), changes) in halls {
            notices.push((seats_subject(showtime), json(&SeatsChanged { sequence, changes, reload: false })));
        }
        notices
    }
}

fn json<T: serde::Serialize>(notice: &T) -> Bytes {
    serde_json::to_vec(notice).expect("contract types are plain data and always serialize").into()
}

/// The steps of a batch in the order of their reservations.
fn placed<'a>(rows: &[&'a Rows]) -> Vec<Placed<'a>> {
    let places = rows.iter().enumerate();
    let mut steps: Vec<Placed> =
        places.flat_map(|(row, rows)| rows.steps().iter().map(move |step| Placed { row, step })).collect();
    steps.sort_by_key(|step| step.reservation.id);
    steps
}

/// Whether the reservation was at this version.
async fn move_deadline(
    db: &mut PgConnection,
    id: Uuid,
    version: i64,
    deadline: Option<Timestamp>,
) -> Result<bool, sqlx::Error> {
    let moved =
        sqlx::query("update reservation.reservations set deadline = $3 where id = $1 and version = $2")
            .bind(id)
            .bind(version)
            .bind(deadline.map(Timestamp::date_time))
            .execute(db)
            .await?;
    Ok(moved.rows_affected() == 1)
}
