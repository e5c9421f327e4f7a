//! Buying without an account: the seats are held first, one address is asked, and the link in the mail leads back.

use reqwest::Method;
use serde_json::json;

use crate::axe::{axe, violations};
use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, ENTER, PHONE, TAB, slot};
use crate::quality::mail_link;
use crate::{choose, log_in_new, pay};

const GOOD: &str = "4242 4242 4242 4242";

/// Counts the clicks of the visitor in this tab, also over the provider's page.
const COUNT_CLICKS: &str = "addEventListener('click', (event) => event.isTrusted && event.detail > 0 && \
    sessionStorage.setItem('clicks', Number(sessionStorage.getItem('clicks') ?? 0) + 1), {capture: true})";

async fn open_seats(browser: &Browser, cinema: &TestCinema) {
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_visit_ends_with_tickets_after_few_clicks_and_one_typed_field() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    browser.script(COUNT_CLICKS).await;
    browser.click(".to-movie").await;
    browser.click("a.time").await;
    browser.click("[data-seat='B4']").await;
    browser.press("Hold these seats").await;
    browser.sees("Where shall we send your tickets?").await;
    assert_eq!(cinema.seat("B4").await, "HELD");
    // The field of the address has the focus.
    browser.until("document.activeElement.name === 'email'").await;
    browser.keys(&["grace@example.org", ENTER]).await;
    browser.sees("Card number").await;
    pay(&browser, GOOD).await;
    browser.sees("See you at the cinema").await;
    browser.sees("Your tickets go to grace@example.org.").await;
    // The fifth is the click on the provider's page.
    assert_eq!(browser.script("return Number(sessionStorage.getItem('clicks'))").await, 4);
    browser.press("Show tickets").await;
    browser.until("document.querySelectorAll('.pass svg').length === 1").await;
    let secrets = "return localStorage.length === 0 && document.cookie === ''";
    assert_eq!(browser.script(secrets).await, true, "a guest's token outlives the tab");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_needs_no_mouse_and_reads_what_is_wrong_with_the_address() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    open_seats(&browser, &cinema).await;
    browser.find("[role=grid]").await;
    browser.tab_to("Row C, seat 6").await;
    browser.keys(&[" "]).await;
    browser.tab_to("Hold these seats").await;
    browser.keys(&[ENTER]).await;
    browser.until("document.activeElement.name === 'email'").await;
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.keys(&["grace", ENTER]).await;
    browser.sees("That is not an e-mail address.").await;
    browser.until("document.activeElement.name === 'email'").await;
    browser.keys(&["@example.org", TAB, "Grace", ENTER]).await;
    browser.sees("Card number").await;
    browser.tab_to("Card number").await;
    browser.keys(&[GOOD, ENTER]).await;
    browser.sees("See you at the cinema").await;
    assert_eq!(cinema.seat("C6").await, "SOLD");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone_a_declined_card_keeps_the_address_and_the_seats() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    open_seats(&browser, &cinema).await;
    choose(&browser, "C5").await;
    browser.press("Hold these seats").await;
    browser.sees("Where shall we send your tickets?").await;
    assert_eq!(browser.script("return document.documentElement.scrollWidth").await, 390, "it moves sideways");
    // The bar of held seats leads back to the order.
    browser.go("/").await;
    browser.press("Pay now").await;
    browser.fill("[name=email]", "grace@example.org").await;
    browser.press("Pay €12.00").await;
    pay(&browser, "4000 0000 0000 9995").await;
    browser.sees("insufficient funds").await;
    browser.press("Cancel and go back").await;
    browser.sees("The payment was declined. Your seats are still held.").await;
    browser.press("Try again, pay €12.00").await;
    pay(&browser, GOOD).await;
    browser.sees("Your tickets go to grace@example.org.").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_of_a_guests_mail_cancels_and_opens_an_account_with_the_order() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let guest = cinema.guest().await;
    let order = cinema.reserve(&guest, &["C5", "C6"]).await;
    cinema.set_customer(&guest, &order, "grace@example.org").await.expect(200);
    cinema.pay(&guest, &order, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&guest, &order).await;
    let link = mail_link(&cinema, &format!("/reservations/{order}#token=")).await;

    let browser = Browser::open(&cinema.url(), PHONE).await;
    browser.go(&link).await;
    browser.sees("See you at the cinema").await;
    browser.find("[href^='/login'][href*='order=']").await;
    browser.press("Keep this order in a new account").await;
    browser.fill("[name=name]", "Grace").await;
    browser.fill("[name=email]", "eve@example.org").await;
    browser.fill("[name=password]", "correct horse").await;
    browser.press("Open account").await;
    browser.sees("Please use the e-mail address that the order was made with.").await;
    browser.fill("[name=email]", "grace@example.org").await;
    browser.press("Open account").await;
    browser.sees("See you at the cinema").await;
    browser.find("#fascia a[href='/account']").await;
    browser.go("/tickets").await;
    browser.sees("The Long Night").await;

    // Another browser cancels by the link alone.
    let other = Browser::open(&cinema.url(), DESKTOP).await;
    other.go(&link).await;
    other.press("Cancel order").await;
    other.click("dialog .grave").await;
    other.sees("Cancelled and paid back").await;
    other.close().await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_takes_the_held_seats_over_and_a_corrected_address_ends_the_link() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "lin").await;
    browser.press("Log out lin").await;
    browser.find("#fascia a[href='/login']").await;
    open_seats(&browser, &cinema).await;
    browser.click("[data-seat='D7']").await;
    browser.press("Hold these seats").await;
    browser.press("I have an account").await;
    browser.fill("[name=email]", "lin@example.org").await;
    // A mistyped password does not lose the seats that the guest holds.
    browser.fill("[name=password]", "correct pony").await;
    browser.click("main form button[type=submit]").await;
    browser.sees("The e-mail or the password is wrong.").await;
    browser.fill("[name=password]", "correct horse").await;
    browser.click("main form button[type=submit]").await;
    browser.sees("Your seats are held").await;
    browser.sees("Pay €12.00").await;
    let asks = "return document.querySelector('main [name=email]') === null";
    assert_eq!(browser.script(asks).await, true, "the account has an address");
    let lin = cinema.log_in("lin@example.org", "correct horse").await;
    let own = cinema.call(Method::GET, "/v1/reservations", Some(&lin), None).await.expect(200);
    assert_eq!((&own["total"], &own["items"][0]["email"]), (&json!(1), &json!("lin@example.org")));

    let other = Browser::open(&cinema.url(), DESKTOP).await;
    open_seats(&other, &cinema).await;
    other.click("[data-seat='A1']").await;
    other.press("Hold these seats").await;
    other.fill("[name=email]", "grcae@example.org").await;
    other.press("Pay €12.00").await;
    pay(&other, GOOD).await;
    other.sees("Your tickets go to grcae@example.org.").await;
    let order = other.address().await.trim_start_matches("/reservations/").to_owned();
    let link = mail_link(&cinema, &format!("/reservations/{order}#token=")).await;
    other.press("Correct the address").await;
    other.fill("[name=email]", "grace@example.org").await;
    other.press("Send the tickets there").await;
    other.sees("Your tickets go to grace@example.org now.").await;
    let third = Browser::open(&cinema.url(), DESKTOP).await;
    third.go(&link).await;
    third.find("main [name=password]").await;
    third.close().await;
    other.close().await;
    browser.close().await;
    cinema.close().await;
}
