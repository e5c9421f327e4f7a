//! The endpoints' typed signatures, one file a domain: the parameters of path, query and body, and the answer.
//!
//! The required role, the largest body and the possible problems of an endpoint are in its row (`routes.rs`).

pub mod auth;
pub mod dead_letter;
pub mod event_feed;
pub mod media;
pub mod movie;
pub mod notification;
pub mod page_login;
pub mod payment;
pub mod price;
pub mod privacy;
pub mod programme;
pub mod receipt;
pub mod report;
pub mod reservation;
pub mod reservation_staff;
pub mod seat;
pub mod showtime;
pub mod site;

use std::sync::Arc;

use bus::contract::{Paging, Problem, Request, Rule};
use bytes::Bytes;
use poem_openapi::Tags;
use uuid::Uuid;

use crate::hosts::{Hosts, validate};
use crate::limit::{Networks, Place};
use crate::payload::{Answer, Answered, Body, Caller};
use crate::problem::bad_query;

pub use auth::Auth;
pub use dead_letter::DeadLetters;
pub use event_feed::EventFeed;
pub use media::MediaFiles;
pub use movie::Movies;
pub use notification::Notifications;
pub use page_login::PageLogins;
pub use payment::Payments;
pub use price::{Prices, Quotes};
pub use privacy::Privacy;
pub use programme::Programmed;
pub use receipt::Receipts;
pub use report::Reports;
pub use reservation::Reservations;
pub use reservation_staff::ReservationStaff;
pub use seat::Seats;
pub use showtime::Showtimes;
pub use site::Sites;

/// The tags of the document.
#[derive(Tags)]
pub enum Domain {
    /// Accounts and the tokens that prove them.
    Auth,
    /// Movies, auditoriums, showtimes and prices.
    Movie,
    /// Seats, reservations and tickets.
    Reservation,
    /// Payments, refunds and receipts.
    Payment,
    /// Mails to customers.
    Notification,
    /// Live events and dead letters.
    Operation,
}

/// The requested page; by default the first, with 20 items.
fn paging(page: Option<u32>, page_size: Option<u32>) -> Paging {
    let default = Paging::default();
    Paging { page: page.unwrap_or(default.page), page_size: page_size.unwrap_or(default.page_size) }
}

/// The ids of a query parameter that names several, separated by commas.
fn ids(given: Option<String>, parameter: &str) -> Result<Option<Vec<Uuid>>, Problem> {
    let ids = given.map(|ids| ids.split(',').map(|id| Uuid::parse_str(id.trim())).collect()).transpose();
    ids.map_err(|_| bad_query(parameter, Rule::unreadable("must be ids, separated by commas")))
}

impl dyn Hosts {
    /// Validates a request, sends it and returns the JSON of the answer.
    async fn submit<R: Request>(&self, caller: &Caller, request: R) -> Result<Bytes, Problem> {
        validate(&request)?;
        self.request(&request, &caller.0).await
    }

    /// The same for a request that is a whole body: the host gets the bytes of the body, which are not serialized again.
    async fn submit_body<R: Request>(&self, caller: &Caller, body: Body<R>) -> Result<Bytes, Problem> {
        validate(&body.request)?;
        self.send(R::SUBJECT, body.json, &caller.0).await
    }

    /// Submits a request and answers with the host's JSON.
    async fn forward<R: Request, const STATUS: u16>(
        &self,
        caller: &Caller,
        request: R,
    ) -> Answered<R::Answer, STATUS> {
        Ok(Answer::new(self.submit(caller, request).await?))
    }

    /// Submits a body and answers with the host's JSON.
    async fn forward_body<R: Request, const STATUS: u16>(
        &self,
        caller: &Caller,
        body: Body<R>,
    ) -> Answered<R::Answer, STATUS> {
        Ok(Answer::new(self.submit_body(caller, body).await?))
    }
}

/// A live stream's place for the caller's network; 429 when the network has the maximum. A request without an address (a
/// test's) is not counted.
fn stream_place(streams: &Arc<Networks>, caller: &Caller) -> Result<Option<Place>, Problem> {
    let Some(address) = caller.0.client_ip else { return Ok(None) };
    let place = streams.enter(address).ok_or_else(|| {
        metrics::counter!("streams_refused_total").increment(1);
        let detail = "Too many live streams are open from your network. Read the seat map instead.";
        Problem::new(429, "streams", detail).with_retry_after(10)
    });
    place.map(Some)
}
