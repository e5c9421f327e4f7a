//! What moviegoers do: find a movie, choose seats, pay, cancel, exchange.

use std::time::{Duration, Instant};

use crate::cinema::{Plan, TestCinema};
use crate::driver::{Browser, DESKTOP, DOWN, ENTER, PHONE, RIGHT, TAB, slot};
use crate::{choose, hold, log_in_new, pay, speak};

const GOOD: &str = "4242 4242 4242 4242";
const NO_FUNDS: &str = "4000 0000 0000 9995";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_books_by_mouse_and_keeps_the_held_seats_while_registering() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    browser.click(".to-movie").await;
    browser.sees("Showtimes").await;
    browser.click("a.time").await;
    browser.click("[data-seat='B4']").await;
    browser.click("[data-seat='B5']").await;
    browser.sees("€24.00").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.press("I have an account").await;
    browser.press("New here? Open an account").await;
    browser.fill("[name=name]", "Grace").await;
    browser.fill("[name=email]", "grace@example.org").await;
    browser.fill("[name=password]", "short").await;
    browser.press("Open account").await;
    browser.sees("Please use at least 8 characters.").await;
    browser.fill("[name=password]", "correct horse").await;
    browser.press("Open account").await;
    browser.sees("Your seats are held").await;
    browser.sees("B4 and B5").await;
    assert_eq!(cinema.seat("B4").await, "HELD");

    browser.press("Pay €24.00").await;
    // The provider's page: film, time by the auditorium's clock, auditorium, seats.
    browser.until("/^The Long Night\\s+\\w+day, \\d+ \\w+ \\d{4}, \\d\\d:\\d\\d · .+ · seats B4, B5\\s/.test(document.body.innerText)").await;
    pay(&browser, GOOD).await;
    browser.sees("See you at the cinema").await;
    assert_eq!(cinema.seat("B5").await, "SOLD");
    browser.press("Show tickets").await;
    browser.until("document.querySelectorAll('.pass svg').length === 2").await;
    let readable = "return localStorage.length === 1 && !sessionStorage.getItem('marquee.guest') && document.cookie === ''";
    assert_eq!(browser.script(readable).await, true, "a script can read a token");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_seat_is_booked_without_a_payment_page_and_cancelled() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "ida").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    choose(&browser, "A1").await;
    browser.sees("1 seat, free of charge.").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.sees("There is nothing to pay.").await;
    let order = browser.address().await;
    let words = "return document.querySelector('.order').textContent";
    let shown = browser.script(words).await;
    assert!(!shown.as_str().unwrap().contains("0.00"), "{shown}");
    browser.press("Get tickets").await;
    browser.sees("See you at the cinema").await;
    browser.sees("Free").await;
    assert_eq!(browser.address().await, order, "nobody was sent to a payment page");
    assert_eq!(cinema.seat("A1").await, "SOLD");
    browser.press("Show tickets").await;
    browser.until("document.querySelectorAll('.pass svg').length === 1").await;
    browser.go(&order).await;
    browser.press("Cancel order").await;
    browser.sees("There is nothing to pay back.").await;
    browser.click("dialog .grave").await;
    browser.sees("This order is cancelled").await;
    assert_eq!(cinema.seat("A1").await, "FREE");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_booking_needs_no_mouse() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "lin").await;
    browser.press("Log out lin").await;
    browser.find("#fascia a[href='/login']").await;
    browser.go("/").await;
    browser.find(".to-movie").await;
    browser.tab_to("The Long Night").await;
    browser.keys(&[ENTER]).await;
    browser.find("a.time").await;
    browser.until("document.activeElement.tagName === 'H1'").await;
    browser.until("document.querySelector('.movie a.time')").await;
    browser.tab_to("Tomorrow").await;
    browser.keys(&[TAB, ENTER]).await;
    browser.find("[role=grid]").await;
    browser.tab_to("Row C, seat 6").await;
    browser.keys(&[RIGHT, DOWN, " "]).await;
    assert_eq!(browser.focus().await, "Row D, seat 7, your choice, €12.00");
    browser.keys(&[RIGHT, " "]).await;
    let spoken = "document.querySelector('.seats .unseen').textContent";
    browser.until(&format!("{spoken} === 'D8 chosen. 2 seats, €24.00 in all.'")).await;
    browser.tab_to("Hold these seats").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Your seats are held").await;
    browser.tab_to("I have an account").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Forgot your password?").await;
    browser.tab_to("E-mail").await;
    browser.keys(&["lin@example.org", TAB, "correct horse", ENTER]).await;
    browser.sees("Your seats are held").await;
    browser.tab_to("Pay €24.00").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Card number").await;
    browser.tab_to("Card number").await;
    browser.keys(&[GOOD, ENTER]).await;
    browser.sees("See you at the cinema").await;
    assert_eq!(cinema.seat("D7").await, "SOLD");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_taken_in_another_browser_is_removed_with_an_offer_of_the_nearest() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let (first, second) =
        (Browser::open(&cinema.url(), DESKTOP).await, Browser::open(&cinema.url(), PHONE).await);
    log_in_new(&first, "ada").await;
    log_in_new(&second, "bob").await;
    second.go(&format!("/showtimes/{}", cinema.showtime)).await;
    choose(&second, "C5").await;
    choose(&second, "C6").await;
    second.find(".live[data-state=live]").await;

    hold(&first, &cinema, &["C5"]).await;
    let held_at = Instant::now();
    second.find("[data-seat='C5'][data-state=held]").await;
    assert!(held_at.elapsed() < Duration::from_secs(1), "seen after {:?}", held_at.elapsed());
    second.sees("C5 was taken by somebody else").await;
    second.press("Take C6 and C7").await;
    second.press("Hold these seats").await;
    second.sees("Your seats are held").await;
    assert_eq!(cinema.seat("C7").await, "HELD");
    first.press("Give the seats back").await;
    first.sees("free for others again").await;
    assert_eq!(cinema.seat("C5").await, "FREE");
    first.close().await;
    second.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_card_is_explained_and_the_next_one_pays() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "eve").await;
    hold(&browser, &cinema, &["A1"]).await;
    browser.press("Pay €12.00").await;
    pay(&browser, NO_FUNDS).await;
    browser.sees("insufficient funds").await;
    browser.press("Cancel and go back").await;
    browser.sees("The payment was declined. Your seats are still held.").await;
    browser.sees("There is not enough money on the card").await;
    assert_eq!(cinema.seat("A1").await, "HELD");
    browser.press("Try again, pay €12.00").await;
    pay(&browser, GOOD).await;
    browser.sees("See you at the cinema").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_order_is_repeated_with_one_click() {
    let _slot = slot().await;
    let cinema = TestCinema::open_with(Plan::default().with("HOLD_SECONDS", 4)).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "max").await;
    let lost = hold(&browser, &cinema, &["E1", "E2"]).await;
    browser.sees("The time to pay is over").await;
    browser.press("Try E1 and E2 again").await;
    browser.sees("Your seats are held").await;
    assert!(!browser.address().await.contains(&lost));
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_shown_before_cancelling_and_is_paid() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "kim").await;
    let order = cinema.buy(&person, &["D1", "D2"]).await;
    browser.go("/tickets").await;
    browser.press("The Long Night").await;
    browser.press("Cancel order").await;
    browser.sees("You get €24.00 back.").await;
    browser.press("Keep my tickets").await;
    assert_eq!(cinema.seat("D1").await, "SOLD");
    browser.press("Cancel order").await;
    browser.press("Cancel and get €24.00 back").await;
    browser.sees("€24.00 was paid back").await;
    assert_eq!(cinema.captured(&order).await, 0);
    assert_eq!(cinema.seat("D1").await, "FREE");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_replaces_the_old_seats() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "zoe").await;
    let order = cinema.buy(&person, &["A1", "A2"]).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Exchange seats").await;
    browser.sees("You have A1 and A2 for €24.00").await;
    browser.click("[data-seat='E5']").await;
    browser.click("[data-seat='E6']").await;
    browser.sees("the same price as before").await;
    browser.press("Exchange").await;
    browser.sees("Instead of A1 and A2 you get E5 and E6.").await;
    browser.sees("The price is the same: you pay nothing, and nothing comes back.").await;
    browser.press("Exchange now").await;
    browser.sees("See you at the cinema").await;
    browser.sees("E5 and E6").await;
    assert_eq!(cinema.seat("A1").await, "FREE");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_page_is_in_the_language_of_the_order() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "ida").await;
    speak(&browser, "de").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    choose(&browser, "A1").await;
    browser.press("Weiter zur Kasse").await;
    browser.sees("Ihre Plätze sind für Sie freigehalten").await;
    browser.press("Zahlungspflichtig bestellen: 12,00\u{a0}€").await;
    browser.sees("Kartennummer").await;
    browser
        .until(
            "/\\d\\d\\.\\d\\d\\.\\d{4}, \\d\\d:\\d\\d Uhr · .+ · Platz A1\\s/.test(document.body.innerText)",
        )
        .await;
    browser.sees("Bezahlen: 12,00 EUR").await;
    assert_eq!(browser.script("return document.getElementById('number').value").await, "");
    pay(&browser, GOOD).await;
    browser.sees("Bis bald im Kino").await;
    browser.close().await;
    cinema.close().await;
}
