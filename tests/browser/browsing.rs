//! Held seats while the visitor looks around: a clock and the way to pay on every page, given back on request, by closing
//! the last tab, or by time.

use std::time::{Duration, Instant};

use crate::cinema::{Plan, TestCinema};
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::{choose, hold, log_in_new, pay};

const CARD: &str = "4242 4242 4242 4242";
/// The worker waits for eight seconds after a page was closed.
const LONGER_THAN_GRACE: u32 = 11;

/// Waits until the clock of the bar has moved on for so long that the worker has decided.
async fn grace_is_over(browser: &Browser) {
    let left = "(([minutes, seconds]) => minutes * 60 + seconds)(\
                document.querySelector('.held-bar .clock').textContent.split(':').map(Number))";
    browser.until(&format!("{left} > 0")).await;
    let before = browser.script(&format!("return {left}")).await;
    browser.until(&format!("{left} <= {before} - {LONGER_THAN_GRACE}")).await;
}

/// The title begins with the time that is left.
const TITLE_HAS_CLOCK: &str = "/^\\d+:\\d\\d · .+ · Marquee$/.test(document.title)";
const TITLE_HAS_NO_CLOCK: &str = "/^[^:]+ · Marquee$/.test(document.title)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_survives_links_reloads_and_typed_addresses_and_is_paid_from_any_page() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let person = log_in_new(&browser, "sam").await;
    let order = hold(&browser, &cinema, &["B1"]).await;
    browser.until(TITLE_HAS_CLOCK).await;
    let before = cinema.reservation(&person, &order).await["expiresAt"].clone();
    browser.reload().await;
    browser.sees("Your seats are held").await;
    browser.until("performance.getEntriesByName('leaving-watched').length").await;
    // By a link inside the site, then by a typed address.
    browser.press("Account").await;
    browser.sees("sam@example.org").await;
    browser.find(".held-bar .clock").await;
    browser.until(TITLE_HAS_CLOCK).await;
    browser.go("/tickets").await;
    browser.sees("Pay until").await;
    grace_is_over(&browser).await;
    let kept = cinema.reservation(&person, &order).await;
    assert_eq!((&kept["status"], &kept["expiresAt"]), (&"PENDING".into(), &before));
    browser.press("Pay now").await;
    browser.press("Pay €12.00").await;
    pay(&browser, CARD).await;
    browser.sees("See you at the cinema").await;
    browser.press("Tickets").await;
    browser.sees("My tickets").await;
    browser.until("document.querySelector('.held-bar').hidden").await;
    browser.until(TITLE_HAS_NO_CLOCK).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_last_tab_gives_the_seats_back_and_the_order_accuses_nobody() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "sam").await;
    let order = hold(&browser, &cinema, &["B1"]).await;
    browser.until("performance.getEntriesByName('leaving-watched').length").await;
    // While another tab of the site is open, the seats stay held.
    let first = browser.tab().await;
    let second = browser.open_tab(DESKTOP).await;
    browser.go("/").await;
    browser.find(".held-bar .clock").await;
    browser.show_tab(&first).await;
    browser.close_other_tab(&second).await;
    grace_is_over(&browser).await;
    assert_eq!(cinema.seat("B1").await, "HELD");

    browser.until("performance.getEntriesByName('leaving-watched').length").await;
    let left = Instant::now();
    browser.close_tab().await;
    cinema.until_status(&person, &order, "CANCELLED").await;
    // An earlier release could hit a reload on a slow connection.
    assert!(left.elapsed() > Duration::from_secs(5), "released after {:?}", left.elapsed());
    assert_eq!(cinema.seat("B1").await, "FREE");
    browser.go(&format!("/reservations/{order}")).await;
    browser.sees("The seats were given back").await;
    browser.sees("This order was not paid, so nothing was charged.").await;
    assert_eq!(browser.script("return document.body.innerText.includes('You cancelled')").await, false);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bar_gives_seats_back_and_says_when_the_time_ran_out() {
    let _slot = slot().await;
    let cinema = TestCinema::open_with(Plan::default().with("HOLD_SECONDS", 8)).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "max").await;
    hold(&browser, &cinema, &["E1", "E2"]).await;
    browser.press("Tickets").await;
    browser.sees("not paid yet").await;
    browser.press("Give back").await;
    browser.sees("The seats are free for others again.").await;
    // The page of tickets follows.
    browser.sees("cancelled").await;
    browser.until("document.querySelector('.held-bar').hidden").await;
    assert_eq!(cinema.seat("E1").await, "FREE");

    hold(&browser, &cinema, &["E3", "E4"]).await;
    browser.press("Account").await;
    browser.find(".held-bar .clock").await;
    browser.sees("The time ran out: E3 and E4 are free for others again.").await;
    browser.until("document.querySelector('.held-bar').hidden").await;
    browser.until(TITLE_HAS_NO_CLOCK).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_tickets_follows_an_order_that_is_paid_elsewhere() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "max").await;
    let order = cinema.reserve(&person, &["E1"]).await;
    browser.go("/tickets").await;
    browser.sees("not paid yet").await;
    browser.find(".held-bar .clock").await;
    cinema.pay(&person, &order, "pm_card_visa").await.expect(201);
    browser.sees("Show tickets").await;
    browser.until("document.querySelector('.held-bar').hidden").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_hold_beyond_the_limit_is_refused_in_words_with_the_way_to_the_first() {
    let _slot = slot().await;
    let cinema = TestCinema::open_with(Plan::default().with("OPEN_HOLDS_MAX", 1)).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "max").await;
    hold(&browser, &cinema, &["E1"]).await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    choose(&browser, "C5").await;
    browser.press("Hold these seats").await;
    browser
        .sees("Only 1 order at a time may wait to be paid. Pay for it or give its seats back first.")
        .await;
    assert_eq!(cinema.seat("C5").await, "FREE");
    browser.press("Give back").await;
    browser.sees("The seats are free for others again.").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.close().await;
    cinema.close().await;
}
