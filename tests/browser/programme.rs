//! The programme: search over all days, parts of the day, the chosen day on the way to a film and back, seats left, and the
//! reader's language.

use reqwest::Method;
use serde_json::{Value, json};
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, slot};
use crate::speak;
use crate::staff::set;

/// A film with these genres; returns its id.
pub async fn film(cinema: &TestCinema, title: &str, rating: &str, genres: &[&str]) -> String {
    let mut genre_ids = Vec::new();
    for name in genres {
        let body = json!({"name": name});
        let made = cinema.call(Method::POST, "/v1/genres", Some(&cinema.owner()), Some(body)).await;
        genre_ids.push(id(&made.expect(201)));
    }
    let body = json!({"title": title, "durationMinutes": 90, "releaseDate": "2026-01-01", "rating": rating, "genreIds": genre_ids});
    id(&cinema.call(Method::POST, "/v1/movies", Some(&cinema.owner()), Some(body)).await.expect(201))
}

/// A hall whose clock shows UTC, with one row of ten seats.
async fn hall(cinema: &TestCinema, name: &str) -> String {
    let seats: Vec<Value> = (1..=10).map(|number| json!({"number": number, "kind": "STANDARD"})).collect();
    let body = json!({"name": name, "timeZone": "UTC", "rows": [{"label": "A", "seats": seats}]});
    id(&cinema.call(Method::POST, "/v1/auditoriums", Some(&cinema.owner()), Some(body)).await.expect(201))
}

/// A showtime at this time of a day.
async fn show(cinema: &TestCinema, film: &str, hall: &str, day: Date, at: &str) -> String {
    let prices = json!({"STANDARD": {"amount": 1200, "currency": "EUR"}});
    let body = json!({"movieId": film, "auditoriumId": hall, "startsAt": format!("{day}T{at}:00Z"), "prices": prices});
    id(&cinema.call(Method::POST, "/v1/showtimes", Some(&cinema.owner()), Some(body)).await.expect(201))
}

/// The date in so many days, where the halls of these tests are. From the third on nothing else is shown: the cinema's own
/// showtime, in 24 hours, may begin on the second by the clock of its hall.
fn ahead(days: i64) -> Date {
    (OffsetDateTime::now_utc() + Duration::days(days)).date()
}

/// The titles of the cards, in order.
const TITLES: &str = "[...document.querySelectorAll('.ticketed h2')].map((one) => one.textContent).join('|')";
/// The texts of all times.
const TIMES: &str = "[...document.querySelectorAll('a.time b')].map((one) => one.textContent).join('|')";

