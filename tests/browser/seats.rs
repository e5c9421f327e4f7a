//! How a seat map is drawn and seats are chosen: columns, love seats, companion seats, the best seats, single seats.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, slot};
use crate::log_in_new;
use crate::staff::{log_in_owner, set};

fn row(label: &str, numbers: &[u16]) -> Value {
    let seats = (1..).zip(numbers).filter(|(_, number)| **number > 0);
    let seats = seats
        .map(|(column, number): (u16, _)| json!({"number": number, "column": column, "kind": "STANDARD"}));
    json!({"label": label, "seats": seats.collect::<Vec<_>>()})
}

/// The seats of a row as the page draws them, from left to right, with `-` for an empty place.
async fn drawn(browser: &Browser, row: &str) -> String {
    browser.find("[data-seat]").await;
    let script = format!(
        "const all = [...document.querySelectorAll('.hall-row')].find((one) => one.querySelector('.hall-label').textContent === '{row}'); \
         const seats = [...all.querySelectorAll('[data-seat]')].map((one) => ({{id: one.dataset.seat, x: one.getBoundingClientRect().left}})); \
         seats.sort((a, b) => a.x - b.x); \
         const step = Math.min(...seats.slice(1).map((one, at) => one.x - seats[at].x)); \
         return seats.map((one, at) => (at && one.x - seats[at - 1].x > 1.5 * step ? '- ' : '') + one.id).join(' ')"
    );
    browser.script(&script).await.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_are_drawn_at_their_columns_and_an_unrelated_change_keeps_the_layout() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let rows = json!([
        row("1", &[8, 7, 6, 5, 4, 3, 2, 1]),
        row("2", &[7, 5, 3, 1, 2, 4, 6, 8]),
        row("11", &[1, 2, 3, 0, 4, 5, 6])
    ]);
    cinema.showtime = cinema.schedule_layout(rows, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    assert_eq!(drawn(&browser, "1").await, "1-8 1-7 1-6 1-5 1-4 1-3 1-2 1-1");
    assert_eq!(drawn(&browser, "2").await, "2-7 2-5 2-3 2-1 2-2 2-4 2-6 2-8");
    assert_eq!(drawn(&browser, "11").await, "11-1 11-2 11-3 - 11-4 11-5 11-6");
    browser.click("[data-seat='2-1']").await;
    browser.keys(&[crate::driver::RIGHT]).await;
    assert_eq!(browser.focus().await, "Row 2, seat 2, free, €12.00", "the neighbour by place, not by number");

    let showtime =
        cinema.call(Method::GET, &format!("/v1/showtimes/{}", cinema.showtime), None, None).await.expect(200);
    let hall = format!("/v1/auditoriums/{}", showtime["auditoriumId"].as_str().unwrap());
    let plan = async || cinema.call(Method::GET, &hall, None, None).await.expect(200)["rows"].clone();
    let before = plan().await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/halls/{}", showtime["auditoriumId"].as_str().unwrap())).await;
    browser.fill("[name=name]", "Renamed").await;
    browser.press("Save").await;
    browser.sees("Saved: Renamed").await;
    assert_eq!(plan().await, before);
    // One row gets new numbers and another label; the others keep theirs.
    browser.click("[data-row='2'][data-column='7']").await;
    browser.press("from the right").await;
    set(&browser, "#row-label", "Loge").await;
    browser.press("Save").await;
    browser.until("[...document.querySelectorAll('.layout-grid .hall-label')].some((one) => one.textContent === 'Loge')").await;
    cinema.until("the plan is saved", async || plan().await != before).await;
    let after = plan().await;
    let numbers: Vec<_> =
        after[2]["seats"].as_array().unwrap().iter().map(|seat| seat["number"].clone()).collect();
    let columns: Vec<_> =
        after[2]["seats"].as_array().unwrap().iter().map(|seat| seat["column"].clone()).collect();
    assert_eq!(
        (&after[2]["label"], json!(numbers), json!(columns)),
        (&json!("Loge"), json!([6, 5, 4, 3, 2, 1]), json!([1, 2, 3, 5, 6, 7]))
    );
    assert_eq!((&after[0], &after[1]), (&before[0], &before[1]));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn best_together_shows_the_servers_choice_and_says_when_seats_are_apart() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema
        .schedule_layout(json!([row("A", &[1, 2, 0, 3, 4]), row("B", &[1, 0, 2, 0, 3])]), 24 * 3600)
        .await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.press("Choose for me").await;
    let best = format!("/v1/showtimes/{}/seats/best", cinema.showtime);
    let best = async |count: u8| {
        cinema.call(Method::GET, &format!("{best}?count={count}"), None, None).await.expect(200)["seats"]
            .clone()
    };
    let chosen = async |seats: Value| {
        let chosen = "[...document.querySelectorAll('.hall [data-state=chosen]')].map((one) => one.dataset.seat).sort().join()";
        let mut seats: Vec<_> =
            seats.as_array().unwrap().iter().map(|seat| seat.as_str().unwrap().to_owned()).collect();
        seats.sort();
        browser.until(&format!("{chosen} === '{}'", seats.join(","))).await;
    };
    chosen(best(2).await).await;
    assert_eq!(browser.script("return document.body.innerText.includes('not side by side')").await, false);
    browser.script("const count = document.getElementById('best-count'); count.value = '3'").await;
    browser.press("Choose for me").await;
    browser.sees("not side by side").await;
    chosen(best(3).await).await;
    browser.script("const count = document.getElementById('best-count'); count.value = '8'").await;
    browser.press("Choose for me").await;
    browser.sees("There are not that many free seats").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_that_leaves_a_single_seat_gets_one_warning_and_an_offer() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "iva").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.click("[data-seat='C2']").await;
    browser.click("[data-seat='C3']").await;
    browser.press("Hold these seats").await;
    browser.sees("C1 would be left alone.").await;
    assert_eq!(cinema.seat("C2").await, "FREE");
    browser.press("Take C1 and C2").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    assert_eq!((cinema.seat("C1").await, cinema.seat("C3").await), ("HELD".into(), "FREE".into()));
    // It is only a warning: holding the seats is still possible.
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.click("[data-seat='E2']").await;
    browser.press("Hold these seats").await;
    browser.sees("E1 would be left alone.").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    assert_eq!((cinema.seat("E1").await, cinema.seat("E2").await), ("FREE".into(), "HELD".into()));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_love_seat_is_chosen_as_a_whole_and_a_companion_seat_only_with_its_wheelchair_space() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let seat = |number: u16, kind: &str| json!({"number": number, "kind": kind});
    let love = |number: u16, unit: u16| json!({"number": number, "kind": "LOVESEAT", "unit": unit});
    let rows = json!([
        {"label": "A", "seats": [seat(1, "WHEELCHAIR"), seat(2, "COMPANION"), seat(3, "STANDARD"), seat(4, "STANDARD")]},
        {"label": "B", "seats": [love(1, 1), love(2, 1), love(3, 2), love(4, 2)]},
    ]);
    cinema.showtime = cinema.schedule_layout(rows, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "noa").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    let chosen = async |seats: &str| {
        let chosen = "[...document.querySelectorAll('.hall [data-state=chosen]')].map((one) => one.dataset.seat).join()";
        browser.until(&format!("{chosen} === '{seats}'")).await;
    };
    browser.click("[data-seat='B2']").await;
    chosen("B1,B2").await;
    browser.sees("€30.00").await;
    browser.click("[data-seat='B1']").await;
    chosen("").await;
    // A companion seat brings its wheelchair space.
    browser.click("[data-seat='A2']").await;
    chosen("A1,A2").await;
    browser.click("[data-seat='A1']").await;
    chosen("").await;
    browser.click("[data-seat='B4']").await;
    chosen("B3,B4").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    assert_eq!((cinema.seat("B3").await, cinema.seat("B4").await), ("HELD".into(), "HELD".into()));
    browser.close().await;
    cinema.close().await;
}
