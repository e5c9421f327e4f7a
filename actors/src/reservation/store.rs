//! Reservation's SQL. The steps of a batch are written by one statement; showtimes and deadlines, which are few, by a dialogue.

mod holds;
mod locks;
mod read;
mod report;
mod showtime;
mod statement;

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
use super::model::{Reservation, SeatWrite, Showtime};
use crate::delivery::{self, Loss, Statement, WriteError};

pub use holds::{UNPAID_ENDS_FOR, holders};
pub use read::{Filter, due, list, open_of_showtime, pending_of_user, reservations, sequences, snapshot};
pub use report::{cancellation, occupancy, sagas, steps};
pub use showtime::claimed;
use showtime::{cancel_showtime, change_showtime, put_showtime};

type Written<T> = Result<T, WriteError<Rejection>>;

/// What one change writes.
#[derive(Debug)]
pub enum Rows {
    /// The first version of a showtime that reaches this domain.
    Showtime(Showtime),
    /// A later version; one that is not newer changes nothing.
    ShowtimeChanged(Box<Showtime>),
    /// Nothing is sold any more.
    ShowtimeCancelled(Box<Showtime>),
    Step(Box<Step>),
    /// Two reservations at once: one and the new one that shall take its place.
    Pair(Box<[Step; 2]>),
    /// The sweep comes back later; nothing else changes, so that there is no new version.
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
            _ => &[],
        }
    }
}

/// One step of a saga: the reservation as it is afterwards.
#[derive(Debug)]
pub struct Step {
    pub reservation: Reservation,
    pub log: Logged,
    pub seats: SeatWrite,
    /// With [`SeatWrite::Exchange`]: the showtime and seats before.
    pub previous: Option<(Uuid, Vec<SeatId>)>,
    /// For a new reservation: how much may be held unpaid, itself included.
    pub bounds: Option<Bounds>,
    /// It ends a hold that its customer let go unpaid.
    pub ends_unpaid: bool,
    /// The showtime's version that new seats were chosen by: they and their prices are those.
    pub showtime_version: Option<i64>,
}

/// What the saga's history keeps of a step.
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
        let seats = SeatWrite::Claim(SeatStatus::Held);
        Self {
            reservation,
            log,
            seats,
            previous: None,
            bounds: Some(bounds),
            ends_unpaid: false,
            showtime_version: Some(showtime_version),
        }
    }

    fn is_new(&self) -> bool {
        self.reservation.version == 1
    }

    /// The network whose open holds a new reservation counts to.
    fn network(&self) -> Option<&str> {
        self.bounds.as_ref()?.network.as_ref().map(|network| network.name.as_str())
    }

    fn unpaid_ended_at(&self) -> Option<OffsetDateTime> {
        self.ends_unpaid.then(|| self.reservation.updated_at.date_time())
    }

    /// The showtimes whose seats it touches.
    fn showtimes(&self) -> impl Iterator<Item = Uuid> {
        let now = (self.seats != SeatWrite::Keep).then_some(self.reservation.showtime_id);
        now.into_iter().chain(self.previous.as_ref().map(|(showtime, _)| *showtime))
    }

    /// Whether it takes seats, for which locks are needed first.
    fn takes(&self) -> bool {
        matches!(self.seats, SeatWrite::Claim(_) | SeatWrite::Exchange)
    }

    /// Seats that it takes, which must be free.
    fn claimed(&self) -> impl Iterator<Item = &SeatId> {
        let takes = self.takes();
        let had = self.previous.as_ref().filter(|(showtime, _)| *showtime == self.reservation.showtime_id);
        let new = move |seat: &&SeatId| takes && !had.is_some_and(|(_, seats)| seats.contains(seat));
        self.seats_now().filter(new)
    }

    /// Seats that it gives up, of which showtime.
    fn freed(&self) -> impl Iterator<Item = (Uuid, &SeatId)> {
        let reservation = &self.reservation;
        let (showtime, seats): (Uuid, Vec<&SeatId>) = match (&self.previous, self.seats) {
            (Some((showtime, seats)), _) => (*showtime, seats.iter().collect()),
            (None, SeatWrite::Free) => (reservation.showtime_id, self.seats_now().collect()),
            (None, _) => (reservation.showtime_id, Vec::new()),
        };
        let keeps = self.previous.is_some() && showtime == reservation.showtime_id;
        let given = move |seat: &&SeatId| !(keeps && reservation.has_seat(seat));
        seats.into_iter().filter(given).map(move |seat| (showtime, seat))
    }

    fn seats_now(&self) -> impl Iterator<Item = &SeatId> {
        self.reservation.saga.terms.lines.iter().map(|line| &line.seat)
    }

    /// What the seat maps show afterwards.
    fn changes(&self) -> Vec<(Uuid, SeatChange)> {
        let change = |showtime, seat: &SeatId, status| (showtime, SeatChange { id: seat.clone(), status });
        let showtime = self.reservation.showtime_id;
        let mut changes: Vec<_> =
            self.freed().map(|(showtime, seat)| change(showtime, seat, SeatStatus::Free)).collect();
        match self.seats {
            SeatWrite::Sell => {
                changes.extend(self.seats_now().map(|seat| change(showtime, seat, SeatStatus::Sold)));
            }
            SeatWrite::Claim(status) => {
                changes.extend(self.claimed().map(|seat| change(showtime, seat, status)));
            }
            SeatWrite::Exchange => {
                changes.extend(self.claimed().map(|seat| change(showtime, seat, SeatStatus::Sold)));
            }
            SeatWrite::Keep | SeatWrite::Free => {}
        }
        changes
    }
}

