//! Browsers of some years ago, such as Safari 16.4: the page works without the functions that they lack.

use serde_json::json;

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, slot};
use crate::staff::log_in_owner;
use crate::{hold, log_in_new};

/// Deletes, before any script of the page runs, what is newer than Safari 16.4.
const OLDER: &str = "(() => { \
  const missing = [[Map, 'groupBy'], [Object, 'groupBy'], [Promise, 'withResolvers'], [Promise, 'try'], [Array, 'fromAsync'], \
    [AbortSignal, 'any'], [URL, 'canParse'], [URL, 'parse'], [RegExp, 'escape'], [globalThis, 'Iterator'], [Intl, 'DurationFormat'], \
    ...['union', 'intersection', 'difference', 'isSubsetOf', 'isSupersetOf'].map((name) => [Set.prototype, name]), \
    ...['map', 'filter', 'take', 'drop', 'flatMap', 'some', 'every', 'find', 'reduce', 'toArray', 'forEach'] \
      .map((name) => [Object.getPrototypeOf(Object.getPrototypeOf([].values())), name])]; \
  for (const [of, name] of missing) delete of[name]; })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_works_without_the_functions_that_older_browsers_lack() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": OLDER})).await;
    let person = log_in_new(&browser, "old").await;
    assert_eq!(
        browser.script("return Map.groupBy === undefined && AbortSignal.any === undefined").await,
        true
    );
    let sold = cinema.buy(&person, &["A1"]).await;
    let movie = cinema.call(reqwest::Method::GET, "/v1/movies", None, None).await.expect(200);
    let movie = movie["items"][0]["id"].as_str().unwrap().to_owned();
    let pages = ["/", &format!("/movies/{movie}"), &format!("/reservations/{sold}"), "/tickets", "/account"];
    for page in pages {
        shows(&browser, page).await;
    }
    hold(&browser, &cinema, &["C5"]).await;
    browser.find(".clock").await;
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    log_in_owner(&browser).await;
    for page in [
        "/staff",
        "/staff/movies",
        "/staff/halls",
        "/staff/prices",
        "/staff/prices/new",
        "/staff/sales",
        "/staff/reports",
        "/staff/orders",
        "/staff/people",
        "/staff/operations",
        "/door",
    ] {
        shows(&browser, page).await;
    }
    browser.close().await;
    cinema.close().await;
}

/// The page is shown, and not the one that says that it failed.
async fn shows(browser: &Browser, page: &str) {
    browser.go(page).await;
    browser
        .until(
            "document.querySelector('main h1')?.textContent && !document.querySelector('[aria-busy=true]')",
        )
        .await;
    let shown = browser.script("return document.querySelector('main').innerText").await;
    let shown = shown.as_str().unwrap();
    assert!(!shown.contains("could not be shown") && !shown.contains("went wrong"), "{page}: {shown}");
}
