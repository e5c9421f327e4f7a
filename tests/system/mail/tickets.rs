//! The tickets in a mail: codes that scanners read in the mail itself and in the PDF, names in any script, the calendar entry and
//! the data for mail programs; all read by other programs than those that wrote them.

use reqwest::Method;
use serde_json::{Value, json};

use super::judged_mail::texts;
use super::received_mail::verify_ticket;
use crate::cinema::{Person, Plan, TestCinema, id};

/// Sixty letters.
const LONG: &str = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunter";
/// More than fits into three lines of the usual size.
const VERY_LONG: &str = "Die wahrhaftige und überaus erstaunliche Geschichte von der Reise des kleinen Herrn Jakob durch die \
                         Donaudampfschifffahrtsgesellschaft, samt dem Ende";

pub fn plan() -> Plan {
    Plan::default()
        .with("CINEMA_NAME", "Lichtspiele Köln")
        .with("CINEMA_ADDRESS", "Lindenallee 5, 50667 Köln")
        .with("CINEMA_CONTACT", "hallo@kino.example")
}

impl TestCinema {
    /// A showtime of a film with this title, two days from now.
    pub async fn show(&self, title: &str, hall: &str) -> String {
        let owner = self.owner();
        let seats: Vec<Value> =
            (1..=100).map(|number| json!({"number": number, "kind": "STANDARD"})).collect();
        let hall =
            json!({"name": hall, "timeZone": "Europe/Berlin", "rows": [{"label": "A", "seats": seats}]});
        let hall = self.call(Method::POST, "/v1/auditoriums", Some(&owner), Some(hall)).await.expect(201);
        let movie = json!({"title": title, "durationMinutes": 90, "releaseDate": "2026-01-01"});
        let movie = self.call(Method::POST, "/v1/movies", Some(&owner), Some(movie)).await.expect(201);
        let starts = time::OffsetDateTime::now_utc() + time::Duration::days(2);
        let starts = starts.format(&time::format_description::well_known::Rfc3339).unwrap();
        let price = json!({"STANDARD": {"amount": 1250, "currency": "EUR"}});
        let show =
            json!({"movieId": movie["id"], "auditoriumId": hall["id"], "startsAt": starts, "prices": price});
        id(&self.call(Method::POST, "/v1/showtimes", Some(&owner), Some(show)).await.expect(201))
    }