/// A step, and which of the batch's rows it is of.
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

    fn statement(rows: &[&Self]) -> Option<Statement> {
        rows.iter().all(|rows| !rows.steps().is_empty()).then(|| statement::of(&placed(rows)))
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
        write_dialogue(db, rows).boxed()
    }

    fn lock_keys(&self) -> Vec<String> {
        let keys = |step: &Step| -> Vec<String> {
            step.claimed().map(|seat| format!("{}/{seat}", step.reservation.showtime_id)).collect()
        };
        self.steps().iter().flat_map(keys).collect()
    }

    /// One notice a showtime with all its changes, and one a reservation.
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
                let reservation = &step.reservation;
                let changed =
                    ReservationChanged { version: reservation.version, status: reservation.saga.status() };
                notices.push((changed_subject(reservation.id), json(&changed)));
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

/// Showtimes and deadlines are written apart from steps.
async fn write_dialogue(db: &mut PgConnection, rows: &[&Rows]) -> Written<Vec<Sequences>> {
    let others: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].steps().is_empty()).collect();
    if others.len() < rows.len() {
        return Err(WriteError::Short(others));
    }
    let mut changed = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let mut sequences = Sequences::new();
        match row {
            Rows::Showtime(showtime) => put_showtime(db, showtime).await?,
            Rows::ShowtimeCancelled(showtime) => cancel_showtime(db, showtime).await?,
            Rows::ShowtimeChanged(showtime) => match change_showtime(db, showtime).await {
                Ok(sequence) => sequences.extend(sequence.map(|sequence| (showtime.id, sequence))),
                Err(WriteError::Rejected(why)) => {
                    return Err(WriteError::Lost(vec![(index, Loss::Rejected(why))]));
                }
                Err(error) => return Err(error),
            },
            Rows::Deadline { id, version, deadline } => {
                if !move_deadline(db, *id, *version, *deadline).await? {
                    return Err(WriteError::Lost(vec![(index, Loss::Stale)]));
                }
            }
            Rows::Step(_) | Rows::Pair(_) => {}
        }
        changed.push(sequences);
    }
    Ok(changed)
}
