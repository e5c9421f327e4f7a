//! What the page says where bounds on unpaid holds are reached, and what staff see of them.

use crate::cinema::{Plan, TestCinema};
use crate::driver::{Browser, DESK, PHONE, turn};
use crate::staff::log_in_owner;
use crate::{hold, log_in_new};

async fn bounded() -> TestCinema {
    TestCinema::open_with(Plan::default().with("RATE_LIMIT_DISABLED", false)).await
}

/// Chooses a seat and presses the button, whatever comes of it.
async fn try_to_hold(browser: &Browser, cinema: &TestCinema, seat: &str, button: &str) {
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.click(&format!("[data-seat='{seat}']")).await;
    browser.press(button).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gave_seats_back_twice_reads_when_to_try_again_in_their_language() {
    let _turn = turn().await;
    let cinema = bounded().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "ida").await;
    for seat in ["A1", "A2"] {
        hold(&browser, &cinema, &[seat]).await;
        browser.press("Give the seats back").await;
        browser.sees("free for others again").await;
    }
    try_to_hold(&browser, &cinema, "A3", "Hold these seats").await;
    browser.sees("Your last seats were not paid for. You can choose seats again at ").await;
    browser.until("/choose seats again at \\d+:\\d\\d:\\d\\d/.test(document.body.textContent)").await;
    browser.script("localStorage.setItem('marquee.language', 'de')").await;
    try_to_hold(&browser, &cinema, "A3", "Plätze reservieren").await;
    browser.sees("Ihre letzten Plätze wurden nicht bezahlt. Um ").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_seats_are_refused_in_words_until_the_address_is_proven() {
    let _turn = turn().await;
    let mut cinema = bounded().await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let browser = Browser::open(&cinema.url(), DESK).await;
    log_in_new(&browser, "ida").await;
    try_to_hold(&browser, &cinema, "A1", "Hold these seats").await;
    browser.sees("Free tickets are only for a confirmed e-mail address.").await;
    sqlx::query("update auth.users set verified_at = now()").execute(&cinema.database).await.unwrap();
    // The page's token is from before; it asks for a new one by itself.
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_who_holds_seats_unpaid() {
    let _turn = turn().await;
    let cinema = bounded().await;
    let ada = cinema.register().await;
    cinema.reserve(&ada, &["A1", "A2", "A3"]).await;
    let browser = Browser::open(&cinema.url(), DESK).await;
    log_in_owner(&browser).await;
    browser.go("/staff/holds").await;
    browser.sees("p0@example.org").await;
    browser.sees("127.0.0.0/24").await;
    let row =
        "return [...document.querySelectorAll('tbody td')].slice(0, 3).map((one) => one.textContent).join()";
    assert_eq!(browser.script(row).await, "3,1,0");
    browser.click("tbody a").await;
    browser.sees("A1").await;
    browser.close().await;
    cinema.close().await;
}
