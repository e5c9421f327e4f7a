//! The HTML of pages for search engines and previews, the feeds, and the document of the programme, with hosts in the process.

use std::time::{Duration, Instant};

use bus::contract::movie::{GetMovie, GetShowtime, ListMovies, ListShowtimes};
use bus::contract::site::{DEFAULT_SITE, SalesCutoffs, Site, SiteFields};
use bus::contract::{Problem, Timestamp};
use serde_json::{Value, json};

use super::structured::offers_at;
use crate::entrypoint::HttpConfig;
use crate::limit::Limiter;
use crate::tests::{Answered, Gateway, problem};

const MOVIE: &str = "01920000-0000-7000-8000-00000000000a";
const SHOWTIME: &str = "01920000-0000-7000-8000-00000000000b";
const UNKNOWN: &str = "01920000-0000-7000-8000-00000000000c";
/// A title that would end the data block, the title and an attribute.
const TITLE: &str = "</script><script>alert(1)</script><!-- \" ' & {assets} \u{2028}";

fn movie() -> Value {
    json!({
        "id": MOVIE, "title": TITLE, "synopsis": "A long night.", "durationMinutes": 96, "rating": "FSK 12",
        "ageRating": {"scheme": "FSK", "value": "12"}, "minimumAge": 12, "releaseDate": "2026-05-01", "language": "en",
        "versions": [], "formats": [], "genreIds": [], "genres": [], "posterUrl": "/media/p.jpg",
        "posterSmallUrl": null, "trailerUrl": null, "version": 1,
        "createdAt": "2026-05-01T18:30:00Z", "updatedAt": "2026-05-01T18:30:00Z",
    })
}

fn showtime() -> Value {
    json!({
        "id": SHOWTIME, "movieId": MOVIE, "movieTitle": TITLE, "auditoriumId": UNKNOWN, "auditoriumName": "Hall <1>",
        "timeZone": "Europe/Berlin", "startsAt": "2036-05-01T18:15:00Z", "endsAt": "2036-05-01T20:15:00Z",
        "prices": {"STANDARD": {"amount": 1250, "currency": "EUR"}, "COMPANION": {"amount": 0, "currency": "EUR"}},
        "status": "ON_SALE", "availability": "FEW", "format": "3D", "minutesBeforeFilm": 20,
        "filmVersion": {"kind": "SUBTITLED", "audio": "en", "subtitles": ["de"]},
        "version": 3, "createdAt": "2026-05-01T18:30:00Z", "updatedAt": "2026-05-02T18:30:00Z",
    })
}

/// A saved site, whose sales on the web end so many minutes before the start.
fn site(web_minutes: u32) -> Site {
    let mut of = SiteFields::named("Kino & <Bar>");
    of.legal.address = Some("Ring 1, 50667 Köln".into());
    of.sales_cutoffs = SalesCutoffs { web_minutes };
    let at = Timestamp::wall_clock();
    Site { id: DEFAULT_SITE, of, version: 2, created_at: at, updated_at: at }
}

fn page_of(items: &[Value]) -> String {
    json!({"items": items, "page": 1, "pageSize": 100, "total": items.len()}).to_string()
}

/// A gateway at https://kino.example with one movie and one showtime.
fn gateway() -> Gateway {
    let public_url = Some("https://kino.example".to_owned());
    let gateway = Gateway::with(HttpConfig { public_url, ..HttpConfig::default() }, Limiter::off());
    gateway
        .set_answer::<ListMovies>(page_of(&[movie()]))
        .set_answer::<ListShowtimes>(page_of(&[showtime()]))
        .set_rejection::<GetMovie>(Problem::not_found("movie"))
        .set_rejection::<GetShowtime>(Problem::not_found("showtime"));
    gateway
}