async fn until_is(browser: &Browser, value: &str, wanted: &str) {
    browser.until(&format!("{value} === {}", json!(wanted))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_a_film_on_every_day_also_inside_a_title_without_spaces() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let (kites, spirited) =
        (film(&cinema, "Paper Kites", "12", &[]).await, film(&cinema, "千と千尋の神隠し", "0", &[]).await);
    let room = hall(&cinema, "Room").await;
    let (second, third) = (ahead(3), ahead(4));
    show(&cinema, &kites, &room, second, "12:00").await;
    let later = show(&cinema, &kites, &room, third, "20:15").await;
    show(&cinema, &spirited, &room, ahead(5), "18:00").await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/?date={second}")).await;
    until_is(&browser, TITLES, "Paper Kites").await;
    // Nothing on the chosen day: the other days are named.
    browser.go("/").await;
    browser.fill("#filter-name", "kites").await;
    browser.sees("On other days").await;
    let weekday = |date: Date| date.format(format_description!("[weekday repr:short]")).unwrap();
    let links = "[...document.querySelectorAll('.also a')].map((one) => one.textContent).join('|')";
    until_is(&browser, links, &format!("{} 12:00|{} 20:15", weekday(second), weekday(third))).await;
    until_is(&browser, "location.search", "?name=kites").await;
    // On a day with a showing that one comes first, then the others.
    browser.click(&format!("[data-date='{second}']")).await;
    until_is(&browser, TIMES, "12:00").await;
    until_is(
        &browser,
        "document.querySelector('.also').innerText.replace(/\\s+/g, ' ')",
        &format!("also {} 20:15", weekday(third)),
    )
    .await;
    browser.click(".also a").await;
    browser.find("[role=grid]").await;
    assert_eq!(browser.address().await, format!("/showtimes/{later}"));
    browser.go("/?name=%E5%8D%83%E5%B0%8B").await;
    until_is(&browser, TITLES, "千と千尋の神隠し").await;
    browser.fill("#filter-name", "nothing like it").await;
    browser.sees("No film with that in its title is on in the coming days.").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chosen_day_and_the_filters_are_kept_on_the_way_to_a_film_and_back() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let kites = film(&cinema, "Paper Kites", "12", &[]).await;
    let room = hall(&cinema, "Room").await;
    let (second, third) = (ahead(3), ahead(4));
    for (day, at) in [(second, "10:00"), (second, "14:00"), (second, "19:30"), (third, "15:00")] {
        show(&cinema, &kites, &room, day, at).await;
    }
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/?date={second}")).await;
    until_is(&browser, TIMES, "10:00|14:00|19:30").await;
    set(&browser, "#filter-part", "evening").await;
    until_is(&browser, TIMES, "19:30").await;
    browser.click(".to-movie").await;
    browser.find(".movie-head").await;
    until_is(&browser, "document.querySelector('[aria-current=date]').dataset.date", &second.to_string())
        .await;
    until_is(&browser, TIMES, "10:00|14:00|19:30").await;
    browser.click(&format!("[data-date='{third}']")).await;
    until_is(&browser, TIMES, "15:00").await;
    browser.click("a.time").await;
    browser.find("[role=grid]").await;
    browser.click(".back").await;
    until_is(&browser, "document.querySelector('[aria-current=date]')?.dataset.date", &third.to_string())
        .await;
    // From the film that was opened with filters.
    browser.go(&format!("/movies/{kites}?part=evening&date={second}")).await;
    browser.click(".movie-head .back").await;
    until_is(&browser, TIMES, "19:30").await;
    until_is(&browser, "location.search", &format!("?part=evening&date={second}")).await;
    set(&browser, "#filter-part", "morning").await;
    until_is(&browser, TIMES, "10:00").await;
    // A date that is none is as good as no date.
    browser.go("/?date=garbage").await;
    browser.find("[aria-current=date]").await;
    browser
        .until("document.querySelector('h1').textContent && !document.querySelector('[aria-busy=true]')")
        .await;
    assert_eq!(browser.script("return document.querySelectorAll('.message.bad').length").await, 0);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_time_says_when_few_or_no_seats_are_left() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let kites = film(&cinema, "Paper Kites", "12", &[]).await;
    let room = hall(&cinema, "Room").await;
    let day = ahead(3);
    let mut shows = Vec::new();
    for at in ["10:00", "14:00", "19:30"] {
        shows.push(show(&cinema, &kites, &room, day, at).await);
    }
    let seats: Vec<String> = (1..=10).map(|number| format!("A{number}")).collect();
    let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
    let (first, second) = (cinema.register().await, cinema.register().await);
    cinema.showtime = shows[1].clone();
    let held = cinema.reserve(&first, &seats[..9]).await;
    cinema.showtime = shows[2].clone();
    cinema.buy(&second, &seats).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    // What is known of a showtime may be five seconds old.
    let states = "[...document.querySelectorAll('a.time')].map((one) => one.querySelector('.left')?.textContent ?? '').join('|')";
    let page = format!("/?date={day}");
    cinema
        .until("the programme says how many seats are left", async || {
            browser.go(&page).await;
            browser.find("a.time").await;
            browser.script(&format!("return {states}")).await == "|few left|sold out"
        })
        .await;
    browser.go(&format!("/movies/{kites}?date={day}")).await;
    until_is(&browser, states, "|few left|sold out").await;
    cinema.cancel(&first, &held).await.expect(200);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn genres_ratings_and_dates_are_in_the_readers_language() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let kites = film(&cinema, "Paper Kites", "12", &["Comedy", "Liebesfilm", "Dogme 95"]).await;
    let other = film(&cinema, "For All", "0", &[]).await;
    let room = hall(&cinema, "Room").await;
    let day = ahead(3);
    show(&cinema, &kites, &room, day, "10:00").await;
    show(&cinema, &other, &room, day, "14:00").await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let facts = "[...document.querySelectorAll('.facts')].map((one) => [...one.children].map((li) => li.textContent).join(', ')).join(' | ')";
    browser.go(&format!("/?date={day}")).await;
    until_is(
        &browser,
        facts,
        "1 hr 30 mins, Ages 12 and over, Comedy, Romance, Dogme 95 | 1 hr 30 mins, All ages",
    )
    .await;
    speak(&browser, "de").await;
    browser.go(&format!("/?date={day}")).await;
    until_is(
        &browser,
        facts,
        "1 Std. 30 Min., FSK 12, Komödie, Liebesfilm, Dogme 95 | 1 Std. 30 Min., FSK 0",
    )
    .await;
    let genres =
        "[...document.querySelectorAll('#filter-genre option')].map((one) => one.textContent).join()";
    until_is(&browser, genres, "Alle Genres,Dogme 95,Komödie,Liebesfilm").await;
    browser.go(&format!("/movies/{kites}")).await;
    browser.sees("Komödie, Liebesfilm und Dogme 95").await;
    browser.until("/\\d+\\. \\p{L}/u.test(document.querySelector('[data-date] b').textContent)").await;
    browser.close().await;
    cinema.close().await;
}
