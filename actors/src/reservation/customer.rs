//! The customer of an order: setting it before paying, a guest's orders that go to an account, and auth's requests about guests.
//!
//! Invariant: the orders of a guest go to an account in one change, all or none, and none while one is being paid: its money
//! could arrive for another owner than began to pay. Only a guest's orders go: by a forwarded link nobody takes an account's.

use bus::Problem;
use bus::contract::Timestamp;
use bus::contract::auth::{GetAddress, Role, UserMerged};
use bus::contract::reservation::{
    GetGuestOrder, GuestOrder, GuestsWithOrders, HoldLimitOf, ListGuestsWithOrders, MergeOrders,
    MergedOrders, Rejection, ReservationStatus, SetCustomer,
};
use bus::service::{Answered, Ask, Call, json};
use bus::token::Identity;
use uuid::Uuid;

use super::access::check;
use super::model::Reservation;
use super::requests::send_to_saga;
use super::saga::Input;
use super::store::{Rows, Step};
use super::{Env, actor, store};
use crate::delivery::{Change, read_failure};
use crate::domain::until_current;

/// Orders that go to an account at once: a guest's token is valid for an hour.
const MERGED_MAX: i64 = 200;

pub async fn set(env: Env, call: Call<SetCustomer>) -> Answered {
    let SetCustomer { id, email, name } = call.request.clone();
    send_to_saga(&env, call, id, Input::SetCustomer { email, name }).await
}

/// A repeated request finds the orders at the account and changes nothing: it needs no key.
pub async fn merge(env: Env, call: Call<MergeOrders>) -> Answered {
    let account = call.caller()?.clone();
    let holder = env.verifier.verify(&call.request.token).await.map_err(|problem| match problem.status {
        // Another 401 would be about the caller's own token.
        401 => Rejection::NoGuestToken.into(),
        _ => problem,
    })?;
    let merged = until_current(|| async {
        let orders = orders_of(&env, &holder, &account, &call).await?;
        commit(&env, orders, &account, &call).await
    })
    .await?;
    let now = env.clock.now();
    json(&MergedOrders { reservations: merged.iter().map(|order| order.view(now)).collect() })
}

/// The orders that the token gives away and the account does not have yet.
async fn orders_of(
    env: &Env,
    holder: &Identity,
    account: &Identity,
    call: &Call<MergeOrders>,
) -> Result<Vec<Reservation>, Problem> {
    let Some(order) = holder.order else {
        if holder.role != Role::Guest {
            return Err(Rejection::NoGuestToken.into());
        }
        return Ok(store::of_user(&env.pool, holder.user_id, MERGED_MAX).await.map_err(read_failure)?);
    };
    let found = env.reservations.get(order.reservation_id).await?;
    let found = found.filter(|found| check(found, holder).is_ok()).ok_or(Rejection::NoGuestToken)?;
    if found.user_id == account.user_id {
        return Ok(Vec::new());
    }
    // Both of a running exchange belong to one owner, and the link names one of them.
    if found.saga.is_in_exchange() {
        return Err(Rejection::ExchangeRunning.into());
    }
    let owner = GetAddress { user_id: found.user_id };
    if !env.bus.ask(&owner, &Ask::new(call.context.clone())).await?.guest {
        return Err(Rejection::NoGuestOrder.into());
    }
    if found.email.to_lowercase() != account.email.to_lowercase() {
        return Err(Rejection::MergeOtherAddress.into());
    }
    Ok(vec![found])
}

/// Changes the owner of the orders in one commit; `None` where one has changed since it was read.
async fn commit(
    env: &Env,
    orders: Vec<Reservation>,
    account: &Identity,
    call: &Call<MergeOrders>,
) -> Result<Option<Vec<Reservation>>, Problem> {
    let Some(guest_id) = orders.first().map(|order| order.user_id) else { return Ok(Some(orders)) };
    let now = env.clock.now();
    let input = Input::Merge { user_id: account.user_id, email: account.email.clone() };
    let (mut steps, mut outbox): (Vec<Step>, _) = (Vec::with_capacity(orders.len()), Vec::new());
    for before in &orders {
        let step = before.step(&input, now)?;
        let after = before.with(step.next, &input, now);
        outbox.extend(after.events(before, &step.events, input.by(), &call.context));
        steps.push(actor::row(before, &after, &input, &step.events));
    }
    check_holds(env, &orders, account, now).await?;
    let merged = steps.iter().map(|step| step.reservation.clone()).collect::<Vec<_>>();
    let event = UserMerged {
        guest_id,
        user_id: account.user_id,
        email: account.email.clone(),
        reservation_ids: merged.iter().map(|order| order.id).collect(),
    };
    outbox.push(env.event(&event, now, &call.context));
    let change = Change { outbox, ..Change::new(Rows::Merge(steps)) };
    Ok(env.commit(change).await?.map(|_| merged))
}

/// With a guest's holds an account may have no more than without. Read before the commit and not under its lock: the bound
/// of the network, which counts both, holds in any case.
async fn check_holds(
    env: &Env,
    orders: &[Reservation],
    account: &Identity,
    now: Timestamp,
) -> Result<(), Problem> {
    let is_pending = |order: &&Reservation| order.saga.status() == ReservationStatus::Pending;
    let new = orders.iter().filter(is_pending).count();
    if new == 0 {
        return Ok(());
    }
    let own = store::pending_of_user(&env.pool, account.user_id, now).await.map_err(read_failure)?;
    let most = env.settings.open_holds_max;
    if own.len() + new > most {
        return Err(Rejection::HoldLimit { of: HoldLimitOf::Orders, most }.into());
    }
    Ok(())
}

/// Answers auth, when a guest registers by the link in a mail.
pub async fn guest_order(env: Env, call: Call<GetGuestOrder>) -> Answered {
    let GetGuestOrder { reservation_id, access } = call.request;
    let found = env.reservations.get(reservation_id).await?.filter(|order| order.saga.access == access);
    let order = found.ok_or(Rejection::NoSuchReservation)?;
    let addresses = store::guest_addresses(&env.pool, order.user_id).await.map_err(read_failure)?;
    let has_other_addresses = addresses.len() > 1;
    json(&GuestOrder { user_id: order.user_id, email: order.email, has_other_addresses })
}

/// Answers auth, before it deletes guests.
pub async fn guests_with_orders(env: Env, call: Call<ListGuestsWithOrders>) -> Answered {
    let users: &[Uuid] = &call.request.user_ids;
    let user_ids = store::guests_with_orders(&env.pool, users).await.map_err(read_failure)?;
    json(&GuestsWithOrders { user_ids })
}
