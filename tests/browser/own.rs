//! The user's own seats: never "taken by somebody else", and marked as theirs in the hall and its legend.

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::{hold, log_in_new, pay};

const CARD: &str = "4242 4242 4242 4242";
const LIVE: &str = "document.querySelector('.live[data-state=live]')";

/// What a screen reader says of a seat.
async fn spoken(browser: &Browser, seat: &str) -> String {
    let label =
        browser.script(&format!("return document.querySelector(\"[data-seat='{seat}']\").ariaLabel")).await;
    label.as_str().unwrap().to_owned()
}

const LEGEND_HAS_YOURS: &str =
    "[...document.querySelectorAll('.legend li')].some((item) => item.innerText.trim() === 'yours')";

async fn says_somebody_else(browser: &Browser) -> bool {
    browser.script("return document.body.innerText.includes('somebody else')").await == true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_buying_the_hall_shows_the_seats_as_the_users_own() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "ida").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.until(LIVE).await;
    browser.until("document.querySelectorAll('.legend li').length").await;
    let explained = browser.script(&format!("return {LEGEND_HAS_YOURS}")).await;
    assert_eq!(explained, false, "the legend explains what is not there");
    hold(&browser, &cinema, &["D4", "D5"]).await;
    browser.press("Pay €24.00").await;
    pay(&browser, CARD).await;
    browser.sees("See you at the cinema").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.find("[data-seat='D4'][data-state=mine]").await;
    browser.find("[data-seat='D5'][data-state=mine]").await;
    browser.until(LIVE).await;
    assert_eq!(spoken(&browser, "D4").await, "Row D, seat 4, yours");
    browser.until(LEGEND_HAS_YOURS).await;
    browser.sees("No seat chosen yet").await;
    assert!(!says_somebody_else(&browser).await);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_the_user_holds_in_another_tab_is_the_users_own() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "ida").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.until(LIVE).await;
    browser.click("[data-seat='C5']").await;
    let first = browser.tab().await;
    browser.open_tab(DESKTOP).await;
    hold(&browser, &cinema, &["C5"]).await;
    browser.show_tab(&first).await;
    browser.sees("C5 is yours already.").await;
    browser.find("[data-seat='C5'][data-state=mine]").await;
    browser.sees("No seat chosen yet").await;
    assert!(!says_somebody_else(&browser).await);
    browser.press("Go to the order").await;
    browser.sees("Your seats are held").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_may_choose_the_orders_own_seats_again() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "zoe").await;
    let (order, other) = (cinema.buy(&person, &["D4", "D5"]).await, cinema.buy(&person, &["A1"]).await);
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Exchange seats").await;
    browser.find("[data-seat='A1'][data-state=mine]").await;
    browser.until(LIVE).await;
    assert_eq!(spoken(&browser, "D4").await, "Row D, seat 4, yours, may be chosen again, €12.00");
    assert_eq!(spoken(&browser, "A1").await, "Row A, seat 1, yours");
    assert!(!says_somebody_else(&browser).await);
    browser.click("[data-seat='A1']").await;
    browser.sees("No seat chosen yet").await;
    browser.click("[data-seat='D5']").await;
    browser.click("[data-seat='D6']").await;
    browser.press("Exchange").await;
    browser.press("Exchange now").await;
    browser.sees("See you at the cinema").await;
    browser.sees("D5 and D6").await;
    assert_eq!([cinema.seat("D4").await, cinema.seat("D6").await], ["FREE", "SOLD"]);
    assert_eq!(cinema.reservation(&person, &other).await["status"], "CONFIRMED");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_choice_is_forgotten_when_it_is_older_than_a_hold() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let other = cinema.register().await;
    let hall = format!("/showtimes/{}", cinema.showtime);
    for (seat, minutes) in [("A1", 9), ("A5", 11)] {
        browser.go(&hall).await;
        browser.click(&format!("[data-seat='{seat}']")).await;
        browser.sees("1 seat").await;
        browser.go("/").await;
        browser.find(".to-movie").await;
        cinema.reserve(&other, &[seat]).await;
        browser
            .script(&format!(
                "for (const key of Object.keys(sessionStorage).filter((key) => key.startsWith('marquee.choice.'))) {{ \
                   const kept = JSON.parse(sessionStorage[key]); kept.at -= {minutes} * 60000; \
                   sessionStorage[key] = JSON.stringify(kept); }}"
            ))
            .await;
        browser.go(&hall).await;
        browser.find(&format!("[data-seat='{seat}'][data-state=held]")).await;
        browser.until(LIVE).await;
        if minutes < 10 {
            browser.sees("A1 was taken by somebody else").await;
            browser.script("sessionStorage.clear()").await;
        } else {
            assert!(!says_somebody_else(&browser).await);
        }
        browser.sees("No seat chosen yet").await;
    }
    browser.close().await;
    cinema.close().await;
}
