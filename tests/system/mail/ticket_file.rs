//! The tickets of an order as a file: for those who may read its tickets, the same as in the mail, with the cinema's logo.

use image::{DynamicImage, Rgb, RgbImage, Rgba, RgbaImage};
use marquee::local::Folder;
use reqwest::Method;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::judged_mail::{read_pdf, texts};
use super::tickets::plan;
use crate::cinema::{Answer, Person, TestCinema};

impl TestCinema {
    /// The answer's headers, and what other programs read in the file.
    async fn ticket_file(&self, who: &Person, order: &str) -> ([String; 2], Value) {
        let url = format!("{}/v1/reservations/{order}/tickets.pdf", self.url());
        let answer = self.http.get(url).bearer_auth(&who.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        let headers = [header(CONTENT_TYPE), header(CONTENT_DISPOSITION)];
        (headers, read_pdf(&answer.bytes().await.unwrap()))
    }

    async fn ask_for_ticket_file(&self, who: Option<&Person>, order: &str) -> Answer {
        self.call(Method::GET, &format!("/v1/reservations/{order}/tickets.pdf"), who, None).await
    }
}

/// A file with this content, for as long as its folder exists.
fn file(name: &str, content: &[u8]) -> (Folder, String) {
    let folder = Folder::temporary().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path.display().to_string())
}

fn encoded(picture: DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut content = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut content, format).unwrap();
    content.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_a_file_for_those_who_may_read_them() {
    let mut cinema = TestCinema::open_with(plan()).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let show = cinema.show("Käse & Brot", "Großer Saal").await;
    let order = cinema.buy_at(&ada, &show, &["A1", "A2"], "de").await;
    let code = cinema.reservation(&ada, &order).await["code"].as_str().unwrap().to_owned();
    let mail = cinema.read_mail(&order, "RESERVATION_CONFIRMED").await;
    for reader in [&ada, &cinema.owner()] {
        let (headers, pdf) = cinema.ticket_file(reader, &order).await;
        let name = format!("attachment; filename=\"tickets-{}-{}.pdf\"", &code[..4], &code[4..]);
        assert_eq!(headers, ["application/pdf".to_owned(), name]);
        for part in ["pages", "codes", "text", "title", "embedded", "bytes"] {
            assert_eq!(pdf[part], mail["pdf"][part], "{part} is as in the mail");
        }
        assert!(pdf["text"].as_str().unwrap().contains("Platz"), "in the language of the order: {pdf}");
    }
    assert_eq!(cinema.ask_for_ticket_file(Some(&bob), &order).await.status, 404);
    assert_eq!(cinema.ask_for_ticket_file(None, &order).await.code(), "token-missing");

    cinema.showtime = show;
    let held = cinema.reserve(&ada, &["A5"]).await;
    let list = cinema.get(&format!("/v1/reservations/{held}/tickets"), &ada).await;
    let refused = cinema.ask_for_ticket_file(Some(&ada), &held).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "not-confirmed"));
    assert_eq!((list.status, list.code()), (refused.status, refused.code()));
    cinema.cancel(&ada, &order).await.expect(200);
    assert_eq!(cinema.ask_for_ticket_file(Some(&ada), &order).await.status, 409);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_hundred_tickets_passes_through_nats() {
    let cinema = TestCinema::open_with(plan().with("SEATS_PER_ORDER_MAX", 100)).await;
    let ada = cinema.register().await;
    let han: String = (0x4e00..0x4e00 + 200).filter_map(char::from_u32).collect();
    let show = cinema.show(&han, "大きなホール").await;
    let seats: Vec<String> = (1..=100).map(|number| format!("A{number}")).collect();
    let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
    let order = cinema.buy_at(&ada, &show, &seats, "en").await;
    let (_, pdf) = cinema.ticket_file(&ada, &order).await;
    assert_eq!((&pdf["pages"], texts(&pdf["codes"]).len()), (&json!(100), 100));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cinemas_logo_is_on_every_ticket_and_a_broken_one_leaves_it_out() {
    let opaque = DynamicImage::from(RgbImage::from_fn(200, 50, |x, y| Rgb([x as u8, y as u8, 90])));
    let clear = DynamicImage::from(RgbaImage::from_fn(60, 60, |x, _| Rgba([200, 0, 0, x as u8])));
    let jpeg = encoded(opaque, image::ImageFormat::Jpeg);
    let png = encoded(clear, image::ImageFormat::Png);
    let image = |kind: &str, width: u32, height: u32| json!([1, kind, width, height]);
    let cases = [
        ("logo.jpeg", jpeg.clone(), vec![image("image", 200, 50)]),
        ("logo.png", png, vec![image("image", 60, 60), image("smask", 60, 60)]),
        ("broken.jpeg", jpeg[..60].to_vec(), vec![]),
    ];
    for (name, content, wanted) in cases {
        let (_folder, path) = file(name, &content);
        let cinema = TestCinema::open_with(plan().with("CINEMA_LOGO", path)).await;
        let ada = cinema.register().await;
        let order = cinema.buy(&ada, &["A1", "A2"]).await;
        let (_, pdf) = cinema.ticket_file(&ada, &order).await;
        let images = pdf["images"].as_array().unwrap();
        let first: Vec<Value> = images.iter().filter(|image| image[0] == 1).cloned().collect();
        assert_eq!(first, wanted, "{name}");
        assert_eq!(images.len(), 2 * wanted.len(), "{name}: on each page");
        assert_eq!(texts(&pdf["codes"]).len(), 2, "{name}");
        assert!(pdf["text"].as_str().unwrap().contains("Lichtspiele Köln"), "{name}: {pdf}");
        let mail = cinema.read_mail(&order, "RESERVATION_CONFIRMED").await;
        assert_eq!(mail["pdf"]["images"], pdf["images"], "{name}: the mail's tickets are the same");
        cinema.close().await;
    }
}
