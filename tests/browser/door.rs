//! The door: tickets that are typed or scanned, online and offline.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Person, TestCinema};
use crate::driver::{Browser, PHONE, slot};
use crate::staff::log_in_owner;

/// Network conditions of the driver.
pub fn network(offline: bool) -> Value {
    json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
}

/// Checks a code at the door and waits for the result.
async fn check(browser: &Browser, code: &str, word: &str) {
    browser.fill("#door-code", code).await;
    browser.press("Check").await;
    let result = format!("document.querySelector('.door-answer').innerText.includes({})", json!(word));
    browser.until(&result).await;
}

pub async fn tickets(cinema: &TestCinema, who: &Person, reservation: &str) -> Vec<String> {
    let path = format!("/v1/reservations/{reservation}/tickets");
    let found = cinema.call(Method::GET, &path, Some(who), None).await.expect(200);
    found["tickets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ticket| ticket["token"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_recognises_a_ticket_a_copy_and_a_forgery_also_offline() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let later = cinema.buy(&ada, &["E1"]).await;
    cinema.showtime = cinema.schedule(&["SSSSS"], 3600).await;
    let bought = cinema.buy(&ada, &["A1", "A2"]).await;
    let cancelled = cinema.buy(&ada, &["A4"]).await;
    let good = tickets(&cinema, &ada, &bought).await;
    let dead = tickets(&cinema, &ada, &cancelled).await;
    let other = tickets(&cinema, &ada, &later).await;
    cinema.cancel(&ada, &cancelled).await.expect(200);

    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.sees("Ready for the next ticket").await;
    check(&browser, &good[0], "Come in").await;
    browser.until("document.querySelector('.door-row b').textContent === 'A'").await;
    browser.until("document.querySelector('.door-seat b').textContent === '1'").await;
    check(&browser, &good[0], "Already in since").await;
    browser.sees("First shown").await;
    let (head, signature) = good[1].rsplit_once('.').unwrap();
    check(&browser, &format!("{head}.{}", signature.chars().rev().collect::<String>()), "Not genuine").await;
    check(&browser, &ada.token, "Not a ticket").await;
    check(&browser, &dead[0], "Cancelled").await;
    check(&browser, &other[0], "For another day").await;

    // Offline: the stored keys and showtimes are enough.
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.emulateNetworkConditions", network(true)).await;
    browser.sees("No connection").await;
    check(&browser, &good[1], "Genuine, not checked online").await;
    browser.sees("whether the ticket was cancelled is not known").await;
    check(&browser, &good[1], "Already in since").await;
    browser.devtools("Network.emulateNetworkConditions", network(false)).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_opens_offline_and_its_camera_reads_a_ticket() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.showtime = cinema.schedule(&["SSSSS"], 3600).await;
    let bought = cinema.buy(&ada, &["A1"]).await;
    let ticket = tickets(&cinema, &ada, &bought).await.remove(0);
    let film = cinema.folder.path().join("ticket.y4m");
    std::fs::write(&film, film_of(&ticket)).unwrap();
    let browser = Browser::open_with_camera(&cinema.url(), PHONE, &film).await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.sees("Ready for the next ticket").await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;

    cinema.stop_hosts().await;
    browser.forget_files().await;
    browser.reload().await;
    browser.sees("No connection").await;
    browser.press("Use the camera").await;
    browser.sees("Genuine, not checked online").await;
    browser.until("document.querySelector('.door-row b').textContent === 'A'").await;
    browser.until("document.querySelector('.door-seat b').textContent === '1'").await;
    // The same code in the camera counts as one scan; typed, it is shown a second time.
    check(&browser, &ticket, "Already in since").await;
    browser.sees("First shown").await;
    browser.close().await;
}

/// A video of one picture: a ticket's code, as it is held in front of a camera, not centred.
fn film_of(ticket: &str) -> Vec<u8> {
    const WIDTH: usize = 640;
    const HEIGHT: usize = 640;
    /// Pixels per module.
    const SCALE: usize = 6;
    let code = qrcode::QrCode::new(ticket).unwrap();
    let modules = code.to_colors();
    let mut light = vec![205_u8; WIDTH * HEIGHT];
    for (at, color) in modules.iter().enumerate() {
        let (x, y) = (at % code.width() * SCALE + 60, at / code.width() * SCALE + 40);
        for pixel in 0..SCALE * SCALE {
            let place = (y + pixel / SCALE) * WIDTH + x + pixel % SCALE;
            light[place] = color.select(35, 220);
        }
    }
    let mut film = format!("YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420\n").into_bytes();
    for _ in 0..10 {
        film.extend_from_slice(b"FRAME\n");
        film.extend_from_slice(&light);
        film.extend(std::iter::repeat_n(128, WIDTH * HEIGHT / 2));
    }
    film
}
