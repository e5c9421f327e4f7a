//! The facts about an order: from this domain's projections, and from the other hosts what no event has brought yet.

use std::time::Duration;

use bus::Problem;
use bus::contract::movie::DescribeShowtime;
use bus::contract::reservation::DescribeReservation;
use bus::service::Ask;
use uuid::Uuid;

use super::Env;
use super::model::{Attendee, Facts, Mail, Showtime, Trouble};
use super::store::{self, EventRows, Write};
use crate::delivery::{Change, Outcome, read_failure};

/// Longest wait for another host.
pub const ASK_MAX: Duration = Duration::from_secs(5);

/// Requests what no event has brought yet, and stores it. `None`: there is no such reservation.
pub async fn complete(env: &Env, mail: &Mail, mut facts: Facts) -> Result<Option<Facts>, Trouble> {
    let Some(id) = mail.reservation_id else { return Ok(Some(facts)) };
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(mail.context.clone()) };
    let unanswered = |problem: Problem| Trouble::unanswered(&problem);
    // A row from before orders had codes has none.
    let is_whole = facts.attendee.as_ref().is_some_and(|attendee| attendee.reservation.code.is_some());
    if !is_whole {
        let Some(attendee) = attendee(env, id, &ask).await.map_err(unanswered)? else { return Ok(None) };
        let rows =
            EventRows { attendee: Some((attendee.clone(), mail.context.clone())), ..EventRows::default() };
        keep(env, rows).await;
        facts.attendee = Some(attendee);
    }
    let of_order = facts.attendee.as_ref().map(|attendee| attendee.reservation.showtime_id);
    if let (None, Some(id)) = (&facts.showtime, of_order) {
        facts.showtime = showtime(env, id, &ask).await.map_err(unanswered)?;
        if let Some(showtime) = facts.showtime.clone() {
            keep(env, EventRows { showtime: Some(showtime), ..EventRows::default() }).await;
        }
    }
    Ok(Some(facts))
}

/// The facts of an order at this moment. Its events may not have arrived yet, so reservation is asked. `None`: there is no
/// such reservation.
pub async fn now(env: &Env, id: Uuid, ask: &Ask) -> Result<Option<Facts>, Problem> {
    let Some(attendee) = attendee(env, id, ask).await? else { return Ok(None) };
    let of_order = attendee.reservation.showtime_id;
    let stored = store::showtime(&env.pool, of_order).await.map_err(read_failure)?;
    let showtime = match stored {
        Some(stored) => Some(stored),
        None => showtime(env, of_order, ask).await?,
    };
    Ok(Some(Facts { attendee: Some(attendee), showtime, siblings: vec![] }))
}

async fn attendee(env: &Env, id: Uuid, ask: &Ask) -> Result<Option<Attendee>, Problem> {
    let described = found(env.bus.ask(&DescribeReservation { id }, ask).await)?;
    Ok(described.map(|described| Attendee { status: described.status, reservation: described.reservation }))
}

/// `None`: it was deleted. The facts of the reservation are enough for a mail.
async fn showtime(env: &Env, id: Uuid, ask: &Ask) -> Result<Option<Showtime>, Problem> {
    Ok(found(env.bus.ask(&DescribeShowtime { id }, ask).await)?.map(Showtime::from))
}

fn found<T>(answer: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(problem) if problem.status == 404 => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Storing an answer only saves the next mail the request.
async fn keep(env: &Env, rows: EventRows) {
    let outcome = env.journal.commit(Change::new(Write::Event(Box::new(rows)))).await;
    if !matches!(outcome, Outcome::Committed { .. }) {
        tracing::info!(?outcome, "an answer was not stored");
    }
}
