//! The extension point for a challenge (a CAPTCHA, a proof of work) before an account is registered and before seats are
//! ordered. By default there is none.
//!
//! To add one, implement [`Challenge`] and pass it to `Shared::new` in [`crate::start`]. The rows of the challenged
//! routes are marked (`challenged()` in `routes.rs`). It is checked after token and rate limit and before the body is
//! read, so a refusal costs little. A client sends its solution in a header; CORS and the page must then allow it. A
//! refusal is a [`Problem`], such as 403 `challenge`.

use std::net::IpAddr;

use bus::contract::Problem;
use futures::future::BoxFuture;
use poem::http::HeaderMap;
use uuid::Uuid;

/// A request that may need a solved challenge.
pub struct Challenged<'a> {
    /// The `operationId`, such as `createReservation`.
    pub operation: &'static str,
    pub headers: &'a HeaderMap,
    pub client: IpAddr,
    /// `None` where the caller has no account yet.
    pub user_id: Option<Uuid>,
}

/// Decides whether a request may pass.
pub trait Challenge: Send + Sync {
    fn check<'a>(&'a self, request: Challenged<'a>) -> BoxFuture<'a, Result<(), Problem>>;
}
