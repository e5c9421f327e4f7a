//! The page uses the server's clock, not the visitor's, and shows whole lists, not their first page.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, slot};
use crate::log_in_new;
use crate::staff::{log_in_owner, set};

/// A browser on a device whose clock is wrong by `minutes`.
async fn with_wrong_clock(cinema: &TestCinema, minutes: i64) -> Browser {
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let source = format!(
        "(() => {{ const D = Date, by = {}; class Off extends D {{ \
           constructor(...x) {{ x.length ? super(...x) : super(D.now() + by); }} \
           static now() {{ return D.now() + by; }} }} window.Date = Off; }})()",
        minutes * 60_000
    );
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_device_clock_changes_no_hold_and_no_showtime() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"], 12 * 60).await;
    for (minutes, seat) in [(15, "A1"), (-15, "A2")] {
        let browser = with_wrong_clock(&cinema, minutes).await;
        log_in_new(&browser, &format!("guest{seat}").to_lowercase()).await;
        crate::hold(&browser, &cinema, &[seat]).await;
        let left = "(([minutes, seconds]) => minutes * 60 + seconds)(\
                    document.querySelector('.clock').textContent.split(':').map(Number))";
        browser.until(&format!("{left} > 560 && {left} <= 600")).await;
        browser.close().await;
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_more_than_a_page_is_shown_whole() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    for statement in [
        "insert into movie.genres (id, name, created_at, updated_at)
         select gen_random_uuid(), 'Kind ' || lpad(n::text, 3, '0'), now(), now() from generate_series(1, 130) n",
        // 120 showtimes of one day, each in its own auditorium.
        "with halls as (
           insert into movie.auditoriums (id, name, time_zone, layout, created_at, updated_at)
           select gen_random_uuid(), 'Room ' || n, a.time_zone, a.layout, now(), now()
           from movie.auditoriums a, generate_series(1, 120) n returning id, layout)
         insert into movie.showtimes (id, movie_id, auditorium_id, starts_at, ends_at, layout, prices, status,
                                      created_at, updated_at)
         select gen_random_uuid(), s.movie_id, h.id, now() + interval '1 hour', now() + interval '3 hours', h.layout,
                s.prices, s.status, now(), now()
         from halls h, (select * from movie.showtimes limit 1) s",
    ] {
        sqlx::query(statement).execute(&cinema.database).await.unwrap();
    }
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    browser.until("document.querySelectorAll('#filter-genre option').length > 130").await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.until("document.querySelectorAll('#door-show option').length > 120").await;
    browser.go("/staff/movies/new").await;
    browser.until("document.querySelectorAll('[name=genre]').length >= 130").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_showtimes_that_overlap_by_a_longer_movie_and_decide() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let (cinema, owner) = (&cinema, &owner);
    let make = |path: &'static str, body: Value| async move {
        id(&cinema.call(Method::POST, path, Some(owner), Some(body)).await.expect(201))
    };
    let rows = json!([{"label": "A", "seats": [{"number": 1, "kind": "STANDARD"}]}]);
    let hall = make("/v1/auditoriums", json!({"name": "Long Room", "timeZone": "UTC", "rows": rows})).await;
    let film =
        make("/v1/movies", json!({"title": "Longer", "durationMinutes": 90, "releaseDate": "2026-01-01"}))
            .await;
    let day = (time::OffsetDateTime::now_utc() + time::Duration::days(2)).date();
    for at in ["10:00", "12:00"] {
        let prices = json!({"STANDARD": {"amount": 1200, "currency": "EUR"}});
        let starts = format!("{day}T{at}:00Z");
        make(
            "/v1/showtimes",
            json!({"movieId": film, "auditoriumId": hall, "startsAt": starts, "prices": prices}),
        )
        .await;
    }
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/movies/{film}")).await;
    browser.find("[name=durationMinutes]").await;
    set(&browser, "[name=durationMinutes]", "180").await;
    browser.press("Save").await;
    browser.sees("1 showtime overlaps the next").await;
    browser.sees("Long Room").await;
    browser.press("Change it all the same").await;
    browser.sees("1 showtime overlaps the next now").await;
    let path = format!("/v1/movies/{film}");
    let saved = cinema.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!(saved["durationMinutes"], 180);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_correct_an_address_and_resend_failed_mails() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/orders/{order}")).await;
    browser.press("Change address").await;
    browser.fill("dialog [name=email]", "ada@right.example").await;
    browser.press("Send mails there").await;
    browser.sees("Mails go to ada@right.example now.").await;
    browser.until("document.querySelector('.pairs').innerText.includes('ada@right.example')").await;
    let fail = "update notification.mails set status = 'FAILED', next_try_at = null, updated_at = now() where status <> 'QUEUED'";
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    sqlx::query(fail).execute(&cinema.database).await.unwrap();
    browser.go("/staff/mails").await;
    browser.press("Send failed ones again").await;
    browser.click("dialog [type=submit]").await;
    browser.sees("mails are queued again.").await;
    cinema.until_sql("select count(*) from notification.mails where status in ('FAILED', 'QUEUED')", 0).await;
    browser.close().await;
    cinema.close().await;
}
