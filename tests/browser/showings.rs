//! Showings on the page: versions, formats and age ratings as text, the filters, the start of the sale, and drafts in the hands of
//! staff.

use reqwest::Method;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::axe::{axe, violations};
use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, ENTER, RIGHT, slot};
use crate::speak;
use crate::staff::{log_in_owner, set};

fn ahead(minutes: i64) -> String {
    (OffsetDateTime::now_utc() + Duration::minutes(minutes)).format(&Rfc3339).unwrap()
}

async fn make(cinema: &TestCinema, path: &str, body: Value) -> String {
    id(&cinema.call(Method::POST, path, Some(&cinema.owner()), Some(body)).await.expect(201))
}

/// A film with a subtitled and a dubbed version, in 2D and 3D.
async fn film(cinema: &TestCinema, title: &str, rating: &str) -> String {
    let versions = json!([
        {"kind": "SUBTITLED", "audio": "en", "subtitles": ["de"]}, {"kind": "DUBBED", "audio": "de"},
    ]);
    let rating = json!({"scheme": "FSK", "value": rating});
    let body = json!({"title": title, "durationMinutes": 90, "releaseDate": "2026-01-01", "versions": versions, "formats": ["2D", "3D"], "ageRating": rating});
    make(cinema, "/v1/movies", body).await
}

/// A showtime in a hall of its own, so many minutes from now.
async fn show(cinema: &TestCinema, film: &str, minutes: i64, fields: Value) -> String {
    let name = format!("Hall {}", uuid::Uuid::now_v7().simple());
    let seats: Vec<Value> = (1..=4).map(|number| json!({"number": number, "kind": "STANDARD"})).collect();
    let hall = json!({"name": name, "timeZone": "UTC", "rows": [{"label": "A", "seats": seats}]});
    let hall = make(cinema, "/v1/auditoriums", hall).await;
    let mut body = json!({"movieId": film, "auditoriumId": hall, "startsAt": ahead(minutes), "prices": {"STANDARD": {"amount": 1200, "currency": "EUR"}}});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    make(cinema, "/v1/showtimes", body).await
}

const TITLES: &str =
    "[...document.querySelectorAll('.ticketed h2')].map((one) => one.textContent).sort().join('|')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_say_version_and_format_in_words_and_the_programme_is_filtered_by_them() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let (boats, kites) = (film(&cinema, "Night Boats", "16").await, film(&cinema, "Paper Kites", "0").await);
    let subtitled = json!({"kind": "SUBTITLED", "audio": "en", "subtitles": ["de"]});
    let dubbed = json!({"kind": "DUBBED", "audio": "de"});
    let day = 3 * 24 * 60;
    let shown = show(
        &cinema,
        &boats,
        day,
        json!({"filmVersion": subtitled, "format": "3D", "minutesBeforeFilm": 20}),
    )
    .await;
    show(&cinema, &kites, day, json!({"filmVersion": dubbed, "format": "2D"})).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let date = (OffsetDateTime::now_utc() + Duration::minutes(day)).date();
    browser.go(&format!("/?date={date}")).await;
    browser.until(&format!("{TITLES} === 'Night Boats|Paper Kites'")).await;
    // The accessible name of the link has the full words, not only the abbreviation.
    let name = format!("document.querySelector(\"a[href='/showtimes/{shown}']\").textContent");
    browser.until(&format!("{name}.includes('Original version (English), subtitles: German')")).await;
    browser.until(&format!("{name}.includes('3D')")).await;
    browser
        .until("document.querySelector('.badge.rating').textContent.includes('FSK 16: Ages 16 and over')")
        .await;
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    for (select, value, left) in [
        ("#filter-version", "DUBBED", "Paper Kites"),
        ("#filter-version", "SUBTITLED", "Night Boats"),
        ("#filter-version", "", "Night Boats|Paper Kites"),
        ("#filter-format", "3D", "Night Boats"),
        ("#filter-format", "", "Night Boats|Paper Kites"),
        ("#filter-age", "6", "Paper Kites"),
    ] {
        set(&browser, select, value).await;
        browser.until(&format!("{TITLES} === '{left}'")).await;
    }
    // The filter is in the address, and comes back from a film's page.
    browser.until("location.search.includes('age=6')").await;
    browser.reload().await;
    browser.until(&format!("{TITLES} === 'Paper Kites'")).await;
    speak(&browser, "de").await;
    browser.go(&format!("/showtimes/{shown}")).await;
    browser.sees("Filmbeginn").await;
    browser.sees("Originalfassung (Englisch), Untertitel: Deutsch").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_before_its_sale_is_listed_with_the_time_and_holds_nothing() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let gala = film(&cinema, "Gala", "12").await;
    let later = show(&cinema, &gala, 3 * 24 * 60, json!({"onSaleAt": ahead(24 * 60)})).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/movies/{gala}")).await;
    browser.sees("on sale from").await;
    browser.until(&format!("!document.querySelector(\"a[href='/showtimes/{later}']\")")).await;
    browser.go(&format!("/showtimes/{later}")).await;
    browser.sees("Seats can be bought from").await;
    browser.close().await;
    cinema.close().await;
}

