//! Accessibility, transfer size, speed, layout shifts, languages, links in mails.

use std::path::Path;

use serde_json::{Value, json};

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, PHONE, Screen, slot};
use crate::{hold, log_in_new};

/// The most bytes of a first view, without posters: one second on a slow connection.
const FIRST_VIEW_BYTES_MAX: f64 = 150_000.0;
/// One frame at 60 Hz.
const FRAME_MS: f64 = 16.0;
/// 1.6 Mbit/s with a round trip of 150 ms, as in Lighthouse: latency (ms), bytes/s down and up.
const FAST_3G: (u32, u32, u32) = (150, 200_000, 93_750);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page_in_both_themes() {
    let _slot = slot().await;
    let axe = axe();
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "ida").await;
    let sold = cinema.buy(&person, &["A1"]).await;
    let gone = cinema.reserve(&person, &["A2"]).await;
    cinema.cancel(&person, &gone).await.expect(200);
    let (open, other) = (cinema.reserve(&person, &["A3"]).await, cinema.register().await);
    cinema.reserve(&other, &["B1"]).await;
    let movie = cinema.call(reqwest::Method::GET, "/v1/movies", None, None).await.expect(200);
    let movie = id(&movie["items"][0]);
    let pages = [
        "/".to_owned(),
        "/?name=nothing+like+it".to_owned(),
        format!("/movies/{movie}"),
        format!("/showtimes/{}", cinema.showtime),
        format!("/showtimes/{}?exchange={sold}", cinema.showtime),
        format!("/reservations/{sold}"),
        format!("/reservations/{gone}"),
        format!("/reservations/{open}"),
        "/tickets".to_owned(),
        "/account".to_owned(),
        "/login".to_owned(),
        "/register".to_owned(),
        "/forgot".to_owned(),
        "/reset?token=x".to_owned(),
        "/reset".to_owned(),
        "/nothing".to_owned(),
    ];
    let mut wrong = Vec::new();
    for page in &pages {
        browser.go(page).await;
        browser.until("document.querySelector('main h1')?.textContent && !document.querySelector('[aria-busy=true]')").await;
        browser.script(&axe).await;
        for screen in [DESKTOP, Screen { dark: true, ..DESKTOP }, Screen { dark: false, ..PHONE }, PHONE] {
            browser.set_screen(screen).await;
            for violation in violations(&browser).await {
                wrong.push(format!("{page} {screen:?}: {violation}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The dialog with the tickets, which fills the screen.
    browser.go(&format!("/reservations/{sold}")).await;
    browser.press("Show tickets").await;
    browser.find(".pass").await;
    browser.script(&axe).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.close().await;
    cinema.cancel(&person, &open).await;
    cinema.close().await;
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_view_is_small_and_fast() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let (latency, down, up) = FAST_3G;
    browser.devtools("Network.enable", json!({})).await;
    let line =
        json!({"offline": false, "latency": latency, "downloadThroughput": down, "uploadThroughput": up});
    browser.devtools("Network.emulateNetworkConditions", line).await;
    browser.go("/").await;
    browser.find(".to-movie").await;
    let weighed = browser
        .script(
            "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]; \
             const own = all.filter((entry) => !new URL(entry.name).pathname.startsWith('/media/')); \
             return {bytes: own.reduce((sum, entry) => sum + entry.transferSize, 0), requests: own.length, \
               paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime, \
               all: own.map((entry) => entry.name + ' ' + entry.transferSize)}",
        )
        .await;
    println!("first view: {weighed:#}");
    assert!(weighed["bytes"].as_f64().unwrap() < FIRST_VIEW_BYTES_MAX, "{weighed:#}");
    assert!(weighed["bytes"].as_f64().unwrap() > 20_000.0, "not weighed: {weighed:#}");
    assert!(weighed["paint"].as_f64().unwrap() < 1_000.0, "{weighed:#}");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_when_posters_load() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let movies = cinema.call(reqwest::Method::GET, "/v1/movies", None, None).await.expect(200);
    let mut picture = Vec::new();
    let pixels = image::RgbImage::from_fn(400, 640, |x, y| image::Rgb([x as u8, y as u8, 90]));
    pixels.write_to(&mut std::io::Cursor::new(&mut picture), image::ImageFormat::Png).unwrap();
    let part = reqwest::multipart::Part::bytes(picture).file_name("poster.png");
    let put = cinema
        .http
        .put(format!("{}/v1/movies/{}/poster", cinema.url(), id(&movies["items"][0])))
        .bearer_auth(&cinema.owner().token)
        .multipart(reqwest::multipart::Form::new().part("file", part));
    assert_eq!(put.send().await.unwrap().status(), 200);
    let browser = Browser::open(&cinema.url(), PHONE).await;
    for page in ["/".to_owned(), format!("/movies/{}", id(&movies["items"][0]))] {
        browser.go(&page).await;
        browser.until("document.querySelector('.poster img')?.complete").await;
        let moved = browser
            .script_later(
                "const done = arguments[arguments.length - 1]; let sum = 0; \
                 new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; }) \
                   .observe({type: 'layout-shift', buffered: true}); \
                 requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(sum), 100)))",
            )
            .await;
        println!("layout shift of {page}: {moved}");
        assert!(moved.as_f64().unwrap() < 0.02, "{page} moves by {moved}");
    }
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_of_500_seats_shows_a_change_within_a_frame() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    browser.find(".to-movie").await;
    let took: Value = browser
        .script_later(
            "const done = arguments[arguments.length - 1]; \
             const base = document.querySelector('script[type=module]').src; \
             import(new URL('./parts/hall.js', base)).then(({hall}) => { \
               const seats = Array.from({length: 500}, (_, at) => ({id: 'R' + at, row: 'R' + Math.floor(at / 25), \
                 number: at % 25 + 1, column: at % 25 + 1, kind: 'STANDARD', status: 'FREE', price: {amount: 1200, currency: 'EUR'}})); \
               const made = hall(seats, {toggle() {}, label: 'Hall'}); \
               document.getElementById('main').replaceChildren(made.node); \
               made.node.getBoundingClientRect(); \
               const times = []; \
               for (let at = 0; at < 200; at++) { \
                 const begun = performance.now(); \
                 made.change('R' + at, at % 2 ? 'HELD' : 'SOLD'); \
                 made.node.getBoundingClientRect(); \
                 times.push(performance.now() - begun); \
               } \
               times.sort((a, b) => a - b); \
               done({median: times[100], worst: times[199], seats: document.querySelectorAll('[data-seat]').length}); \
             })",
        )
        .await;
    println!("a change of one of 500 seats, with layout: {took} ms");
    assert_eq!(took["seats"], 500);
    // The median: the slowest may have been interrupted by another process.
    assert!(took["median"].as_f64().unwrap() < FRAME_MS, "{took}");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_in_the_readers_language_also_for_an_unknown_address() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/nothing").await;
    browser.sees("Page not found").await;
    browser.script("const choice = document.getElementById('language'); choice.value = 'de'; choice.dispatchEvent(new Event('change'))").await;
    browser.sees("Seite nicht gefunden").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.sees("Wählen Sie Ihre Plätze").await;
    browser.click("[data-seat='A1']").await;
    // Money in German notation, with a no-break space.
    browser.sees("12,00\u{a0}€").await;
    assert_eq!(browser.script("return document.documentElement.lang").await, "de");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_payments_are_tests_every_page_says_that_no_money_is_charged() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    browser.find("#fascia nav").await;
    assert_eq!(browser.script("return document.querySelectorAll('.sandbox').length").await, 0);
    browser.close().await;
    cinema.stop_hosts().await;
    cinema.set("SANDBOX", "true");
    cinema.start_hosts().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    for path in ["/", &format!("/showtimes/{}", cinema.showtime), "/staff", "/door"] {
        browser.go(path).await;
        browser.sees("Test payments: no money is charged.").await;
    }
    browser.script("const choice = document.getElementById('language'); choice.value = 'de'; choice.dispatchEvent(new Event('change'))").await;
    browser.sees("Testzahlungen: Es wird kein Geld abgebucht.").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_from_the_mail_sets_a_new_password() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "una").await;
    browser.go("/forgot").await;
    browser.fill("[name=email]", "una@example.org").await;
    browser.press("Send the link").await;
    browser.sees("Look into your mail").await;
    let link = reset_link(&cinema).await;
    assert!(link.starts_with(&cinema.url()), "{link}");
    browser.go(&link).await;
    browser.fill("[name=password]", "battery staple").await;
    browser.press("Save and log in").await;
    // The earlier login has ended, and the page shows it.
    browser.find("#fascia a[href='/login']").await;
    browser.fill("[name=email]", "una@example.org").await;
    browser.fill("[name=password]", "battery staple").await;
    browser.press("Log in").await;
    browser.find("#fascia a[href='/account']").await;
    hold(&browser, &cinema, &["A1"]).await;
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_page_says_that_the_address_is_not_confirmed_until_the_link_is_used() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "vera").await;
    browser.go("/account").await;
    browser.sees("Your e-mail address is not confirmed").await;
    let link = mail_link(&cinema, "/verify?token=").await;
    browser.go(&link).await;
    browser.press("Confirm the address").await;
    browser.sees("Your address is confirmed.").await;
    browser.go("/account").await;
    browser.sees("vera@example.org").await;
    browser.until("!document.body.innerText.includes('not confirmed')").await;
    browser.close().await;
    cinema.close().await;
}

async fn reset_link(cinema: &TestCinema) -> String {
    mail_link(cinema, "/reset?token=").await
}

/// The link to this page in the latest mail.
async fn mail_link(cinema: &TestCinema, page: &str) -> String {
    let folder = cinema.folder.path().join("mail");
    let found = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| std::fs::read(file.path()).ok()).find_map(|mail| {
            let mail = mail_parser::MessageParser::default().parse(&mail)?.body_text(0)?.into_owned();
            let link =
                mail.split_whitespace().find(|word| word.starts_with("http") && word.contains(page))?;
            Some(link.to_owned())
        })
    };
    cinema.until("a mail with a link", async || found().is_some()).await;
    found().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_during_a_token_refresh_keep_the_login() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "joy").await;
    // Each page is left while it requests its access token, each time at another moment.
    for milliseconds in [1, 10, 20, 30, 40, 60, 80, 120] {
        browser.script(&format!("setTimeout(() => location.reload(), {milliseconds})")).await;
        browser.until("!performance.getEntriesByName('left').length").await;
        browser.script("performance.mark('left')").await;
    }
    browser.go("/account").await;
    browser.find("#fascia a[href='/account']").await;
    browser.sees("joy@example.org").await;
    browser.close().await;
    cinema.close().await;
}
