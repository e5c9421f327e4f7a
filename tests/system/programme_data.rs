//! The programme as data: pages without JavaScript, feeds, the one document, and how soon a change is seen in them.
//!
//! An independent parser judges the data on the demo cinema, in scripts/check-api.sh.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::cinema::TestCinema;

impl TestCinema {
    async fn read(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url())).header("Accept", "text/html, */*");
        request.send().await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.read(path).await;
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// The event of the cinema's showtime in its page's data.
    async fn event(&self) -> Value {
        let page = self.text(&format!("/showtimes/{}", self.showtime)).await;
        let (_, rest) = page.split_once("<script type=\"application/ld+json\">").unwrap();
        let data: Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
        data["@graph"][0].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_film_say_what_plays_without_a_script() {
    let mut cinema = TestCinema::open().await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSS"], 24 * 3600).await;
    cinema.until_on_sale(&cinema.showtime).await;
    let showtime =
        cinema.call(Method::GET, &format!("/v1/showtimes/{}", cinema.showtime), None, None).await.expect(200);
    let movie = showtime["movieId"].as_str().unwrap();
    let title = showtime["movieTitle"].as_str().unwrap();
    for path in [format!("/movies/{movie}"), format!("/showtimes/{}", cinema.showtime)] {
        let page = cinema.text(&path).await;
        assert!(page.contains(&format!("<title>{title}")), "{page}");
        let canonical = format!("<link rel=\"canonical\" href=\"{}{path}\">", cinema.url());
        assert!(page.contains(&canonical), "{canonical} {page}");
        assert!(page.contains("<meta property=\"og:title\""), "{page}");
    }
    let event = cinema.event().await;
    assert_eq!((&event["@type"], &event["name"]), (&json!("ScreeningEvent"), &json!(title)));
    // With the fee of a ticket, as the page shows it.
    assert_eq!(event["offers"][0]["price"], "12.50");
    assert_eq!(event["offers"][0]["availability"], "https://schema.org/InStock");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_the_map_and_the_calendar_follow_the_programme() {
    let cinema = TestCinema::open().await;
    let first = cinema.read("/v1/programme").await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let document: Value = first.json().await.unwrap();
    let ids = |document: &Value| -> Vec<String> {
        let movies = document["movies"].as_array().unwrap().iter();
        let showtimes = movies.flat_map(|movie| movie["showtimes"].as_array().unwrap());
        showtimes.map(|showtime| showtime["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ids(&document).contains(&cinema.showtime), "{document}");
    let again = cinema.http.get(format!("{}/v1/programme", cinema.url())).header("If-None-Match", &tag);
    let again = again.send().await.unwrap();
    // The availability may have become known in between.
    assert!([200, 304].contains(&again.status().as_u16()));
    let other = cinema.schedule(&["SS"], 48 * 3600).await;
    let has_other = async || cinema.text("/v1/programme").await.contains(&other);
    cinema.until("the new showtime in the document", has_other).await;
    assert!(cinema.text("/sitemap.xml").await.contains(&format!("/showtimes/{other}</loc>")));
    let calendar = cinema.text("/programme.ics").await;
    assert!(calendar.contains(&format!("UID:{other}@marquee")), "{calendar}");
    assert!(cinema.text("/robots.txt").await.contains("/sitemap.xml"));

    cinema
        .call(Method::DELETE, &format!("/v1/showtimes/{other}"), Some(&cinema.owner()), None)
        .await
        .expect(204);
    let is_off = async || !cinema.text("/sitemap.xml").await.contains(&other);
    cinema.until("the cancelled showtime out of the map", is_off).await;
    assert!(cinema.text("/programme.ics").await.contains("STATUS:CANCELLED"));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_showtime_says_so_in_its_page_and_an_unknown_one_is_404() {
    let cinema = TestCinema::open().await;
    assert_eq!(cinema.event().await["eventStatus"], "https://schema.org/EventScheduled");
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::DELETE, &path, Some(&cinema.owner()), None).await.expect(204);
    let is_off = async || cinema.event().await["eventStatus"] == "https://schema.org/EventCancelled";
    cinema.until("the cancellation in the page", is_off).await;
    assert_eq!(cinema.event().await["offers"], Value::Null);
    let nobody = "00000000-0000-7000-8000-000000000000";
    for path in [format!("/movies/{nobody}"), format!("/showtimes/{nobody}"), "/movies/1".to_owned()] {
        assert_eq!(cinema.read(&path).await.status().as_u16(), 404, "{path}");
    }
    cinema.close().await;
}
