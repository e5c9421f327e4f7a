//! Giving back single tickets of a confirmed reservation, and the plan of it: the others stay as they were sold.
//!
//! Invariant: what is left is an order that could be bought. Nothing is quoted anew: its lines keep their prices.
//! Invariant: a plan applies to the version of the reservation that it was made on, and to no other.

use bus::Problem;
use bus::contract::auth::Role;
use bus::contract::reservation::{
    CancelReservation, CancellationPlan, PlanCancellation, Rejection, ReservationPlan, ReservationStatus,
};
use bus::contract::tariff::{TariffType, taxes, unaccompanied};
use bus::contract::{FeeLine, Line, Money, SeatId, TariffCode, Timestamp};
use bus::service::{Answered, Call, json};
use bus::token::Identity;

use super::model::{Reservation, Showtime};
use super::requests::{find, key, once, send};
use super::saga::{Cancel, CancelledBy, Input, Place, Return, SagaEvent};
use super::seat_map::SeatMap;
use super::{Env, showtime, sold_together};

/// Tries of one request whose reservation changes between reading and writing.
const TRIES_MAX: u32 = 8;

/// Gives these seats back, or cancels the reservation if they are all that it has.
pub async fn give_back(
    env: &Env,
    call: Call<CancelReservation>,
    seats: &[SeatId],
    cancel: Cancel,
) -> Answered {
    let key = key(&call)?;
    let tried = async {
        let mut tries = 0;
        loop {
            tries += 1;
            let old = find(env, &call, call.request.id).await?;
            let now = env.clock.now();
            let input = plan(env, &old, seats, cancel.clone(), now).await?;
            let is_other = cancel.planned_on.is_some_and(|seen| seen != old.version);
            if is_other && old.saga.status() == ReservationStatus::Confirmed {
                return Err(Rejection::PlanChanged(Some(reservation_plan(&old, &input, now)?)).into());
            }
            match send(env, &call, old.id, input, key.clone()).await {
                Err(problem) if problem.code == "plan-changed" && tries < TRIES_MAX => {}
                answered => return answered,
            }
        }
    };
    once(env, &key, tried).await
}

/// Answers what would be given back for these seats, and what would be left.
pub async fn preview(env: Env, call: Call<PlanCancellation>) -> Answered {
    let old = find(&env, &call, call.request.id).await?;
    if old.saga.status() != ReservationStatus::Confirmed {
        return Err(Rejection::NotConfirmed.into());
    }
    let (now, percent) = (env.clock.now(), call.request.refund_percent);
    let cancel = by_caller(call.caller()?, Some(&old), percent)?;
    let input = plan(&env, &old, &call.request.seats, cancel, now).await?;
    json(&as_plan(&old, &input, now)?)
}

/// The cancellation that a caller requests of this reservation. Staff alone choose the share of the money.
pub fn by_caller(
    caller: &Identity,
    of: Option<&Reservation>,
    percent: Option<u8>,
) -> Result<Cancel, Rejection> {
    if percent.is_some() && caller.role < Role::Admin {
        return Err(Rejection::RefundByStaffOnly);
    }
    let is_own = caller.order.is_some() || of.is_some_and(|found| found.user_id == caller.user_id);
    // Staff who set the refund's amount act as staff, also on their own seats.
    let by = if is_own && percent.is_none() { CancelledBy::User } else { CancelledBy::Admin };
    // The token of an order does not say who its holder is.
    let person = caller.order.is_none().then_some(caller.user_id);
    Ok(Cancel { person, percent, ..Cancel::by(by) })
}

async fn plan(
    env: &Env,
    old: &Reservation,
    seats: &[SeatId],
    cancel: Cancel,
    now: Timestamp,
) -> Result<Input, Problem> {
    let hall = showtime::read(old.showtime_id, env).await?.ok_or(Rejection::NoSuchShowtime)?;
    Ok(choose(old, seats, cancel, &hall.showtime, now)?)
}

