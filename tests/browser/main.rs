//! The page as people use it: real headless Chromium on a whole cinema with real servers.
//!
//! `booking`: what moviegoers do. `browsing`: held seats while they look around. `exchange`: what is said of the money.
//! `returns`: single tickets that are given back. `programme`: search, filters, seats left. `seats`: how a seat map is drawn and seats
//! are chosen. `guests`: buying without an account. `showings`: versions, ratings, drafts, the start of the sale. `own`: the user's own
//! seats. `phone`: small screens and high contrast. `prices`: which amounts are shown and accepted. `price_cards`,
//! `price_errors` and `planning_by_card`: prices by ticket type. `forms`: what is wrong, in words. `holds`: limits on unpaid seats.
//! `types`: who is coming, with ticket types, fees and tax. `tickets`: on a phone, on paper and without a connection. `links`: what a
//! mail's link opens, and files. `connection`: lost connections, and many tabs. `staff`, `schedule`, `door` and `codes`: the staff's
//! pages, `history`: an order's. `privacy`: the user's own data. `accuracy`: the server's clock, and lists that are read whole. `axe`: accessibility. `quality`:
//! languages.
//! `site`: the cinema's own name. `first_view`: size and speed. `long_words`: long German words on every page. `older_browsers`: functions that they lack.
//! `pictures` makes the README's screenshots (`MARQUEE_PICTURES=1`).
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod accuracy;
mod axe;
mod booking;
mod browsing;
#[path = "../system/cinema.rs"]
#[allow(dead_code, reason = "shared with the system tests, which use more of it")]
mod cinema;
mod codes;
mod connection;
mod door;
mod driver;
mod exchange;
mod first_view;
mod forms;
mod guests;
#[path = "../system/harness.rs"]
#[allow(dead_code, reason = "shared with the system tests, which use more of it")]
mod harness;
mod history;
mod holds;
mod links;
mod long_words;
mod older_browsers;
mod own;
mod phone;
mod pictures;
mod planning_by_card;
mod price_cards;
mod price_errors;
mod prices;
mod privacy;
mod programme;
mod quality;
mod receipts;
mod reports;
mod returns;
mod scanning;
mod schedule;
mod seats;
mod showings;
mod site;
mod staff;
mod tickets;
mod types;

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

/// Chooses a language in this browser; the next page that is opened is in it.
async fn speak(browser: &Browser, language: &str) {
    browser.script(&format!("document.cookie = 'marquee.language={language}; Path=/'")).await;
}

/// Chooses seats of the cinema's showtime and holds them; returns the reservation's id.
async fn hold(browser: &Browser, cinema: &TestCinema, seats: &[&str]) -> String {
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    for seat in seats {
        choose(browser, seat).await;
    }
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.address().await.trim_start_matches("/reservations/").to_owned()
}

/// Chooses a seat, unless it is chosen already. On a phone the first click magnifies the hall, where its seats are too small.
async fn choose(browser: &Browser, seat: &str) {
    let seat = format!("[data-seat='{seat}']");
    browser.find(&format!("{seat}[data-state]")).await;
    for _ in 0..2 {
        let state = browser.script(&format!("return document.querySelector(\"{seat}\").dataset.state")).await;
        if state != "chosen" {
            browser.click(&seat).await;
        }
    }
}

/// Pays on the provider's page with a card number.
async fn pay(browser: &Browser, card: &str) {
    browser.fill("#number", card).await;
    browser.click("button").await;
}