/// No seat of the hall can be chosen, with the mouse or the keyboard, and a sentence says why.
async fn is_closed(browser: &Browser, sentence: &str) {
    browser.sees(sentence).await;
    let seats = "[...document.querySelectorAll('.hall [data-seat]')]";
    let disabled = format!("{seats}.every((one) => one.getAttribute('aria-disabled') === 'true')");
    browser.until(&format!("{seats}.length === 4 && {disabled}")).await;
    browser.until("!document.getElementById('best-count')").await;
    browser.click("[data-seat='A1']").await;
    browser.keys(&[RIGHT, ENTER, " "]).await;
    let spoken = format!("document.querySelector('.seats > .unseen').textContent.includes('{sentence}')");
    browser.until(&spoken).await;
    assert!(browser.focus().await.contains("seat 2, not on sale now"), "{}", browser.focus().await);
    assert_eq!(
        browser.script("return document.querySelectorAll('[data-seat][data-state=chosen]').length").await,
        0
    );
    browser.script(&axe()).await;
    assert_eq!(violations(browser).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hall_before_its_sale_is_grey_and_opens_without_a_reload() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let gala = film(&cinema, "Gala", "12").await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let begins = (OffsetDateTime::now_utc() + Duration::seconds(35)).format(&Rfc3339).unwrap();
    let soon = show(&cinema, &gala, 3 * 24 * 60, json!({"onSaleAt": begins})).await;
    browser.go(&format!("/showtimes/{soon}")).await;
    browser.script("window.isSameView = true").await;
    is_closed(&browser, "Seats can be bought from").await;
    // Longer than the browser waits for a condition otherwise.
    let opened = "const done = arguments[arguments.length - 1]; \
                  const at = setInterval(() => document.getElementById('best-count') && (clearInterval(at), done(true)), 100); \
                  setTimeout(() => done(false), 25000)";
    browser.script_later(opened).await;
    browser.sees("The sale has begun.").await;
    browser.click("[data-seat='A1']").await;
    browser.until("document.querySelector(\"[data-seat='A1']\").dataset.state === 'chosen'").await;
    assert_eq!(browser.script("return window.isSameView === true").await, true, "the page was not reloaded");
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hall_after_the_end_of_web_sales_is_grey_and_its_time_says_so() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let gala = film(&cinema, "Gala", "12").await;
    let ended = show(&cinema, &gala, 60, json!({"overrides": {"salesCutoffs": {"webMinutes": 120}}})).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/movies/{gala}")).await;
    browser.sees("no longer sold online").await;
    browser.until(&format!("!document.querySelector(\"a[href='/showtimes/{ended}']\")")).await;
    browser.go(&format!("/showtimes/{ended}")).await;
    is_closed(&browser, "Sales on the web ended at").await;
    speak(&browser, "de").await;
    browser.go(&format!("/movies/{gala}")).await;
    browser.sees("online nicht mehr").await;
    browser.go(&format!("/showtimes/{ended}")).await;
    browser.sees("Der Onlineverkauf endete um").await;
    // Staff sell until the start.
    speak(&browser, "en").await;
    log_in_owner(&browser).await;
    browser.go(&format!("/showtimes/{ended}")).await;
    browser.find("#best-count").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_a_draft_and_publish_it_and_visitors_see_it_then() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let premiere = film(&cinema, "Secret Premiere", "12").await;
    let draft = show(&cinema, &premiere, 2 * 24 * 60, json!({"status": "DRAFT", "format": "3D"})).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/movies/{premiere}")).await;
    browser.sees("No showtimes at the moment.").await;
    log_in_owner(&browser).await;
    let date = (OffsetDateTime::now_utc() + Duration::days(2)).date();
    browser.go(&format!("/staff/showtimes?date={date}")).await;
    // By a word, not by its colour alone.
    let block = ".timeline-block[data-state='draft']";
    browser.find(block).await;
    browser.until(&format!("document.querySelector(\"{block}\").textContent.includes('draft')")).await;
    browser.press("Drafts").await;
    browser.sees("Customers do not see a draft").await;
    browser.press("Publish these").await;
    browser.sees("1 showtime is published").await;
    let path = format!("/v1/showtimes/{draft}");
    let seen = cinema.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!(seen["status"], "ON_SALE");
    // Its version is changed in the same place.
    browser.until("!document.querySelector('dialog[open]')").await;
    browser.click(".timeline-block[data-state='to-come']").await;
    browser.find("dialog [name='format']").await;
    browser.script("document.querySelector(\"dialog [name='format']\").closest('details').open = true").await;
    set(&browser, "[name='format']", "2D").await;
    browser.press("Save").await;
    browser.sees("Saved.").await;
    let seen = cinema.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!(seen["format"], "2D");
    // What the film has no more stays with the showtime unless it is changed.
    let movie = format!("/v1/movies/{premiere}");
    cinema.call(Method::PATCH, &movie, Some(&cinema.owner()), Some(json!({"formats": []}))).await.expect(200);
    browser.go(&format!("/staff/showtimes?date={date}")).await;
    browser.click(".timeline-block[data-state='to-come']").await;
    browser.find("dialog [name='minutesBeforeFilm']").await;
    browser.script("document.querySelector(\"dialog [name='format']\").closest('details').open = true").await;
    browser.fill("dialog [name='minutesBeforeFilm']", "15").await;
    browser.press("Save").await;
    browser.sees("Saved.").await;
    let seen = cinema.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!((&seen["format"], &seen["minutesBeforeFilm"]), (&json!("2D"), &json!(15)));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_give_a_film_an_age_rating_versions_and_formats_in_its_form() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let boats = film(&cinema, "Night Boats", "12").await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/movies/{boats}")).await;
    set(&browser, "[name='ageRating']", r#"{"scheme":"BBFC","value":"15"}"#).await;
    browser.press("Add a version").await;
    browser.fill("[name='versions[2].audio']", "english").await;
    browser.press("Save").await;
    browser.sees("Please enter a language such as en or pt-BR.").await;
    browser.fill("[name='versions[2].audio']", "fr").await;
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.press("Save").await;
    browser.sees("Saved: Night Boats").await;
    let seen = cinema.call(Method::GET, &format!("/v1/movies/{boats}"), None, None).await.expect(200);
    assert_eq!(seen["ageRating"], json!({"scheme": "BBFC", "value": "15"}));
    assert_eq!((&seen["rating"], &seen["versions"][2]["audio"]), (&json!("BBFC 15"), &json!("fr")));
    browser.close().await;
    cinema.close().await;
}