    /// Buys seats of a showtime in a language.
    pub async fn buy_at(&self, who: &Person, showtime: &str, seats: &[&str], locale: &str) -> String {
        let body = json!({"showtimeId": showtime, "seats": seats, "locale": locale});
        let mut answer = self.call(Method::POST, "/v1/reservations", Some(who), Some(body.clone())).await;
        let began = std::time::Instant::now();
        // A new showtime is known to every host within moments.
        while answer.status.as_u16() == 404 && began.elapsed().as_secs() < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = self.call(Method::POST, "/v1/reservations", Some(who), Some(body.clone())).await;
        }
        let reservation = id(&answer.expect(201));
        self.pay(who, &reservation, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &reservation).await;
        reservation
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mail_itself_is_the_ticket_and_its_calendar_entry_ends_with_the_order() {
    let cinema = TestCinema::open_with(plan()).await;
    let ada = cinema.register().await;
    let show = cinema.show(LONG, "Großer Saal").await;
    let order = cinema.buy_at(&ada, &show, &["A1", "A2"], "de").await;
    let mail = cinema.read_mail(&order, "RESERVATION_CONFIRMED").await;
    assert_eq!(mail["subject"], format!("Ihre Karten: {LONG}"));
    assert_eq!((&mail["language"], &mail["html"]["language"]), (&json!("de"), &json!("de")));
    assert_eq!(mail["replyTo"], "Lichtspiele Köln <hallo@kino.example>");
    for text in [&mail["text"], &mail["html"]["text"]].map(|text| text.as_str().unwrap()) {
        for part in [
            "Plätze",
            "A1, A2",
            "25,00\u{a0}€",
            "Uhr (M",
            "Großer Saal",
            "Lindenallee 5, 50667 Köln",
            "hallo@kino.example",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    // No naked address in the HTML: only the plain text has them.
    assert!(!mail["html"]["text"].as_str().unwrap().contains("http"), "{mail}");

    // Each seat's code is within the mail, and the same as in the PDF.
    let keys = cinema.call(Method::GET, "/.well-known/jwks.json", None, None).await.expect(200);
    let pictures = mail["html"]["pictures"].as_array().unwrap();
    let codes: Vec<&str> = pictures
        .iter()
        .map(|picture| {
            let id = picture[0].as_str().unwrap().strip_prefix("cid:").unwrap();
            texts(&mail["inline"][id]["codes"])[0]
        })
        .collect();
    let seats: Vec<Value> = codes.iter().map(|code| verify_ticket(code, &keys).1["seat"].clone()).collect();
    assert_eq!(seats, ["A1", "A2"]);
    assert_eq!(pictures[0][1], "Platz A1");
    assert_eq!(texts(&mail["pdf"]["codes"]), codes);
    // Fonts have one glyph for both spaces, so that either may be read.
    let pdf = mail["pdf"]["text"].as_str().unwrap().replace('\u{a0}', " ");
    for part in [LONG, "Platz", "A2", "12,50 €", "Lindenallee 5, 50667 Köln", "Lichtspiele Köln"] {
        assert!(pdf.contains(part), "{part}: {pdf}");
    }

    // What mail programs read.
    let data = &mail["html"]["data"][0];
    assert_eq!(data.as_array().unwrap().len(), 2, "{data}");
    assert_eq!(data[1]["@type"], "EventReservation");
    assert_eq!(data[1]["reservationStatus"], "https://schema.org/ReservationConfirmed");
    assert_eq!(data[1]["reservationFor"]["name"], LONG);
    assert_eq!(data[1]["reservedTicket"]["ticketToken"], format!("qrCode:{}", codes[1]));
    let entry = &mail["calendar"];
    assert_eq!((&entry["method"], &mail["calendarMethod"]), (&json!("PUBLISH"), &json!("PUBLISH")));
    assert_eq!((&entry["status"], &entry["alarmMinutes"]), (&json!("CONFIRMED"), &json!(60.0)));
    assert_eq!(entry["uid"], format!("{order}@marquee"));
    assert!(entry["url"].as_str().unwrap().ends_with(&format!("/reservations/{order}")), "{entry}");

    cinema.cancel(&ada, &order).await.expect(200);
    let off = cinema.read_mail(&order, "RESERVATION_CANCELLED").await;
    assert_eq!(off["subject"], format!("Ihre Bestellung ist storniert: {LONG}"));
    assert_eq!(
        (&off["calendar"]["method"], &off["calendar"]["status"]),
        (&json!("CANCEL"), &json!("CANCELLED"))
    );
    assert_eq!(off["calendar"]["uid"], entry["uid"]);
    assert!(off["calendar"]["sequence"].as_i64() > entry["sequence"].as_i64(), "{off}");
    assert_eq!(off["html"]["data"][0][0]["reservationStatus"], "https://schema.org/ReservationCancelled");
    assert!(off["text"].as_str().unwrap().contains("25,00\u{a0}€"), "the refund is in the same mail: {off}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_title_in_any_script_is_on_the_ticket_to_its_end() {
    let cinema = TestCinema::open_with(plan()).await;
    let ada = cinema.register().await;
    let titles = [
        "Amélie – Straße & Œuvre",
        "Příběh o žluťoučkém koni",
        "Şımarık İstanbul",
        "Ирония судьбы",
        "Βίος και Πολιτεία",
        "千と千尋の神隠し",
        "霸王别姬",
        "기생충",
        "كفرناحوم",
        "וואלס עם באשיר",
        "ลุงบุญมีระลึกชาติ",
        "मुग़ल-ए-आज़म",
        VERY_LONG,
    ];
    let mut orders = Vec::new();
    for (at, title) in titles.iter().enumerate() {
        let show = cinema.show(title, &format!("Kinosál {at}")).await;
        orders.push(cinema.buy_at(&ada, &show, &["A1"], "en").await);
    }
    for (title, order) in titles.iter().zip(&orders) {
        let mail = cinema.read_mail(order, "RESERVATION_CONFIRMED").await;
        let pdf = mail["pdf"]["text"].as_str().unwrap();
        // A title on several lines is one text again.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("");
        assert!(flat(pdf).contains(&flat(title)), "{title}: {pdf}");
        assert!(pdf.contains("Kinosál"), "{pdf}");
        assert_eq!(mail["pdf"]["embedded"], true, "{title}: every font is embedded, as a subset");
        assert_eq!((&mail["pdf"]["pages"], texts(&mail["pdf"]["codes"]).len()), (&json!(1), 1), "{title}");
        assert!(mail["pdf"]["bytes"].as_u64().unwrap() < 60_000, "{title}: {}", mail["pdf"]["bytes"]);
        assert_eq!(mail["pdf"]["title"], format!("Tickets: {title}"));
    }
    // What no font has is seen to be missing.
    let show = cinema.show("Emoji 🎬 end", "Hall").await;
    let order = cinema.buy_at(&ada, &show, &["A1"], "en").await;
    let mail = cinema.read_mail(&order, "RESERVATION_CONFIRMED").await;
    assert!(mail["pdf"]["text"].as_str().unwrap().contains("Emoji \u{fffd} end"), "{mail}");
    cinema.close().await;
}
