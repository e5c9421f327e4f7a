//! Receipts and credit notes: one for each capture and refund, with gapless numbers, whatever happens to the hosts; and invoices.

mod buyers;
mod kills;
mod numbers;
mod signing;

use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::cinema::{Person, Plan, TestCinema, id};
use crate::mail::judged_mail::read_pdf;
use crate::operator::{expect_success, marquee};
use crate::revenue::euros;

/// Locks the series as a host does that is stopped while it numbers: no receipt gets a number until the connection is closed.
const LOCK: &str = "insert into payment.receipt_series (site, kind, year, last_number, issued_at)
      select 'main', kind, extract(year from now()) + next, 0, now()
      from unnest(array['RECEIPT', 'CREDIT_NOTE']) as kind, unnest(array[0, 1]) as next on conflict do nothing;
    begin;
    select from payment.receipt_series for update";

impl TestCinema {
    /// Waits until the order has so many receipts and credit notes, and returns them.
    pub async fn until_receipts(&self, who: &Person, order: &str, count: usize) -> Vec<Value> {
        let path = format!("/v1/reservations/{order}/receipt");
        let read =
            async || self.get(&path, who).await.body["receipts"].as_array().cloned().unwrap_or_default();
        self.until(&format!("{count} receipts"), async || read().await.len() >= count).await;
        let receipts = read().await;
        assert_eq!(receipts.len(), count, "{receipts:#?}");
        receipts
    }

    async fn until_all_are_numbered(&self) {
        self.until_sql("select count(*) from payment.receipts where number is null", 0).await;
    }

    /// What other programs read in the PDF of a receipt.
    pub async fn receipt_file(&self, who: &Person, order: &str, number: &str) -> Value {
        let url = format!("{}/v1/reservations/{order}/receipt.pdf?number={number}", self.url());
        let answer = self.http.get(url).bearer_auth(&who.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/pdf");
        let name = format!("attachment; filename=\"{number}.pdf\"");
        assert_eq!(answer.headers()[CONTENT_DISPOSITION], name.as_str());
        read_pdf(&answer.bytes().await.unwrap())
    }

    /// Gives a part of the paid money back, as staff.
    async fn staff_refund(&self, order: &str, amount: i64) {
        let payment = id(&self.reservation(&self.owner(), order).await["payment"]);
        let body = json!({"amount": amount, "reason": "the sound was off"});
        self.post(&format!("/v1/payments/{payment}/refund"), &self.owner(), body).await.expect(202);
    }

    /// Holds the lock of a host that is stopped while it numbers, until the connection is closed.
    async fn stop_numbering(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.database_url()).await.unwrap();
        sqlx::raw_sql(LOCK).execute(&mut connection).await.unwrap();
        connection
    }

    async fn check_receipts(&self) {
        self.until_all_are_numbered().await;
        let checked = expect_success(&marquee(self, &["fsck"]));
        assert!(checked.contains("ok   receipts"), "{checked}");
    }
}

fn plan() -> Plan {
    Plan::default()
        .with("CINEMA_NAME", "Lichtspiele Köln")
        .with("CINEMA_ADDRESS", "Lindenallee 5, 50667 Köln")
        .with("CINEMA_TAX_ID", "DE123456789")
        .with("CINEMA_TIME_ZONE", "Europe/Berlin")
}

/// Net and tax by rate.
fn taxes(receipts: &[Value]) -> std::collections::BTreeMap<i64, [i64; 2]> {
    let mut sums = std::collections::BTreeMap::new();
    for sum in receipts.iter().flat_map(|receipt| receipt["taxes"].as_array().unwrap()) {
        let of_rate: &mut [i64; 2] = sums.entry(sum["rate"].as_i64().unwrap()).or_default();
        of_rate[0] += sum["net"].as_i64().unwrap();
        of_rate[1] += sum["tax"].as_i64().unwrap();
    }
    sums
}

