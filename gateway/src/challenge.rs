//! Where a challenge (a CAPTCHA, a proof of work) can be required before an account is registered and before seats are
//! ordered. There is none by default: everything passes.
//!
//! To add one, implement [`Challenge`] and set it in [`crate::start`], before the gateway serves:
//! `house.challenge.set(Box::new(…))`. Which routes ask it is told by their rows (`challenged()` in `routes.rs`). It is
//! asked after token and rate limit and before the body is read, so that a refusal costs little; a client sends its
//! solution in a header, which CORS and the page then have to know. A refusal is a [`Problem`], such as 403 `challenge`.

use std::net::IpAddr;

use bus::contract::Problem;
use futures::future::BoxFuture;
use poem::http::HeaderMap;
use uuid::Uuid;

/// A request that may have to be preceded by a challenge.
pub struct Challenged<'a> {
    /// The `operationId`, such as `createReservation`.
    pub operation: &'static str,
    pub headers: &'a HeaderMap,
    pub client: IpAddr,
    /// None before registering.
    pub user_id: Option<Uuid>,
}

/// Decides whether a request may pass.
pub trait Challenge: Send + Sync {
    fn check<'a>(&'a self, request: Challenged<'a>) -> BoxFuture<'a, Result<(), Problem>>;
}
