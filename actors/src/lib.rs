//! The domains as supervised trees of actors, and what they share: delivery and supervision.
//!
//! Invariant: a domain never imports another domain; it sends a message.
//! Invariant: only `store.rs` files and `delivery/` speak SQL; only `config.rs` files read the environment.

pub mod config;
pub mod delivery;
pub mod domain;
pub mod entity_shell;
pub mod fsck;
pub mod host;
pub mod inspection;
pub mod migrations;
pub mod supervision;

pub mod auth;
pub mod movie;
pub mod notification;
pub mod payment;
pub mod reservation;
pub mod scheduler;

mod periodic;
mod seat_column;
pub mod seed;
mod shares;
mod site_copy;
mod zone;

#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
#[cfg(test)]
mod model_check;

/// Every domain, in the order in which a deployment starts their hosts. A new domain is registered here and nowhere else.
pub static DOMAINS: [domain::Domain; 6] = [
    auth::DOMAIN,
    movie::DOMAIN,
    reservation::DOMAIN,
    payment::DOMAIN,
    notification::DOMAIN,
    scheduler::DOMAIN,
];
