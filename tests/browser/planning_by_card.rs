//! Showtimes that are planned by price cards, and orders with ticket types, as staff see them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, slot};
use crate::price_cards::{change, next, read};
use crate::staff::{log_in_owner, set};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_takes_its_card_anew_and_several_days_and_copies_take_the_card_of_their_time() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let card = cinema.create_prices().await;
    let mut cheap = crate::cinema::prices::card_fields();
    for (name, value) in
        [("name", json!("Cheap Tuesday")), ("weekdays", json!(["TUESDAY"])), ("position", json!(1))]
    {
        cheap[name] = value;
    }
    cheap["prices"]["ADULT"]["STANDARD"] = json!(700);
    cinema.create_price_card(cheap).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;

    // Monday to Wednesday, in 3D.
    let (from, to) = bulk_days();
    browser.go(&format!("/staff/showtimes?date={from}")).await;
    browser.press("Plan several days").await;
    set(&browser, "dialog [name=to]", &to).await;
    browser.fill("dialog [name=times]", "12:00").await;
    browser.sees("Cheap Tuesday: Tue 12:00").await;
    browser.sees("Every day: Mon 12:00 and Wed 12:00").await;
    browser.click("dialog [name=surcharges]").await;
    browser.press("Plan these showtimes").await;
    browser.sees("3 showtimes are on sale").await;
    let made = read(&cinema, &format!("/v1/showtimes?from={from}T00:00:00Z&to={to}T23:00:00Z")).await;
    let of = |at: usize| {
        (
            made["items"][at]["priceCard"]["name"].clone(),
            made["items"][at]["prices"]["STANDARD"]["amount"].clone(),
        )
    };
    assert_eq!(of(0), (json!("Every day"), json!(1450)));
    assert_eq!(of(1), (json!("Cheap Tuesday"), json!(950)));

    // The Monday's card is changed, and the showtime takes it anew, without 3D.
    change(&cinema, "/v1/price-cards", &card, |card| card["prices"]["ADULT"]["STANDARD"] = json!(1300)).await;
    browser.go(&format!("/staff/showtimes?date={from}")).await;
    browser.click(".timeline-block").await;
    browser.sees("Every day").await;
    browser.script(&format!("{FOLD}.open = true")).await;
    assert_eq!(
        browser.script(&format!("return {FOLD}.querySelector('[name=surcharges]').checked")).await,
        true
    );
    browser.click("dialog details[open] [name=surcharges]").await;
    browser.press("Make the prices anew from the card").await;
    // The page was drawn again.
    browser.until("!document.querySelector('dialog[open]') && document.activeElement?.matches('h1')").await;
    let path = format!("/v1/showtimes/{}", id(&made["items"][0]));
    let anew = read(&cinema, &path).await;
    assert_eq!((&anew["prices"]["STANDARD"]["amount"], &anew["surcharges"]), (&json!(1350), &Value::Null));

    // A Monday is copied to a Tuesday.
    browser.press("Copy a day or week").await;
    let tuesday = later(&from, 8);
    set(&browser, "dialog [name=day]", &tuesday).await;
    browser.sees("1 showtime will be made.").await;
    browser.press("Copy").await;
    browser.sees("1 showtime is on sale").await;
    let copy = read(&cinema, &format!("/v1/showtimes?date={tuesday}")).await["items"][0].clone();
    assert_eq!(
        (&copy["priceCard"]["name"], &copy["prices"]["STANDARD"]["amount"]),
        (&json!("Cheap Tuesday"), &json!(750))
    );
    browser.close().await;
    cinema.close().await;
}

/// The part of a showtime's dialog that makes prices from a card.
const FOLD: &str = "[...document.querySelectorAll('dialog[open] details')].find((one) => one.innerText.includes('Prices from a card'))";

/// A Monday to come and the Wednesday after it.
fn bulk_days() -> (String, String) {
    let from = next(1);
    let to = later(&from, 2);
    (from, to)
}

fn later(date: &str, days: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    (time::Date::parse(date, &format).unwrap() + time::Duration::days(days)).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_shows_staff_its_tickets_by_type_with_fees_and_taxes() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSS"], 24 * 3600).await;
    let ada = cinema.register().await;
    let tickets = json!([{"seat": "A1", "type": "ADULT"}, {"seat": "A2", "type": "CHILD"}, {"seat": "A3", "type": "CHILD"}]);
    let body = json!({"showtimeId": cinema.showtime, "tickets": tickets});
    let order = id(&cinema.call(Method::POST, "/v1/reservations", Some(&ada), Some(body)).await.expect(201));
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/orders/{order}")).await;
    browser.find(".balance li").await;
    let lines = "return [...document.querySelectorAll('.balance li')].map((one) => one.innerText.replace(/\\s+/g, ' '))";
    let lines = browser.script(lines).await;
    let all = lines.to_string();
    for part in ["1 × Adult €12.00", "2 × Child €16.00", "3 × Booking fee €1.50", "€29.50", "7%", "19%"]
    {
        assert!(all.contains(part), "{part}: {lines:#}");
    }
    browser.script("document.querySelector('.order-parts details').open = true").await;
    browser.sees("A2").await;
    browser.close().await;
    cinema.cancel(&ada, &order).await.expect(200);
    cinema.close().await;
}
