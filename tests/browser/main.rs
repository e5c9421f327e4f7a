//! The page as people use it: real headless Chromium on a whole cinema with real servers.
//!
//! `booking` is what a moviegoer does, `seats` how a hall is drawn and chosen from, `prices` which sums are shown and read, `staff` what
//! the house does, `holds` the bounds on unpaid seats, `door` its door, `truth` whose clock and which lists it goes by, `care`
//! what nobody should have to notice: accessibility, weight, speed. `pictures` makes the README's
//! screenshots when it is asked to (`MARQUEE_PICTURES=1`).
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod booking;
mod care;
#[path = "../system/cinema.rs"]
#[allow(dead_code, reason = "shared with the system tests, which use more of it")]
mod cinema;
mod door;
mod driver;
#[path = "../system/harness.rs"]
#[allow(dead_code, reason = "shared with the system tests, which use more of it")]
mod harness;
mod holds;
mod pictures;
mod prices;
mod seats;
mod staff;
mod truth;

use cinema::{Person, TestCinema};
use driver::Browser;

/// Opens an account in this browser without its form, and comes back to the programme logged in. The same login can be
/// used by REST.
async fn log_in_new(browser: &Browser, name: &str) -> Person {
    browser.go("/login").await;
    browser.find("form").await;
    let token = browser
        .script_later(&format!(
            "const done = arguments[arguments.length - 1]; \
             fetch('/v1/auth/cookie/register', {{method: 'POST', \
               headers: {{'Content-Type': 'application/json', 'X-Refresh-Cookie': 'true'}}, \
               body: JSON.stringify({{name: '{name}', email: '{name}@example.org', password: 'correct horse'}})}}) \
             .then((answer) => answer.json()).then((session) => {{ \
               localStorage.setItem('marquee.login', '1'); done(session.accessToken); }})"
        ))
        .await;
    browser.go("/").await;
    browser.find("#fascia a[href='/account']").await;
    Person { token: token.as_str().expect("a login").to_owned() }
}

/// Chooses seats of the cinema's showtime and holds them; returns the reservation's id.
async fn hold(browser: &Browser, cinema: &TestCinema, seats: &[&str]) -> String {
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    for seat in seats {
        browser.click(&format!("[data-seat='{seat}']")).await;
    }
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.address().await.trim_start_matches("/reservations/").to_owned()
}

/// Pays on the provider's page with a card's number.
async fn pay(browser: &Browser, card: &str) {
    browser.fill("#number", card).await;
    browser.click("button").await;
}
