//! Reservation's SQL. Everything a batch writes is set-based; tables in the order users, showtimes, reservations, claims,
//! steps; rows sorted. Counts tell whether every row found the owner and version that it expects.

mod claims;
mod holds;
mod read;
mod report;
mod showtime;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bus::contract::movie::ShowtimeStatus;
use bus::contract::reservation::{
    Rejection, ReservationChanged, SeatChange, SeatStatus, SeatsChanged, changed_subject, seats_subject,
};
use bus::contract::{SeatId, Timestamp};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::holds::Bounds;
use super::model::{Reservation, SeatWrite, Showtime};
use super::saga::{READDRESS, Saga};
use crate::database::seat_column;
use crate::delivery::{self, WriteError};

use claims::{raise_sequences, write_claims};
use holds::check_holds;
pub use holds::{UNPAID_ENDS_FOR, holders};
pub use read::{Filter, due, list, open_of_showtime, pending_of_user, reservations, sequences, snapshot};
pub use report::{cancellation, occupancy, sagas, steps};
pub use showtime::claimed;
use showtime::{cancel_showtime, change_showtime, check_still_there, put_showtime};

type Written<T> = Result<T, WriteError<Rejection>>;

/// What one change writes.
#[derive(Debug)]
pub enum Rows {
    /// A showtime as movie told it.
    Showtime(Showtime),
    /// Later words of movie; a version that is not newer changes nothing.
    ShowtimeChanged(Box<Showtime>),
    /// Nothing is sold any more.
    ShowtimeCancelled(Box<Showtime>),
    Step(Box<Step>),
    /// Two reservations at once: one and the new one that shall take its place.
    Pair(Box<[Step; 2]>),
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

/// What the saga's log says of a step.
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

    /// Seats that it takes, which must be free.
    fn claimed(&self) -> impl Iterator<Item = &SeatId> {
        let takes = matches!(self.seats, SeatWrite::Claim(_) | SeatWrite::Exchange);
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

/// Those of the steps that came up short, for the journal to take out of the batch; alone, a step is told why.
fn short<'a>(
    steps: impl Iterator<Item = &'a Placed<'a>>,
    alone: bool,
    why: impl FnOnce() -> WriteError<Rejection>,
) -> WriteError<Rejection> {
    if alone { why() } else { WriteError::Short(steps.map(|step| step.row).collect()) }
}

/// The showtimes whose seats a change touched, with their new sequences.
pub type Sequences = Vec<(Uuid, i64)>;

impl delivery::Rows for Rows {
    type Rejection = Rejection;
    type Written = Sequences;

    fn write<'a>(db: &'a mut PgConnection, rows: &'a [&'a Self]) -> BoxFuture<'a, Written<Vec<Sequences>>> {
        write(db, rows).boxed()
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

async fn write(db: &mut PgConnection, rows: &[&Rows]) -> Written<Vec<Sequences>> {
    let alone = rows.len() == 1;
    let mut changed = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        match row {
            Rows::Showtime(showtime) => put_showtime(db, showtime).await?,
            Rows::ShowtimeChanged(showtime) => match change_showtime(db, showtime).await {
                Ok(Some(sequence)) => drop(changed.insert(index, vec![(showtime.id, sequence)])),
                Ok(None) => {}
                Err(WriteError::Rejected(_)) if !alone => return Err(WriteError::Short(vec![index])),
                Err(error) => return Err(error),
            },
            Rows::ShowtimeCancelled(showtime) => cancel_showtime(db, showtime).await?,
            Rows::Step(_) | Rows::Pair(_) => {}
        }
    }
    let places = rows.iter().enumerate();
    let mut steps: Vec<Placed> =
        places.flat_map(|(row, rows)| rows.steps().iter().map(move |step| Placed { row, step })).collect();
    steps.sort_by_key(|step| step.reservation.id);
    if steps.is_empty() {
        return Ok((0..rows.len()).map(|index| changed.remove(&index).unwrap_or_default()).collect());
    }
    check_holds(db, &steps, alone).await?;
    let sequences = raise_sequences(db, &steps, alone).await?;
    check_still_there(db, &steps, alone).await?;
    write_reservations(db, &steps, alone).await?;
    move_reservations(db, &steps).await?;
    readdress(db, &steps).await?;
    write_claims(db, &steps, alone).await?;
    let of = |(index, rows): (usize, &&Rows)| {
        let touched: BTreeSet<Uuid> = rows.steps().iter().flat_map(Step::showtimes).collect();
        let touched = touched.into_iter().filter_map(|id| sequences.get(&id).map(|at| (id, *at)));
        changed.remove(&index).unwrap_or_else(|| touched.collect())
    };
    Ok(rows.iter().enumerate().map(of).collect())
}

