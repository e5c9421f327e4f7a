//! A lost connection strands nobody, and hidden tabs keep no connection open.

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::log_in_new;

const LIVE: &str = "document.querySelector('.live[data-state=live]')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_could_not_be_loaded_comes_by_itself_when_the_connection_is_back() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_new(&browser, "ida").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.until(LIVE).await;
    browser.cut(true).await;
    // Neither the page's module nor its data was loaded before.
    browser.press("Tickets").await;
    browser.sees("There is no connection.").await;
    browser.sees("The page comes by itself as soon as we can be reached again.").await;
    assert_eq!(browser.address().await, "/tickets");
    browser.until("document.activeElement.tagName === 'H1'").await;
    // Links and the browser's buttons work, though no page can be loaded.
    browser.press("Account").await;
    browser.until("document.querySelector('#fascia [href=\"/account\"][aria-current=page]')").await;
    browser.sees("There is no connection.").await;
    browser.script("history.back()").await;
    browser.until("document.querySelector('#fascia [href=\"/tickets\"][aria-current=page]')").await;
    browser.sees("There is no connection.").await;
    browser.press("Try again").await;
    browser.sees("There is no connection.").await;
    browser.cut(false).await;
    browser.sees("No tickets yet.").await;
    assert_eq!(browser.script("return document.title").await, "My tickets · Marquee");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seventh_tab_opens_beside_six_live_ones_and_a_tab_that_is_shown_again_is_current() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "ida").await;
    let orders = [cinema.buy(&person, &["A1"]).await, cinema.buy(&person, &["A2"]).await];
    let hall = format!("/showtimes/{}", cinema.showtime);
    let first = browser.tab().await;
    browser.go(&hall).await;
    browser.until(LIVE).await;
    for _ in 0..3 {
        browser.open_tab(DESKTOP).await;
        browser.go(&hall).await;
        browser.until(LIVE).await;
    }
    // An order's page waits for changes by a request that is answered after twenty seconds.
    for order in orders {
        browser.open_tab(DESKTOP).await;
        browser.go(&format!("/reservations/{order}")).await;
        browser.sees("See you at the cinema").await;
    }
    browser.open_tab(DESKTOP).await;
    browser.go("/").await;
    browser.find(".to-movie").await;

    cinema.reserve(&cinema.register().await, &["C5"]).await;
    browser.show_tab(&first).await;
    browser.find("[data-seat='C5'][data-state=held]").await;
    browser.until(LIVE).await;
    browser.close().await;
    cinema.close().await;
}
