//! What staff do every day: see today's shows and what needs a person, copy the programme, take a showtime off.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, slot};
use crate::staff::{log_in_owner, parked};

/// The day of the cinema's showtime by the auditorium's clock, `days` later.
pub async fn day(browser: &Browser, cinema: &TestCinema, days: u32) -> String {
    let starts = showtime(cinema).await["startsAt"].clone();
    let zone = showtime(cinema).await["timeZone"].clone();
    let script = format!(
        "const day = new Intl.DateTimeFormat('en-CA', {{dateStyle: 'short', timeZone: {zone}}}).format(new Date({starts})); \
         const at = new Date(`${{day}}T00:00Z`); at.setUTCDate(at.getUTCDate() + {days}); return at.toISOString().slice(0, 10)"
    );
    browser.script(&script).await.as_str().unwrap().to_owned()
}

async fn showtime(cinema: &TestCinema) -> Value {
    cinema.call(Method::GET, &format!("/v1/showtimes/{}", cinema.showtime), None, None).await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_begin_at_todays_shows_and_see_what_needs_a_person() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"], 3600).await;
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    // Another show of the day, in another auditorium.
    cinema.showtime = cinema.schedule(&["SSSSSSSS"], 3600).await;
    cinema.buy(&ada, &["A1"]).await;
    cinema.publish_unreadable_event().await;
    let letter = parked(&cinema).await["sequence"].clone();
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.until("location.pathname === '/staff'").await;
    browser.sees("The Long Night").await;
    browser.sees("2 of 10 sold · 8 free · €24.00 earned in all").await;
    browser.sees("1 of 8 sold · 7 free · €12.00 earned in all").await;
    browser.sees("€36.00").await;
    browser.press("1 message could not be handled").await;
    browser.until("location.pathname === '/staff/letters'").await;
    // The pages of operations are behind one entry.
    browser
        .until("document.querySelector('.staff-places [aria-current]')?.textContent === 'Technical'")
        .await;
    let path = format!("/v1/admin/dead-letters/{letter}");
    cinema.call(Method::DELETE, &path, Some(&cinema.owner()), None).await.expect(204);
    browser.go("/staff").await;
    browser.sees("Nothing needs you.").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_copied_and_what_is_in_the_way_is_named() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    let (from, to) = (day(&browser, &cinema, 0).await, day(&browser, &cinema, 7).await);
    browser.go(&format!("/staff/showtimes?date={from}")).await;
    browser.press("Copy a day or week").await;
    browser.sees("1 showtime will be made.").await;
    browser.press("Copy").await;
    browser.sees("1 showtime is on sale").await;
    let copies = cinema.call(Method::GET, &format!("/v1/showtimes?date={to}"), None, None).await.expect(200);
    let source = showtime(&cinema).await;
    assert_eq!(copies["total"], 1);
    for same in ["movieId", "auditoriumId", "prices"] {
        assert_eq!(copies["items"][0][same], source[same]);
    }
    browser.go(&format!("/staff/showtimes?date={from}")).await;
    browser.press("Copy a day or week").await;
    browser.sees("The auditorium is taken").await;
    browser.press("Copy").await;
    browser.until("document.querySelector('dialog .wrong')").await;
    browser.sees("None of these showtimes can be copied to that time.").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_is_taken_off_after_some_seconds_unless_that_is_undone() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/showtimes?date={}", day(&browser, &cinema, 0).await)).await;
    let take_off = async || {
        browser.click(".timeline-block").await;
        browser.press("Take it off").await;
        browser.sees("you can undo it").await;
        browser.press("Take it off").await;
        browser.sees("will be taken off").await;
    };
    take_off().await;
    browser.until("document.activeElement.textContent === 'Undo'").await;
    browser.press("Undo").await;
    browser.sees("Nothing has changed.").await;
    assert_eq!(showtime(&cinema).await["status"], "ON_SALE");
    take_off().await;
    // It stays when another page is shown.
    browser.click(".staff-places a[href='/staff/halls']").await;
    browser.until("location.pathname === '/staff/halls' && document.querySelector('.undo-bar')").await;
    browser.until("!document.querySelector('.undo-bar')").await;
    browser.sees("It is off the programme.").await;
    assert_eq!(showtime(&cinema).await["status"], "CANCELLED");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schedule_of_today_has_a_line_at_the_present() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/showtimes").await;
    browser.find(".timeline-now").await;
    browser.go(&format!("/staff/showtimes?date={}", day(&browser, &cinema, 3).await)).await;
    browser.find(".timeline-row").await;
    assert_eq!(browser.script("return document.querySelectorAll('.timeline-now').length").await, json!(0));
    // The address that the schedule had before.
    browser.go(&format!("/staff?date={}", day(&browser, &cinema, 0).await)).await;
    browser.find(".timeline-block").await;
    browser.close().await;
    cinema.close().await;
}
