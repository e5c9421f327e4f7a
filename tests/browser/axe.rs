//! Accessibility: axe-core finds nothing on any page and in any dialog, in both themes, on a phone and on a desktop.

use std::path::Path;

use reqwest::Method;

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, PHONE, Screen, slot};
use crate::log_in_new;
use crate::schedule::day;
use crate::staff::{first, log_in_owner, parked};

const SCREENS: [Screen; 4] =
    [DESKTOP, Screen { dark: true, ..DESKTOP }, Screen { dark: false, ..PHONE }, PHONE];

/// The source of axe-core.
pub fn axe() -> String {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/browser/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(axe).expect("axe-core: scripts/install-browser.sh installs it")
}

/// The violations that axe finds, one line each.
pub async fn violations(browser: &Browser) -> Vec<String> {
    let found = browser
        .script_later(
            "const done = arguments[arguments.length - 1]; \
             axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', \
               'best-practice']}).then(({violations}) => \
             done(violations.map((item) => [item.id, ...item.nodes.map((node) => node.html.slice(0, 120) + ' ' + \
               (node.any[0]?.message ?? node.all[0]?.message ?? node.none[0]?.message ?? ''))].join('\\n  '))), (e) => done([String(e)]))",
        )
        .await;
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// Opens a page and waits until it is drawn.
async fn open(browser: &Browser, page: &str) {
    browser.set_screen(DESKTOP).await;
    browser.go(page).await;
    browser
        .until(
            "document.querySelector('main h1')?.textContent && !document.querySelector('[aria-busy=true]')",
        )
        .await;
}

/// What is wrong with what is shown now, on these screens.
async fn look(browser: &Browser, name: &str, screens: &[Screen]) -> Vec<String> {
    let mut wrong = Vec::new();
    browser.script(&axe()).await;
    for screen in screens {
        browser.set_screen(*screen).await;
        for violation in violations(browser).await {
            wrong.push(format!("{name} {screen:?}: {violation}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page_in_both_themes() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "ida").await;
    let sold = cinema.buy(&person, &["A1"]).await;
    let gone = cinema.reserve(&person, &["A2"]).await;
    cinema.cancel(&person, &gone).await.expect(200);
    let (held, other) = (cinema.reserve(&person, &["A3"]).await, cinema.register().await);
    cinema.reserve(&other, &["B1"]).await;
    let movie = id(&first(&cinema, "/v1/movies").await);
    let pages = [
        "/".to_owned(),
        "/?name=nothing+like+it".to_owned(),
        format!("/movies/{movie}"),
        format!("/showtimes/{}", cinema.showtime),
        format!("/showtimes/{}?exchange={sold}", cinema.showtime),
        format!("/reservations/{sold}"),
        format!("/reservations/{gone}"),
        format!("/reservations/{held}"),
        "/tickets".to_owned(),
        "/account".to_owned(),
        "/login".to_owned(),
        "/register".to_owned(),
        "/forgot".to_owned(),
        "/reset?token=x".to_owned(),
        "/reset".to_owned(),
        "/verify?token=x".to_owned(),
        "/verify".to_owned(),
        "/nothing".to_owned(),
    ];
    let mut wrong = Vec::new();
    for page in &pages {
        open(&browser, page).await;
        wrong.extend(look(&browser, page, &SCREENS).await);
    }
    // A form with errors.
    open(&browser, "/register").await;
    browser.press("Open account").await;
    browser.sees("Please enter a name.").await;
    wrong.extend(look(&browser, "errors of a form", &SCREENS).await);
    // The dialog with the tickets, which fills the screen.
    open(&browser, &format!("/reservations/{sold}")).await;
    browser.press("Show tickets").await;
    browser.find(".pass").await;
    wrong.extend(look(&browser, "tickets", &SCREENS).await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    browser.close().await;
    cinema.cancel(&person, &held).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page_of_staff_in_both_themes() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    let schedule = format!("/staff/showtimes?date={}", day(&browser, &cinema, 0).await);
    // A show of today.
    cinema.showtime = cinema.schedule(&["SSSSS"], 60).await;
    cinema.buy(&ada, &["A1"]).await;
    cinema.publish_unreadable_event().await;
    let letter = parked(&cinema).await["sequence"].clone();
    let order = format!("/staff/orders/{order}");
    let pages = [
        "/staff".to_owned(),
        "/staff/showtimes".to_owned(),
        schedule.clone(),
        "/staff/movies".to_owned(),
        "/staff/movies/new".to_owned(),
        format!("/staff/movies/{}", id(&first(&cinema, "/v1/movies").await)),
        "/staff/genres".to_owned(),
        "/staff/halls".to_owned(),
        "/staff/halls/new".to_owned(),
        format!("/staff/halls/{}", id(&first(&cinema, "/v1/auditoriums").await)),
        "/staff/sales".to_owned(),
        "/staff/reports".to_owned(),
        "/staff/holds".to_owned(),
        "/staff/sales?by=movie".to_owned(),
        "/staff/orders".to_owned(),
        order.clone(),
        "/staff/people".to_owned(),
        "/staff/mails".to_owned(),
        "/staff/operations".to_owned(),
        "/staff/letters".to_owned(),
        format!("/staff/letters/{letter}"),
        "/door".to_owned(),
    ];
    let mut wrong = Vec::new();
    for page in &pages {
        open(&browser, page).await;
        wrong.extend(look(&browser, page, &SCREENS).await);
    }
    let dialogs = [
        (&schedule, "New showtime"),
        (&schedule, "Plan several days"),
        (&schedule, "Copy a day or week"),
        (&order, "Change address"),
        (&order, "Cancel order"),
        (&order, "Pay back"),
    ];
    for (page, button) in dialogs {
        open(&browser, page).await;
        browser.press(button).await;
        browser.find("dialog[open] form").await;
        // The preview of a copy is loaded first.
        browser.until("!document.querySelector('dialog').innerText.includes('One moment')").await;
        wrong.extend(look(&browser, button, &SCREENS).await);
    }
    // The last dialog, filled wrong.
    browser.set_screen(DESKTOP).await;
    browser.fill("dialog [name=amount]", "x").await;
    browser.script("document.querySelector('dialog[open] form').requestSubmit()").await;
    browser.find("dialog[open] .wrong").await;
    wrong.extend(look(&browser, "errors of a dialog", &SCREENS).await);
    wrong.extend(take_off(&browser, &schedule).await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    browser.close().await;
    let path = format!("/v1/admin/dead-letters/{letter}");
    cinema.call(Method::DELETE, &path, Some(&cinema.owner()), None).await.expect(204);
    cinema.close().await;
}

/// A showtime's dialog, the question before it is taken off, and the bar that undoes that.
async fn take_off(browser: &Browser, schedule: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    open(browser, schedule).await;
    browser.click(".timeline-block").await;
    browser.find("dialog[open]").await;
    wrong.extend(look(browser, "a showtime", &SCREENS).await);
    browser.set_screen(DESKTOP).await;
    browser.press("Take it off").await;
    browser.sees("you can undo it").await;
    wrong.extend(look(browser, "the question", &SCREENS).await);
    browser.set_screen(DESKTOP).await;
    browser.press("Take it off").await;
    browser.find(".undo-bar").await;
    // The bar is there for eight seconds.
    wrong.extend(look(browser, "the bar", &SCREENS[..2]).await);
    browser.press("Undo").await;
    wrong
}
