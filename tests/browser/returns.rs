//! Giving single tickets back: what comes back and what is left is said before it is done, by keyboard too, in each language.

use reqwest::Method;
use serde_json::{Value, json};

use crate::axe::{axe, violations};
use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, ENTER, PHONE, TAB, slot};
use crate::staff::{log_in_owner, set};
use crate::{log_in_new, speak};

const SPACE: &str = " ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_given_back_by_keyboard_and_what_comes_back_and_stays_is_said_before() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.sees("See you at the cinema").await;
    browser.tab_to("Give tickets back").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Which tickets do you give back?").await;
    assert_eq!(browser.focus().await, "A1 · €12.00");

    // Nothing is chosen.
    browser.tab_to("See what comes back").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Please choose at least one ticket.").await;
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.keys(&[TAB, SPACE]).await;
    browser.tab_to("See what comes back").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Give this ticket back?").await;
    browser.sees("The tickets for A2 will not be valid any more.").await;
    browser.sees("You get €12.00 back.").await;
    let left = "[...document.querySelectorAll('dialog .pairs > *')].map((one) => one.innerText).join(' ')";
    assert_eq!(browser.script(&format!("return {left}")).await, "Seats A1 and A3 Total €24.00");
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.press("Keep my tickets").await;
    browser.until("!document.querySelector('dialog')").await;
    assert_eq!(cinema.seat("A2").await, "SOLD");

    browser.press("Give tickets back").await;
    browser.click("dialog [value='A2']").await;
    browser.click("dialog [value='A3']").await;
    browser.press("See what comes back").await;
    browser.sees("Give these tickets back?").await;
    browser.press("Give back and get €24.00").await;
    browser.until("!document.querySelector('dialog')").await;
    browser.sees("€24.00 was paid back").await;
    assert_eq!(
        [cinema.seat("A1").await, cinema.seat("A2").await, cinema.seat("A3").await],
        ["SOLD", "FREE", "FREE"]
    );
    // One ticket is cancelled with the order.
    browser
        .until(
            "![...document.querySelectorAll('button')].some((one) => one.innerText === 'Give tickets back')",
        )
        .await;
    browser.close().await;
    cinema.close().await;
}

/// A love seat and a seat.
async fn schedule_love_seat(cinema: &mut TestCinema) {
    let love = |number: u16| json!({"number": number, "column": number, "kind": "LOVESEAT", "unit": 1});
    let seats = [love(1), love(2), json!({"number": 3, "column": 3, "kind": "STANDARD"})];
    cinema.showtime = cinema.schedule_layout(json!([{"label": "A", "seats": seats}]), 24 * 3600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_that_are_sold_only_together_are_explained_in_german_and_all_of_them_cancel() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    schedule_love_seat(&mut cinema).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    speak(&browser, "de").await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Tickets zurückgeben").await;
    browser.click("dialog [value='A2']").await;
    browser.press("Erstattung ansehen").await;
    browser
        .sees("Diese Plätze werden nur zusammen mit einem verkauft, den Sie zurückgeben wollen: A1, A2.")
        .await;
    // What was chosen stays chosen.
    browser.until("document.querySelector(\"dialog [value='A2']\").checked").await;
    browser.click("dialog [value='A1']").await;
    browser.press("Erstattung ansehen").await;
    browser.sees("Das behalten Sie").await;
    browser.press("Tickets behalten").await;
    browser.until("!document.querySelector('dialog')").await;

    browser.press("Tickets zurückgeben").await;
    for seat in ["A1", "A2", "A3"] {
        browser.click(&format!("dialog [value='{seat}']")).await;
    }
    browser.press("Erstattung ansehen").await;
    browser.sees("Das sind alle Tickets der Bestellung: Sie wird storniert.").await;
    // Meanwhile one is given back in another way: the page says so, and shows the new plan.
    let path = format!("/v1/reservations/{order}/cancel");
    cinema.call(Method::POST, &path, Some(&ada), Some(json!({"seats": ["A3"]}))).await.expect(200);
    browser.sees("wurden erstattet").await;
    browser.click("dialog .grave").await;
    browser.sees("Diese Bestellung hat nicht mehr: A3.").await;
    browser.reload().await;
    browser.sees("Bis bald im Kino").await;
    let answer: Value = cinema.reservation(&ada, &order).await;
    assert_eq!((id(&answer), &answer["seats"]), (order, &json!(["A1", "A2"])));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_choose_tickets_and_a_percent_and_see_what_goes_back_first() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/orders/{order}")).await;
    browser.press("Cancel order").await;
    browser.find("dialog[open] [value='A3']").await;
    browser.sees("€36.00 goes back for").await;
    browser.click("dialog [value='A3']").await;
    browser.sees("Still valid: A3, for €12.00.").await;
    let submit = "document.querySelector('dialog [type=submit]').textContent";
    browser.until(&format!("{submit} === 'Give back these tickets'")).await;
    set(&browser, "dialog [name=how]", "other").await;
    browser.press("Give back these tickets").await;
    browser.sees("Please fill this in.").await;
    set(&browser, "dialog [name=percent]", "25").await;
    browser.sees("€6.00 goes back for A1 and A2.").await;
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.press("Give back these tickets").await;
    browser.sees("The tickets are given back.").await;
    assert_eq!([cinema.seat("A1").await, cinema.seat("A3").await], ["FREE", "SOLD"]);
    cinema.until_captured(&order, 3000).await;
    browser.close().await;
    cinema.close().await;
}