fn total(receipts: &[Value]) -> i64 {
    receipts.iter().map(|receipt| receipt["total"]["amount"].as_i64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_order_has_a_receipt_with_its_lines_and_taxes_for_those_who_may_read_it() {
    let mut cinema = TestCinema::open_with(plan()).await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSSSSSS"], 24 * 3600).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let tickets = json!([{"seat": "A1", "type": "ADULT"}, {"seat": "A2", "type": "ADULT"}, {"seat": "A3", "type": "CHILD"}]);
    let body = json!({"showtimeId": cinema.showtime, "tickets": tickets});
    let order = cinema.post("/v1/reservations", &ada, body).await.expect(201);
    let (path, order) = (format!("/v1/reservations/{}/receipt", id(&order)), order);
    for part in ["", ".pdf"] {
        let unpaid = cinema.get(&format!("{path}{part}"), &ada).await;
        assert_eq!((unpaid.status.as_u16(), unpaid.code()), (409, "not-paid"), "{part}");
    }
    let order = {
        let id = id(&order);
        cinema.pay(&ada, &id, "pm_card_visa").await.expect(201);
        cinema.until_confirmed(&ada, &id).await
    };
    let receipts = cinema.until_receipts(&ada, &id(&order), 1).await;
    let receipt = &receipts[0];
    let year = &receipt["issuedAt"].as_str().unwrap()[..4];
    assert_eq!(
        (receipt["kind"].as_str(), receipt["number"].as_str()),
        (Some("RECEIPT"), Some(&*format!("R-{year}-000001")))
    );
    assert_eq!((&receipt["lines"], &receipt["fees"]), (&order["lines"], &order["fees"]));
    assert_eq!(
        (&receipt["total"], &receipt["taxes"], &receipt["orderCode"]),
        (&order["total"], &order["taxes"], &order["code"])
    );
    let seller = json!({"name": "Lichtspiele Köln", "address": "Lindenallee 5, 50667 Köln", "taxId": "DE123456789", "timeZone": "Europe/Berlin"});
    assert_eq!(
        (&receipt["seller"], &receipt["buyer"], &receipt["corrects"]),
        (&seller, &Value::Null, &Value::Null)
    );

    let number = receipt["number"].as_str().unwrap();
    for reader in [&ada, &cinema.owner()] {
        let pdf = cinema.receipt_file(reader, &id(&order), number).await;
        let text = pdf["text"].as_str().unwrap();
        assert_eq!((&pdf["pages"], &pdf["embedded"]), (&json!(1), &json!(true)));
        assert_eq!(pdf["title"], format!("Receipt {number}"));
        let wanted = [
            "Lichtspiele Köln",
            "Lindenallee 5",
            "DE123456789",
            number,
            "2 × Adult · A1, A2",
            "1 × Child · A3",
            "3 × Booking fee",
            "€24.00",
            "€8.00",
            "€1.50",
            "€33.50",
            "7 % tax on €29.90",
            "€2.10",
            "19 % tax on €1.26",
        ];
        for part in wanted {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }
    for part in ["", ".pdf"] {
        let path = format!("{path}{part}");
        assert_eq!(cinema.get(&path, &bob).await.status, 404, "{part}");
        let unknown = cinema.call(reqwest::Method::GET, &path, None, None).await;
        assert_eq!(unknown.code(), "token-missing", "{part}");
    }
    let wrong = cinema.get(&format!("{path}.pdf?number=R-{year}-000002"), &ada).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (404, "not-found"));
    let wrong = cinema.get(&format!("{path}.pdf?number={}", "9".repeat(31)), &ada).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    cinema.check_receipts().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refund_has_a_credit_note_and_all_of_them_together_are_the_receipt() {
    let mut cinema = TestCinema::open_with(plan()).await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSSSSSS"], 24 * 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    // Staff, an exchange for fewer seats, and a cancellation by staff.
    for (amount, count) in [(100, 2), (333, 3)] {
        cinema.staff_refund(&order, amount).await;
        cinema.until_receipts(&ada, &order, count).await;
    }
    let fewer = json!({"seats": ["A1", "A2"]});
    cinema.post(&format!("/v1/reservations/{order}/exchange"), &ada, fewer).await.expect(200);
    let after_exchange = cinema.until_receipts(&ada, &order, 4).await;
    assert_eq!(after_exchange[3]["kind"], "CREDIT_NOTE");
    let all = json!({"refundPercent": 100});
    cinema.post(&format!("/v1/reservations/{order}/cancel"), &cinema.owner(), all).await.expect(200);
    cinema.until_status(&ada, &order, "REFUNDED").await;
    let receipts = cinema.until_receipts(&ada, &order, 5).await;
    let (receipt, notes) = (&receipts[..1], &receipts[1..]);
    assert_eq!(total(notes), 3750 - cinema.captured(&order).await);
    assert!(
        notes.iter().all(|note| note["kind"] == "CREDIT_NOTE" && note["corrects"] == receipt[0]["number"])
    );
    let numbers: Vec<&str> = notes.iter().map(|note| &note["number"].as_str().unwrap()[7..]).collect();
    assert_eq!(numbers, ["000001", "000002", "000003", "000004"]);
    for note in notes {
        let sum: i64 = taxes(std::slice::from_ref(note)).values().flatten().sum();
        assert_eq!(sum, total(std::slice::from_ref(note)), "{note}");
    }
    if total(notes) == 3750 {
        assert_eq!(taxes(notes), taxes(receipt));
    }
    let number = notes[0]["number"].as_str().unwrap();
    let pdf = cinema.receipt_file(&ada, &order, number).await;
    let text = pdf["text"].as_str().unwrap();
    for part in ["Credit note", number, receipt[0]["number"].as_str().unwrap(), "Refunded", "€1.00"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    cinema.check_receipts().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_order_and_an_order_that_was_never_paid_have_no_receipt() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let held = cinema.reserve(&ada, &["A1"]).await;
    cinema.cancel(&ada, &held).await.expect(200);
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let free = cinema.reserve(&ada, &["A1"]).await;
    cinema.post("/v1/payments", &ada, json!({"reservationId": free})).await.expect(201);
    cinema.until_confirmed(&ada, &free).await;
    for order in [held, free] {
        let none = cinema.get(&format!("/v1/reservations/{order}/receipt"), &ada).await;
        assert_eq!((none.status.as_u16(), none.code()), (409, "not-paid"));
    }
    assert_eq!(cinema.count("select count(*) from payment.receipts").await, 0);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_is_not_made_yet_is_asked_for_again() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let stopped = cinema.stop_numbering().await;
    // The sale does not wait for it.
    let order = cinema.buy(&ada, &["A1"]).await;
    for part in ["receipt", "receipt.pdf"] {
        let early = cinema.get(&format!("/v1/reservations/{order}/{part}"), &ada).await;
        assert_eq!((early.status.as_u16(), early.code()), (404, "receipt-not-ready"));
        assert_eq!(early.headers[RETRY_AFTER], "5");
    }
    stopped.close().await.unwrap();
    let receipts = cinema.until_receipts(&ada, &order, 1).await;
    assert_eq!(receipts[0]["total"], euros(1200));
    cinema.close().await;
}
