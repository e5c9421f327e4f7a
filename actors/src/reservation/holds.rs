//! How much may be held without paying: by one account, of one showtime, from one network, and how soon again.
//!
//! Pure: the store counts open holds under the locks of account and network, in the transaction that writes the new hold; this
//! file compares them with the bounds. Staff are bound by the number of their open holds alone, and their network is not
//! stored: at a counter they hold seats for others, from one address. A guest is new with each visit, so that the bounds of an
//! account do not hold it: what does is its network's number of holds and share of a hall.

use std::net::IpAddr;
use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::reservation::{CancelReason, HoldLimitOf, Rejection, ReservationStatus};
use bus::contract::{Money, Timestamp};
use bus::network;

use super::saga::{Input, Saga, State};
use crate::config::ReservationSettings;

/// Orders of so few seats are not counted against a network's share of a hall: a crowd behind one address is many
/// people with a seat or two each, a hall that is held to be empty is a few accounts with many.
const SMALL_ORDER: usize = 2;
/// Small orders of guests count where their network holds more seats of the showtime than this and than its share: a guest costs
/// one request, an account an address and a password.
const GUEST_CROWD: usize = 60;

/// The bounds of one new hold; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub open_holds: usize,
    /// Unpaid seats of the account in the showtime.
    pub showtime_seats: Option<usize>,
    pub cooldown: Option<Cooldown>,
    pub network: Option<NetworkBounds>,
}

/// Bounds of the network's unpaid holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkBounds {
    pub name: String,
    pub holds: usize,
    /// Seats of the showtime, where other accounts of the network hold some as well.
    pub showtime_seats: Option<usize>,
}

/// Two holds that ended unpaid no further than `within` apart: the next one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    pub wait: Duration,
    pub within: Duration,
}

/// The unpaid holds, the new one included.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub open_holds: usize,
    pub showtime_seats: usize,
    pub network_holds: usize,
    /// Of the showtime, by all accounts of the network.
    pub network_seats: usize,
    pub network_seats_of_others: usize,
    /// The account's two newest holds that ended unpaid, the newest first.
    pub unpaid_ends: Vec<Timestamp>,
}

/// The customer who orders, with the client's address.
pub struct Customer {
    pub role: Role,
    /// The e-mail address was proven when the access token was signed.
    pub is_proven: bool,
    pub address: Option<IpAddr>,
}

impl Bounds {
    /// How many of an account's holds that ended unpaid are counted.
    pub const UNPAID_ENDS: usize = 2;

    /// For an order of `seats` in a hall that sells `capacity`.
    pub fn of_order(
        settings: &ReservationSettings,
        customer: &Customer,
        seats: usize,
        capacity: usize,
    ) -> Self {
        let bounds = Self::of_exchange(settings, customer.role);
        let Some(limits) = settings.limits.as_ref().filter(|_| customer.role < Role::Admin) else {
            return bounds;
        };
        let within = settings.hold_max + settings.grace + limits.cooldown;
        let cooldown = Cooldown { wait: limits.cooldown, within };
        let of_hall = capacity * usize::from(limits.network_percent) / 100;
        let share = match customer.role {
            Role::Guest if seats <= SMALL_ORDER => Some(of_hall.max(GUEST_CROWD)),
            _ => (seats > SMALL_ORDER).then_some(of_hall),
        };
        let network = customer.address.map(|address| NetworkBounds {
            name: network::name(address),
            holds: limits.holds_per_network_max,
            showtime_seats: share,
        });
        Self { cooldown: Some(cooldown).filter(|cooldown| !cooldown.wait.is_zero()), network, ..bounds }
    }

    /// For the unpaid hold of a dearer exchange. Its customer has paid for seats already and has one such hold a
    /// reservation, so that it neither waits nor counts to a network.
    pub fn of_exchange(settings: &ReservationSettings, role: Role) -> Self {
        let limits = settings.limits.as_ref().filter(|_| role < Role::Admin);
        Self {
            open_holds: settings.open_holds_max,
            showtime_seats: limits.map(|limits| limits.seats_per_showtime_max),
            cooldown: None,
            network: None,
        }
    }

    /// Why the new hold is refused, if it is.
    pub fn refusal(&self, held: &Held, now: Timestamp) -> Option<Rejection> {
        let limit =
            |of, count: usize, most: usize| (count > most).then_some(Rejection::HoldLimit { of, most });
        let by_account = limit(HoldLimitOf::Orders, held.open_holds, self.open_holds);
        let of_showtime = || limit(HoldLimitOf::Seats, held.showtime_seats, self.showtime_seats?);
        let by_network = || {
            let bounds = self.network.as_ref()?;
            let share = bounds.showtime_seats.filter(|_| held.network_seats_of_others > 0);
            limit(HoldLimitOf::Network, held.network_holds, bounds.holds)
                .or_else(|| limit(HoldLimitOf::Network, held.network_seats, share?))
        };
        let waits = || self.cooldown?.until(&held.unpaid_ends, now);
        by_account.or_else(of_showtime).or_else(by_network).or_else(waits)
    }
}

impl Cooldown {
    fn until(self, unpaid_ends: &[Timestamp], now: Timestamp) -> Option<Rejection> {
        let [last, before, ..] = unpaid_ends else { return None };
        let retry_at = last.plus(self.wait);
        let both = before.plus(self.within) >= *last;
        (both && now < retry_at).then_some(Rejection::HoldCooldown { retry_at, now })
    }
}

/// An order that costs nothing is refused to customers whose e-mail address is not proven.
pub fn may_order(settings: &ReservationSettings, customer: &Customer, total: Money) -> Result<(), Rejection> {
    let needs_proof = settings.limits.as_ref().is_some_and(|limits| limits.free_needs_proof);
    let is_known = customer.is_proven || customer.role >= Role::Admin;
    if needs_proof && total.amount == 0 && !is_known { Err(Rejection::EmailUnproven) } else { Ok(()) }
}

/// Whether a step ends a hold unpaid by its customer's doing. Exchanges do not count, nor what staff, a showtime's cancellation
/// or a failed payment ended, nor a hold whose payment did not answer until its grace was over.
pub fn ends_unpaid(before: &Saga, after: &Saga, input: &Input) -> bool {
    if before.status() != ReservationStatus::Pending || before.exchange_of.is_some() {
        return false;
    }
    let State::Cancelled { reason } = &after.state else { return false };
    match reason {
        CancelReason::UserRequest => true,
        CancelReason::HoldExpired => {
            !(matches!(before.state, State::Ending { .. }) && matches!(input, Input::Deadline))
        }
        CancelReason::PaymentFailed
        | CancelReason::ShowtimeCancelled
        | CancelReason::Admin
        | CancelReason::Exchanged => false,
    }
}