/// The input that gives these seats back, for the reservation as it was read.
pub fn choose(
    old: &Reservation,
    seats: &[SeatId],
    cancel: Cancel,
    showtime: &Showtime,
    now: Timestamp,
) -> Result<Input, Rejection> {
    let foreign: Vec<SeatId> = seats.iter().filter(|seat| !old.has_seat(seat)).cloned().collect();
    if !foreign.is_empty() {
        return Err(Rejection::NotYourSeats(foreign));
    }
    let planned_on = cancel.planned_on.unwrap_or(old.version);
    let (seats, left): (Vec<SeatId>, Vec<SeatId>) =
        old.seats().into_iter().partition(|seat| seats.contains(seat));
    if left.is_empty() {
        return Ok(Input::Cancel(Cancel { planned_on: Some(planned_on), ..cancel }));
    }
    old.saga.may_return(now)?;
    let rest = rest(old, &left, showtime.version, planned_on);
    could_be_bought(&rest.lines, showtime)?;
    Ok(Input::Return(Box::new(Return { seats, rest, cancel })))
}

/// The reservation with only these seats: a fee of a ticket falls away with it, a fee of the order stays.
fn rest(old: &Reservation, left: &[SeatId], showtime_version: i64, planned_on: i64) -> Place {
    let terms = &old.saga.terms;
    let lines: Vec<Line> = terms.lines.iter().filter(|line| left.contains(&line.seat)).cloned().collect();
    let stays = |fee: &&FeeLine| fee.seat.as_ref().is_none_or(|seat| left.contains(seat));
    let fees: Vec<FeeLine> = terms.fees.iter().filter(stays).cloned().collect();
    let prices = lines.iter().map(|line| line.price.amount).chain(fees.iter().map(|fee| fee.price.amount));
    Place {
        planned_on,
        showtime_id: old.showtime_id,
        showtime_version,
        movie_id: old.movie_id,
        movie_title: old.movie_title.clone(),
        starts_at: terms.starts_at,
        total: Money { amount: prices.sum(), ..terms.total },
        lines,
        fees,
    }
}

/// Whether these tickets could be an order of their own, apart from their prices: they are paid already. Seats and types that the
/// showtime does not sell any more have no rule.
fn could_be_bought(lines: &[Line], showtime: &Showtime) -> Result<(), Rejection> {
    let map = SeatMap::new(&showtime.layout, &showtime.tariff.prices(), 0);
    let place = |line: &Line| map.seats().iter().position(|seat| seat.id == line.seat);
    let order: Vec<usize> = lines.iter().filter_map(place).collect();
    let seats = match sold_together::check(&map, &order) {
        Ok(()) => Vec::new(),
        Err(Rejection::CompanionAlone(seats) | Rejection::UnitSplit(seats)) => seats,
        Err(other) => return Err(other),
    };
    let types: Vec<&TariffType> =
        lines.iter().filter_map(|line| showtime.tariff.find(&line.ticket_type)).collect();
    let ticket_types: Vec<TariffCode> =
        unaccompanied(&types).map_or(Vec::new(), |(alone, needs)| vec![alone, needs]);
    if seats.is_empty() && ticket_types.is_empty() {
        return Ok(());
    }
    Err(Rejection::OrderIncomplete { seats, ticket_types })
}

/// What the input would change, by the step that it would be.
pub fn as_plan(old: &Reservation, input: &Input, now: Timestamp) -> Result<CancellationPlan, Rejection> {
    let terms = &old.saga.terms;
    let step = old.saga.step(input, now)?;
    // One for each capture that gives money back.
    let refunds = step.events.iter().filter_map(|event| match event {
        SagaEvent::RefundRequested(refund) => Some(refund.total.amount),
        _ => None,
    });
    let nothing = Money { amount: 0, ..terms.total };
    let refund = Money { amount: refunds.sum(), ..nothing };
    let (seats, lines, fees, total) = match input {
        Input::Return(back) => {
            let Place { lines, fees, total, .. } = &back.rest;
            (back.seats.clone(), lines.clone(), fees.clone(), *total)
        }
        _ => (old.seats(), Vec::new(), Vec::new(), nothing),
    };
    Ok(CancellationPlan {
        version: old.version,
        seats,
        refund,
        until: terms.refund_applies_until(now),
        taxes: taxes(&lines, &fees),
        lines,
        fees,
        total,
    })
}

fn reservation_plan(old: &Reservation, input: &Input, now: Timestamp) -> Result<ReservationPlan, Rejection> {
    let CancellationPlan { version, total, refund, .. } = as_plan(old, input, now)?;
    Ok(ReservationPlan { version, total, refund, payable: Money { amount: 0, ..total } })
}
