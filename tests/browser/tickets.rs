//! Tickets of a paid order: in a cellar, on a phone held sideways, on paper, and passed on to a friend.

use serde_json::json;

use crate::cinema::TestCinema;
use crate::door::{network, tickets};
use crate::driver::{Browser, DESKTOP, PHONE, Screen, slot};
use crate::log_in_new;
use crate::scanning::codes_of;
use crate::staff::set;

/// How many orders the browser has stored.
const KEPT_ORDERS: &str = "const done = arguments[arguments.length - 1]; caches.open('marquee.kept') \
    .then((cache) => cache.keys()).then((keys) => done(keys.filter((key) => key.url.includes('orders')).length))";
const SHOWN: &str = "document.querySelectorAll('dialog .pass svg').length === 2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_open_without_a_connection_and_are_deleted_at_logout() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    let signed = tickets(&cinema, &ada, &order).await;
    browser.go("/tickets").await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;

    // Offline on the page that is open: the ticket is shown at once, and a scanner reads it.
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.emulateNetworkConditions", network(true)).await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    assert_eq!(browser.codes_on_screen().await, signed[..1]);
    browser.click("[aria-label='Next ticket']").await;
    browser.until("document.querySelector('.dots [data-on=true]').previousElementSibling").await;
    browser.until("document.querySelector('[aria-label=\"Next ticket\"]').disabled").await;
    browser
        .until("Math.abs(document.querySelector('.pass:last-child').getBoundingClientRect().left) < 40")
        .await;
    assert_eq!(browser.codes_on_screen().await, signed[1..]);
    browser.devtools("Network.emulateNetworkConditions", network(false)).await;

    // Opened anew while there is no server: the list, the order's page, and the programme, with what the browser has of it.
    let address = cinema.url().trim_start_matches("http://").to_owned();
    cinema.set("HTTP_ADDR", address);
    cinema.stop_hosts().await;
    browser.forget_files().await;
    browser.reload().await;
    browser.sees("No connection").await;
    browser.sees("These tickets are stored in this browser").await;
    browser.until("document.querySelectorAll('.stub').length === 1").await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    assert_eq!(browser.codes_on_screen().await, signed[..1]);
    browser.go(&format!("/reservations/{order}")).await;
    browser.sees("No connection").await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    browser.go("/").await;
    browser.find("#fascia .sign").await;

    // With the server the page is the usual one again, and a logout leaves nothing behind.
    cinema.start_hosts().await;
    browser.go("/tickets").await;
    browser
        .until("document.querySelector('.stub') && !document.body.innerText.includes('No connection')")
        .await;
    browser.press("Log out ada").await;
    browser.find("#fascia a[href='/login']").await;
    let kept = "const done = arguments[arguments.length - 1]; caches.has('marquee.kept').then(done)";
    assert_eq!(browser.script_later(kept).await, false);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_tickets_open_in_the_language_that_was_chosen_since() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    cinema.buy(&ada, &["C5"]).await;
    browser.go("/tickets").await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;
    // The language is chosen on a page that stores nothing itself.
    browser.go("/account").await;
    browser.find("main h1").await;
    set(&browser, "#language", "de").await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;
    cinema.stop_hosts().await;
    browser.forget_files().await;
    browser.go("/tickets").await;
    browser.sees("Diese Tickets sind in diesem Browser gespeichert").await;
    browser.press("Tickets zeigen").await;
    browser.find("dialog .pass svg").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_order_leaves_no_tickets_on_the_device() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;
    assert_eq!(browser.script_later(KEPT_ORDERS).await, 1);
    cinema.cancel(&ada, &order).await.expect(200);
    browser.sees("You cancelled this order").await;
    browser.until_later(KEPT_ORDERS, &json!(0)).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_of_a_show_that_is_over_are_deleted() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    cinema.buy(&ada, &["C5"]).await;
    browser.go("/tickets").await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;
    cinema.stop_hosts().await;
    let ended = "const done = arguments[arguments.length - 1]; (async () => { \
                 const cache = await caches.open('marquee.kept'); \
                 const key = (await cache.keys()).find((key) => key.url.includes('orders')); \
                 const stored = await (await cache.match(key)).json(); \
                 stored.showtime.endsAt = '2020-01-01T00:00:00Z'; \
                 await cache.put(key, new Response(JSON.stringify(stored))); })().then(() => done(null))";
    assert_eq!(browser.script_later(KEPT_ORDERS).await, 1);
    browser.script_later(ended).await;
    browser.reload().await;
    browser.sees("There is no connection").await;
    assert_eq!(browser.script_later(KEPT_ORDERS).await, 0);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_held_sideways_shows_a_code_that_a_scanner_reads() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    let signed = tickets(&cinema, &ada, &order).await;
    for (width, height) in [(667, 375), (844, 390), (390, 844), (320, 568)] {
        browser.set_screen(Screen { width, height, dark: true }).await;
        browser.go(&format!("/reservations/{order}")).await;
        browser.press("Show tickets").await;
        browser.until(SHOWN).await;
        let side = "return (({width, height}) => Math.min(width, height)) \
                    (document.querySelector('.pass svg').getBoundingClientRect())";
        let side = browser.script(side).await.as_f64().unwrap();
        assert!(side >= 240.0, "{width}×{height}: {side} px");
        let outside = "return [...document.querySelectorAll('dialog :is(button, .pass:first-child figcaption *)')] \
            .filter((e) => { const box = e.getBoundingClientRect(); \
              return box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || box.top < -1; }) \
            .map((e) => e.innerText)";
        assert_eq!(browser.script(outside).await, json!([]), "{width}×{height}: cut off");
        assert_eq!(browser.codes_on_screen().await, signed[..1], "{width}×{height}");
    }
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn print_has_each_ticket_with_its_code_and_nothing_else() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    let signed: Vec<Vec<String>> =
        tickets(&cinema, &ada, &order).await.into_iter().map(|token| vec![token]).collect();
    let code = cinema.reservation(&ada, &order).await["code"].as_str().unwrap().to_owned();
    let code = format!("{}-{}", &code[..4], &code[4..]);
    browser.go(&format!("/reservations/{order}")).await;
    browser.find(".print-sheet").await;
    for from in ["the order's page", "the tickets"] {
        let (sheets, text) = browser.print().await;
        assert_eq!(sheets, signed, "printed from {from}");
        for word in ["C5", "C6", "The Long Night", &code] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
        for word in ["Close", "Log out", "Show tickets", "Cancel order", "Print"] {
            assert!(!text.contains(word), "{word} is printed: {text}");
        }
        if from == "the order's page" {
            browser.press("Show tickets").await;
            browser.until(SHOWN).await;
        }
    }
    // Another page prints itself.
    browser.go("/tickets").await;
    browser.sees("Upcoming").await;
    let (sheets, text) = browser.print().await;
    assert!(sheets.concat().is_empty() && text.contains("The Long Night"), "{text}");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ticket_is_shared_as_a_picture_that_a_scanner_reads() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    let signed = tickets(&cinema, &ada, &order).await;
    browser.go(&format!("/reservations/{order}")).await;
    // The test's browser has no way to share.
    browser
        .script("navigator.canShare = () => true; navigator.share = async ({files}) => { window.shared = files[0]; }")
        .await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    browser.click("[aria-label='Next ticket']").await;
    browser.until("document.querySelector('[aria-label=\"Next ticket\"]').disabled").await;
    browser.press("Share this ticket").await;
    browser.until("window.shared").await;
    let picture = "const done = arguments[arguments.length - 1]; const reader = new FileReader(); \
                   reader.onload = () => done(reader.result.split(',')[1]); reader.readAsDataURL(window.shared)";
    assert_eq!(codes_of(&browser.script_later(picture).await), signed[1..]);
    let name = browser.script("return window.shared.name").await;
    assert_eq!(name, "The-Long-Night-C6.png");
    browser.close().await;
    cinema.close().await;
}
