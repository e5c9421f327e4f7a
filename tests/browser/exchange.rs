//! Exchanging seats: what is paid and what comes back is said before it is done.

use crate::cinema::{Plan, TestCinema};
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::staff::log_in_owner;
use crate::{choose, hold, log_in_new, pay};

const GOOD: &str = "4242 4242 4242 4242";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_shows_beforehand_that_the_refund_is_less_than_the_difference() {
    let _slot = slot().await;
    let cinema = TestCinema::open_with(Plan::default().with("REFUND_PERCENT", 50)).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "lin").await;
    hold(&browser, &cinema, &["A1", "A2"]).await;
    browser.press("Pay €24.00").await;
    pay(&browser, GOOD).await;
    browser.sees("See you at the cinema").await;
    browser.press("Exchange seats").await;
    browser.sees("Choose other seats").await;
    browser.click("[data-seat='B1']").await;
    browser.press("Exchange").await;
    browser
        .sees("The new seats cost €12.00 less. By the terms of your order, €6.00 of that comes back.")
        .await;
    browser.press("Keep my seats").await;
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["SOLD", "FREE"]);
    browser.press("Exchange").await;
    browser.click("dialog .grave").await;
    browser.sees("See you at the cinema").await;
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["FREE", "SOLD"]);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cheaper_exchange_shows_what_comes_back_and_staff_are_offered_what_is_left() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let person = log_in_new(&browser, "lin").await;
    let order = cinema.buy(&person, &["A1", "A2"]).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Exchange seats").await;
    choose(&browser, "B1").await;
    browser.sees("€12.00 less than before").await;
    browser.press("Exchange").await;
    browser.sees("You get €12.00 back.").await;
    browser.press("Exchange now").await;
    browser.sees("See you at the cinema").await;
    browser.sees("€12.00 was paid back").await;
    browser.close().await;

    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/orders/{order}")).await;
    browser.press("Cancel order").await;
    let options = "return [...document.querySelectorAll('dialog select option')].map((one) => one.textContent + (one.selected ? '*' : '')).join('|')";
    browser.find("dialog select").await;
    assert_eq!(
        browser.script(options).await,
        "As the terms say: €12.00*|Everything that is left: €12.00|Half of what was paid, less what was paid back|Nothing|Another share"
    );
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dearer_exchange_says_what_is_charged_and_charges_the_difference() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "lin").await;
    let order = cinema.buy(&person, &["A1"]).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Exchange seats").await;
    browser.click("[data-seat='B1']").await;
    browser.click("[data-seat='B2']").await;
    browser.sees("€12.00 more than before").await;
    browser.press("Exchange").await;
    browser.sees("The new seats cost €24.00. Your €12.00 count towards that: you pay €12.00 now.").await;
    let then = "Until that is done, A1 stays yours.";
    browser.sees(then).await;
    assert_eq!(cinema.seat("B1").await, "FREE");
    browser.press("Continue to payment").await;
    browser.sees("This is an exchange").await;
    browser.sees(then).await;
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["SOLD", "HELD"]);
    browser.sees("From your earlier order").await;
    browser.press("Pay €12.00").await;
    // The provider's page.
    browser.sees("Exchange, the difference: The Long Night").await;
    browser.sees("seats B1, B2").await;
    pay(&browser, GOOD).await;
    browser.sees("See you at the cinema").await;
    cinema.until_status(&person, &order, "CANCELLED").await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.sees("Another order took the place of this one.").await;
    browser.close().await;
    cinema.close().await;
}