/// The data block of a page, as a parser reads it that knows nothing of Marquee.
fn data(page: &Answered) -> Value {
    let (_, rest) = page.body.split_once("<script type=\"application/ld+json\">").expect("a data block");
    let (json, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn event(page: &Answered) -> Value {
    let graph = data(page)["@graph"].as_array().unwrap().clone();
    graph.into_iter().find(|node| node["@type"] == "ScreeningEvent").expect("a showtime")
}

#[tokio::test]
async fn the_html_of_a_showtime_has_its_facts_without_a_script() {
    let gateway = gateway();
    let page = gateway.get(&format!("/showtimes/{SHOWTIME}")).answer().await;
    assert_eq!(page.status, 200);
    let url = format!("https://kino.example/showtimes/{SHOWTIME}");
    assert!(page.body.contains(&format!("<link rel=\"canonical\" href=\"{url}\">")), "{}", page.body);
    assert!(page.body.contains("<meta property=\"og:image\" content=\"https://kino.example/media/p.jpg\">"));
    assert!(page.body.contains("Hall &lt;1&gt; · 3D · original version (en), subtitles de. A long night."));
    let event = event(&page);
    assert_eq!((event["name"].as_str(), event["url"].as_str()), (Some(TITLE), Some(url.as_str())));
    assert_eq!(event["startDate"], "2036-05-01T20:15:00+02:00");
    assert_eq!(event["eventStatus"], "https://schema.org/EventScheduled");
    assert_eq!((&event["videoFormat"], &event["inLanguage"]), (&json!("3D"), &json!("en")));
    assert_eq!((&event["subtitleLanguage"], &event["typicalAgeRange"]), (&json!(["de"]), &json!("12-")));
    assert_eq!(
        (&event["workPresented"]["@type"], &event["workPresented"]["contentRating"]),
        (&json!("Movie"), &json!("FSK 12"))
    );
    let offers = event["offers"].as_array().unwrap();
    assert_eq!(offers.len(), 1, "a companion seat is not sold alone");
    assert_eq!((&offers[0]["price"], &offers[0]["priceCurrency"]), (&json!("12.50"), &json!("EUR")));
    assert_eq!(offers[0]["availability"], "https://schema.org/LimitedAvailability");
}

#[tokio::test]
async fn a_title_cannot_leave_its_place_in_any_page_or_feed() {
    let gateway = gateway();
    for path in ["/".to_owned(), format!("/movies/{MOVIE}"), format!("/showtimes/{SHOWTIME}")] {
        let page = gateway.get(&path).answer().await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script>"), "{path}: {}", page.body);
        // The module, and the data.
        assert_eq!(page.body.matches("<script").count(), 2, "{path}");
        assert_eq!(page.body.matches("</script").count(), 2, "{path}");
        assert_eq!(event(&page)["name"], TITLE, "{path}");
        assert!(page.header("content-security-policy").contains("script-src 'self';"));
    }
    let movie = gateway.get(&format!("/movies/{MOVIE}")).answer().await;
    assert!(movie.body.contains("<title>&lt;/script&gt;&lt;script&gt;alert(1)"), "{}", movie.body);
    assert!(movie.body.contains("{assets}"), "a title is no placeholder");
    let sitemap = gateway.get("/sitemap.xml").answer().await;
    assert!(!sitemap.body.contains("script"));
}

#[tokio::test]
async fn pages_are_in_the_readers_language() {
    let gateway = gateway();
    let german = gateway.get("/").header("Accept-Language", "de").answer().await;
    assert!(german.body.contains("<title>Programm · Marquee</title>"), "{}", german.body);
    assert!(german.body.contains("content=\"Was läuft, und die besten Plätze im Haus.\""));
    assert_eq!(event(&german)["offers"][0]["name"], "Sitzplatz");
    let english = gateway.get("/").answer().await;
    assert!(english.body.contains("<title>Programme · Marquee</title>"));
}

#[tokio::test]
async fn pages_and_the_calendar_name_the_site_and_its_address() {
    let gateway = gateway();
    gateway.shared.site.learn(site(0));
    let programme = gateway.get("/").answer().await;
    assert!(
        programme.body.contains("<title>Programme · Kino &amp; &lt;Bar&gt;</title>"),
        "{}",
        programme.body
    );
    assert!(programme.body.contains("<meta property=\"og:site_name\" content=\"Kino &amp; &lt;Bar&gt;\">"));
    assert_eq!(data(&programme)["@graph"][0]["address"], "Ring 1, 50667 Köln");
    let event = event(&gateway.get(&format!("/showtimes/{SHOWTIME}")).answer().await);
    assert_eq!(event["location"]["name"], "Kino & <Bar>, Hall <1>");
    assert_eq!(event["location"]["address"], "Ring 1, 50667 Köln");
    assert_eq!(event["organizer"]["name"], "Kino & <Bar>");
    let calendar = gateway.get("/programme.ics").answer().await;
    assert!(calendar.body.contains("X-WR-CALNAME:Kino & <Bar>"), "{}", calendar.body);
    for text in [programme.body, calendar.body] {
        assert!(!text.contains("Marquee"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_id_is_404_and_without_hosts_the_page_works_as_before() {
    let gateway = gateway();
    for path in [format!("/movies/{UNKNOWN}"), format!("/showtimes/{UNKNOWN}")] {
        let page = gateway.get(&path).header("Accept", "text/html").answer().await;
        assert_eq!((page.status, page.header("x-robots-tag")), (404, "noindex"), "{path}");
    }
    // Read by its id: new since the programme was read.
    let fresh = json!({"id": UNKNOWN, "title": "New"});
    let mut new = movie();
    new.as_object_mut().unwrap().extend(fresh.as_object().unwrap().clone());
    gateway.set_answer::<GetMovie>(new.to_string());
    let page = gateway.get(&format!("/movies/{UNKNOWN}")).answer().await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<title>New · Marquee</title>"));

    let alone = Gateway::new();
    for path in ["/".to_owned(), format!("/movies/{MOVIE}"), format!("/showtimes/{SHOWTIME}")] {
        let page = alone.get(&path).answer().await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains("<title>Marquee</title>") && !page.body.contains("ld+json"), "{path}");
    }
    assert_eq!(alone.get("/sitemap.xml").problem().await, problem(503, "unavailable"));
    assert_eq!(alone.get("/v1/programme").problem().await, problem(503, "unavailable"));
    assert_eq!(alone.get("/robots.txt").answer().await.status, 200);
}

#[tokio::test]
async fn the_programme_is_one_document_and_304_without_a_change() {
    let gateway = gateway();
    let first = gateway.get("/v1/programme").answer().await;
    assert_eq!(first.json()["movies"][0]["showtimes"][0]["id"], SHOWTIME);
    assert_eq!(first.json()["movies"][0]["ageRating"]["value"], "12");
    let again = gateway.get("/v1/programme").header("If-None-Match", first.header("etag")).answer().await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let schemes = gateway.get("/v1/rating-schemes").answer().await.json();
    let fsk = schemes["items"].as_array().unwrap().iter().find(|scheme| scheme["code"] == "FSK").unwrap();
    assert_eq!((&fsk["country"], &fsk["values"][2]), (&json!("DE"), &json!({"value": "12", "age": 12})));
}

#[tokio::test]
async fn feeds_name_the_movie_and_the_showtime_once() {
    let gateway = gateway();
    let sitemap = gateway.get("/sitemap.xml").answer().await;
    assert_eq!(sitemap.header("content-type"), "application/xml; charset=utf-8");
    for path in ["/".to_owned(), format!("/movies/{MOVIE}"), format!("/showtimes/{SHOWTIME}")] {
        let entry = format!("<loc>https://kino.example{path}</loc>");
        assert_eq!(sitemap.body.matches(&entry).count(), 1, "{}", sitemap.body);
    }
    let robots = gateway.get("/robots.txt").answer().await;
    assert!(robots.body.contains("Sitemap: https://kino.example/sitemap.xml"));
    assert!(robots.body.contains("Disallow: /staff"));
    let calendar = gateway.get("/programme.ics").answer().await;
    assert_eq!(calendar.header("content-type"), "text/calendar; charset=utf-8");
    assert!(calendar.body.contains("DTSTART:20360501T181500Z"), "{}", calendar.body);
    assert_eq!(calendar.body.matches("BEGIN:VEVENT").count(), 1);
    let again = gateway.get("/programme.ics").header("If-None-Match", calendar.header("etag")).answer().await;
    assert_eq!(again.status, 304);
}

/// RFC 5545, 3.1 and 3.3.11, read without the library that wrote the calendar.
#[tokio::test]
async fn the_calendar_escapes_texts_and_folds_lines_at_75_octets() {
    let gateway = gateway();
    let mut kino = site(0);
    kino.of.name = "Kino; \\Bar\\, Köln ".repeat(5);
    gateway.shared.site.learn(kino);
    let calendar = gateway.get("/programme.ics").answer().await.body;
    for line in calendar.split("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{} octets: {line:?}", line.len());
    }
    let lines = calendar.replace("\r\n ", "");
    let name = "Kino\\; \\\\Bar\\\\\\, Köln ".repeat(5);
    let place = format!("Hall <1>\\, {name}");
    for (property, value) in [("NAME", &name), ("X-WR-CALNAME", &name), ("LOCATION", &place)] {
        assert!(lines.contains(&format!("\r\n{property}:{value}\r\n")), "{property} in {lines}");
    }
}

#[test]
fn what_is_not_sold_has_no_offer_and_a_later_sale_says_when() {
    let at = |text: &str| serde_json::from_value::<bus::contract::Timestamp>(json!(text)).unwrap();
    let of = |change: Value| {
        let mut showtime = showtime();
        showtime.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<bus::contract::movie::Showtime>(showtime).unwrap()
    };
    let now = at("2030-01-01T00:00:00Z");
    let plain = site(0);
    assert!(offers_at(&of(json!({"status": "CANCELLED"})), &plain, now).is_empty());
    assert!(offers_at(&of(json!({})), &plain, at("2036-05-01T18:15:00Z")).is_empty());
    let last = offers_at(&of(json!({})), &site(15), at("2036-05-01T17:59:00Z"));
    assert_eq!(last[0]["validThrough"], "2036-05-01T20:00:00+02:00");
    assert!(offers_at(&of(json!({})), &site(15), at("2036-05-01T18:00:00Z")).is_empty());
    let until_start = json!({"overrides": {"salesCutoffs": {"webMinutes": 0}}});
    assert_eq!(offers_at(&of(until_start), &site(15), at("2036-05-01T18:00:00Z")).len(), 1);
    let later = offers_at(&of(json!({"onSaleAt": "2036-01-01T12:00:00Z"})), &plain, now);
    assert_eq!(later[0]["availability"], "https://schema.org/PreOrder");
    assert_eq!(later[0]["validFrom"], "2036-01-01T13:00:00+01:00");
    let sold_out = offers_at(&of(json!({"availability": "SOLD_OUT"})), &plain, now);
    assert_eq!(sold_out[0]["availability"], "https://schema.org/SoldOut");
}

/// At the 90th percentile, since other tests run beside it. `cargo test -p gateway --release --lib -- --nocapture film_html` prints the
/// 99th.
#[tokio::test]
async fn film_html_takes_at_most_20_ms() {
    let gateway = gateway();
    let at = |hour: usize| format!("2036-05-{:02}T{:02}:15:00Z", 1 + hour / 24, hour % 24);
    let many = (0..100).map(|number| {
        let mut showtime = showtime();
        showtime["id"] = format!("01920000-0000-7000-8000-0000000{number:05}").into();
        (showtime["startsAt"], showtime["endsAt"]) = (at(number).into(), at(number + 2).into());
        showtime
    });
    gateway.set_answer::<ListShowtimes>(page_of(&many.collect::<Vec<_>>()[..99]));
    let path = format!("/movies/{MOVIE}");
    gateway.get(&path).answer().await;
    let mut taken = Vec::new();
    for _ in 0..1_000 {
        let begun = Instant::now();
        assert_eq!(gateway.get(&path).answer().await.status, 200);
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    let at = |percent: usize| taken[taken.len() * percent / 100];
    println!("film HTML: median {:?}, p99 {:?} of {} requests", at(50), at(99), taken.len());
    assert!(at(90) <= Duration::from_millis(20), "{:?}", at(90));
}
