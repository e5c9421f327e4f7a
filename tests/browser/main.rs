//! The page as people use it: real headless Chromium on a whole cinema with real servers.
//!
//! `booking`: what moviegoers do. `seats`: how a seat map is drawn and seats are chosen. `prices`: which amounts are shown and
//! accepted. `holds`: limits on unpaid seats. `staff` and `door`: the staff's pages. `accuracy`: the server's clock, and lists that are
//! read whole. `quality`: accessibility, size, speed, languages. `pictures` makes the README's screenshots (`MARQUEE_PICTURES=1`).
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod accuracy;
mod booking;
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
mod quality;
mod seats;
mod staff;

use cinema::{Person, TestCinema};
use driver::Browser;

/// Registers an account in this browser without the form, and returns to the programme logged in. The token can be used over
/// REST.
async fn log_in_new(browser: &Browser, name: &str) -> Person {
    browser.go("/login").await;
    browser.find("form").await;
    let token = browser
        .script_later(&format!(
            "const done = arguments[arguments.length - 1]; \
             fetch('/v1/auth/cookie/register', {{method: 'POST', \
               headers: {{'Content-Type': 'application/json', 'X-Refresh-Cookie': 'true'}}, \
               body: JSON.stringify({{name: '{name}', email: '{name}@example.org', password: 'correct horse'}})}}) \
             .then((response) => response.json()).then((session) => {{ \
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

/// Pays on the provider's page with a card number.
async fn pay(browser: &Browser, card: &str) {
    browser.fill("#number", card).await;
    browser.click("button").await;
}