/// New reservations, later versions of known ones, and the saga's log, in one round trip.
async fn write_reservations(db: &mut PgConnection, steps: &[Placed<'_>], alone: bool) -> Written<()> {
    let (new, old): (Vec<&Placed>, Vec<&Placed>) = steps.iter().partition(|step| step.is_new());
    let networks: Vec<Option<&str>> = new.iter().map(|step| step.step.network()).collect();
    let unpaid_ends: Vec<Option<OffsetDateTime>> = old.iter().map(|step| step.unpaid_ended_at()).collect();
    let new: Vec<&Reservation> = new.into_iter().map(|step| &step.step.reservation).collect();
    let old: Vec<&Reservation> = old.into_iter().map(|step| &step.step.reservation).collect();
    let each = |get: fn(&Reservation) -> String| new.iter().map(|r| get(r)).collect::<Vec<String>>();
    let updated: Vec<Uuid> = sqlx::query_scalar(
        "with made as (
           insert into reservation.reservations (id, user_id, email, showtime_id, movie_id, movie_title, starts_at,
             seats, total, currency, version, status, checkpoint, deadline, created_at, updated_at, network)
           select id, user_id, email, showtime_id, movie_id, movie_title, starts_at,
             string_to_array(seats, ','), total, currency, 1, status, checkpoint::jsonb, deadline, created_at, created_at,
             network
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[],
             $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[],
             $29::text[])
             as new (id, user_id, email, showtime_id, movie_id, movie_title, starts_at,
               seats, total, currency, status, checkpoint, deadline, created_at, network)),
         logged as (
           insert into reservation.saga_steps (reservation_id, version, input, state, at, by, detail)
           select * from unnest($22::uuid[], $23::bigint[], $24::text[], $25::text[], $26::timestamptz[], $27::uuid[],
             $28::text[])
           -- taken only where another host has moved on, which the missing id below tells
           on conflict do nothing),
         updated as (
           update reservation.reservations as known set version = new.version, status = new.status,
             checkpoint = new.checkpoint::jsonb, deadline = new.deadline, attention = new.attention,
             updated_at = new.updated_at,
             network = case when new.status = 'PENDING' then known.network end,
             unpaid_ended_at = case when new.status = 'CANCELLED'
               then coalesce(new.unpaid_ended_at, known.unpaid_ended_at) end
           from unnest($15::uuid[], $16::bigint[], $17::text[], $18::text[], $19::timestamptz[], $20::bool[],
             $21::timestamptz[], $30::timestamptz[])
             as new (id, version, status, checkpoint, deadline, attention, updated_at, unpaid_ended_at)
           where known.id = new.id and known.version = new.version - 1
           returning known.id)
         select id from updated",
    )
    .bind(new.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(new.iter().map(|r| r.user_id).collect::<Vec<_>>())
    .bind(each(|r| r.email.clone()))
    .bind(new.iter().map(|r| r.showtime_id).collect::<Vec<_>>())
    .bind(new.iter().map(|r| r.movie_id).collect::<Vec<_>>())
    .bind(each(|r| r.movie_title.clone()))
    .bind(new.iter().map(|r| r.starts_at.date_time()).collect::<Vec<_>>())
    .bind(each(|r| seat_column(&r.seats())))
    .bind(new.iter().map(|r| r.saga.terms.total.amount).collect::<Vec<_>>())
    .bind(each(|r| r.saga.terms.total.currency.as_str().to_owned()))
    .bind(each(|r| r.saga.status().as_str().to_owned()))
    .bind(each(|r| checkpoint(&r.saga)))
    .bind(new.iter().map(|r| r.saga.deadline().map(Timestamp::date_time)).collect::<Vec<_>>())
    .bind(new.iter().map(|r| r.created_at.date_time()).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.version).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.saga.status().as_str()).collect::<Vec<_>>())
    .bind(old.iter().map(|r| checkpoint(&r.saga)).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.saga.deadline().map(Timestamp::date_time)).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.saga.needs_attention()).collect::<Vec<_>>())
    .bind(old.iter().map(|r| r.updated_at.date_time()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.id).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.version).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.log.input).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.saga.state.name().as_str()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.reservation.updated_at.date_time()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.log.by).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.log.detail.as_deref()).collect::<Vec<_>>())
    .bind(networks)
    .bind(unpaid_ends)
    .fetch_all(db)
    .await?;
    if updated.len() == old.len() {
        return Ok(());
    }
    let updated: HashSet<Uuid> = updated.into_iter().collect();
    let stale = steps.iter().filter(|step| !step.is_new() && !updated.contains(&step.reservation.id));
    Err(short(stale, alone, || WriteError::Stale))
}

/// Where an exchange has led. Rare, so that the common update stays narrow.
async fn move_reservations(db: &mut PgConnection, steps: &[Placed<'_>]) -> Result<(), sqlx::Error> {
    for step in steps.iter().filter(|step| step.previous.is_some()) {
        let r = &step.reservation;
        sqlx::query(
            "update reservation.reservations set showtime_id = $3, movie_id = $4, movie_title = $5, starts_at = $6,
               seats = $7, total = $8
             where id = $1 and version = $2",
        )
        .bind(r.id)
        .bind(r.version)
        .bind(r.showtime_id)
        .bind(r.movie_id)
        .bind(&r.movie_title)
        .bind(r.starts_at.date_time())
        .bind(r.saga.terms.lines.iter().map(|line| line.seat.as_str()).collect::<Vec<_>>())
        .bind(r.saga.terms.total.amount)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Where mails go from now on. Rare, as moving is.
async fn readdress(db: &mut PgConnection, steps: &[Placed<'_>]) -> Result<(), sqlx::Error> {
    for step in steps.iter().filter(|step| step.log.input == READDRESS) {
        let reservation = &step.reservation;
        sqlx::query("update reservation.reservations set email = $3 where id = $1 and version = $2")
            .bind(reservation.id)
            .bind(reservation.version)
            .bind(&reservation.email)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

fn checkpoint(saga: &Saga) -> String {
    serde_json::to_string(saga).expect("a checkpoint is plain data and always serializes")
}

fn status_text(status: ShowtimeStatus) -> &'static str {
    match status {
        ShowtimeStatus::OnSale => "ON_SALE",
        ShowtimeStatus::Cancelled => "CANCELLED",
    }
}
