//! The README's screenshots, taken of the demo cinema by the browser of the tests.
//! Files are written only with `MARQUEE_PICTURES=1`: the bytes of a picture change with every font, and a test must not change files.

use std::path::Path;

use base64::Engine;
use serde_json::json;

use crate::cinema::{Plan, TestCinema};
use crate::driver::{Browser, DESKTOP, PHONE, Screen, day_of, slot};
use crate::log_in_new;
use crate::staff::log_in_owner;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_pictures_show_the_page_as_it_is() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "ada").await;
    browser.go("/").await;
    browser.find(".to-movie").await;
    picture(&browser, "programme").await;

    let showtimes =
        cinema.call(reqwest::Method::GET, "/v1/showtimes?pageSize=100", None, None).await.expect(200);
    let grand =
        showtimes["items"].as_array().unwrap().iter().filter(|one| one["auditoriumName"] == "Grand Hall");
    let showtime = grand.skip(2).map(|one| one["id"].as_str().unwrap().to_owned()).next().unwrap();
    let other = cinema.register().await;
    for seats in
        [&["G8", "G9", "G10"][..], &["H15", "H16"], &["E12", "E13"], &["K4", "K5"], &["M9", "M10", "M11"]]
    {
        let body = json!({"showtimeId": showtime, "seats": seats});
        let held = cinema
            .call(reqwest::Method::POST, "/v1/reservations", Some(&other), Some(body))
            .await
            .expect(201);
        if seats.len() == 2 {
            let order = held["id"].as_str().unwrap();
            cinema.pay(&other, order, "pm_card_visa").await.expect(201);
            cinema.until_confirmed(&other, order).await;
        }
    }
    browser.set_screen(Screen { height: 1000, dark: true, ..DESKTOP }).await;
    browser.go(&format!("/showtimes/{showtime}")).await;
    browser.find(".live[data-state=live]").await;
    browser.press("Choose for me").await;
    browser.sees("J12 and J13").await;
    browser.script("scrollTo(0, 260)").await;
    picture(&browser, "seats").await;

    let body = json!({"showtimeId": showtime, "seats": ["J12", "J13"]});
    let order =
        cinema.call(reqwest::Method::POST, "/v1/reservations", Some(&person), Some(body)).await.expect(201);
    let order = order["id"].as_str().unwrap();
    cinema.pay(&person, order, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&person, order).await;
    browser.set_screen(PHONE).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Show tickets").await;
    browser.find(".pass").await;
    picture(&browser, "ticket").await;
    browser.close().await;

    let staff = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&staff).await;
    let day =
        day_of(showtimes["items"].as_array().unwrap().iter().find(|one| one["id"] == *showtime).unwrap());
    staff.go(&format!("/staff/showtimes?date={day}")).await;
    staff.find(".timeline-block").await;
    picture(&staff, "staff").await;
    staff.go("/staff/operations").await;
    staff.find(".events li").await;
    staff.find(".parts .tile").await;
    picture(&staff, "operations").await;
    staff.close().await;
    // The other customers keep their holds, so the cinema is only closed.
    cinema.stop_hosts().await;
}

/// Saves a screenshot as `docs/pictures/<name>.webp` if `MARQUEE_PICTURES` is set.
async fn picture(browser: &Browser, name: &str) {
    browser.until("document.fonts.status === 'loaded'").await;
    let shot = browser.devtools("Page.captureScreenshot", json!({"format": "webp", "quality": 82})).await;
    let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
    assert!(bytes.len() > 5_000, "an empty picture");
    if std::env::var("MARQUEE_PICTURES").is_ok_and(|wanted| wanted == "1") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.webp")), bytes).unwrap();
    }
}
