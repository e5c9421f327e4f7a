//! The endpoints' typed signatures, one file a domain: what comes in by path, query and body, what goes out.
//!
//! Who may ask, how large a body may be and which problems may come is the row's to say (`routes.rs`), not theirs.

pub mod auth;
pub mod dead_letter;
pub mod event_feed;
pub mod media;
pub mod movie;
pub mod notification;
pub mod page_login;
pub mod payment;
pub mod reservation;
pub mod showtime;

use bus::contract::Paging;
use poem_openapi::Tags;

pub use auth::Auth;
pub use dead_letter::DeadLetters;
pub use event_feed::EventFeed;
pub use media::MediaFiles;
pub use movie::Movies;
pub use notification::Notifications;
pub use page_login::PageLogins;
pub use payment::Payments;
pub use reservation::Reservations;
pub use showtime::Showtimes;

/// How the document is divided.
#[derive(Tags)]
pub enum Domain {
    /// Accounts and the tokens that prove them.
    Auth,
    /// What is shown, where, when and at which price.
    Movie,
    /// Seats: who has them, until when.
    Reservation,
    /// Money for seats.
    Payment,
    /// Mails to moviegoers.
    Notification,
    /// What happens, and what went wrong and waits for a person.
    Operation,
}

/// The page asked for; without a wish the first, with 20 items.
fn paging(page: Option<u32>, page_size: Option<u32>) -> Paging {
    let default = Paging::default();
    Paging { page: page.unwrap_or(default.page), page_size: page_size.unwrap_or(default.page_size) }
}
