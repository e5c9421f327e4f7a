//! What the page shows when limits on unpaid holds are reached, and what staff see of the holds.

use crate::cinema::{Plan, TestCinema};
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::staff::log_in_owner;
use crate::{choose, hold, log_in_new, speak};

async fn open_with_limits() -> TestCinema {
    TestCinema::open_with(Plan::default().with("RATE_LIMIT_DISABLED", false)).await
}

/// Chooses a seat and presses the button, without waiting for the result.
async fn try_to_hold(browser: &Browser, cinema: &TestCinema, seat: &str, button: &str) {
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    choose(browser, seat).await;
    browser.press(button).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_released_holds_the_page_shows_when_to_try_again() {
    let _slot = slot().await;
    let cinema = open_with_limits().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "ida").await;
    for seat in ["A1", "A5"] {
        hold(&browser, &cinema, &[seat]).await;
        browser.press("Give the seats back").await;
        browser.sees("free for others again").await;
    }
    try_to_hold(&browser, &cinema, "A3", "Hold these seats").await;
    browser.sees("Your last seats were not paid for. You can choose seats again at ").await;
    browser.until("/choose seats again at \\d+:\\d\\d:\\d\\d/.test(document.body.textContent)").await;
    speak(&browser, "de").await;
    // A3 is still chosen.
    try_to_hold(&browser, &cinema, "A7", "Weiter zur Kasse").await;
    browser.sees("Ihre letzten Plätze wurden nicht bezahlt. Um ").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_seats_need_a_confirmed_address_and_the_page_explains_it() {
    let _slot = slot().await;
    let mut cinema = open_with_limits().await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "ida").await;
    try_to_hold(&browser, &cinema, "A1", "Hold these seats").await;
    browser.sees("Free tickets are only for a confirmed e-mail address.").await;
    sqlx::query("update auth.users set verified_at = now()").execute(&cinema.database).await.unwrap();
    // The page's token was issued before; the page requests a new one by itself.
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_unpaid_holds_by_account() {
    let _slot = slot().await;
    let cinema = open_with_limits().await;
    let ada = cinema.register().await;
    cinema.reserve(&ada, &["A1", "A2", "A3"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/holds").await;
    browser.sees("p0@example.org").await;
    browser.sees("127.0.0.0/24").await;
    let row = "return [...document.querySelectorAll('tbody td')].slice(0, 3).map((cell) => cell.textContent).join()";
    assert_eq!(browser.script(row).await, "3,1,0");
    browser.click("tbody a").await;
    browser.sees("A1").await;
    browser.close().await;
    cinema.close().await;
}
