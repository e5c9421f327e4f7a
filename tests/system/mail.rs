//! Mails: each step of an order is told once, with the right words, and never when it is not true any more.

mod letters;
mod outages;
mod reminders;
mod sink;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::cinema::{Person, Plan, TestCinema};
use letters::{Letter, at_the_door, read_folder};

impl TestCinema {
    fn mail_dir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// The mails that were written to the folder.
    fn letters(&self) -> Vec<Letter> {
        read_folder(&self.mail_dir())
    }

    /// The one mail in the folder whose subject begins so.
    #[track_caller]
    pub fn letter(&self, subject: &str) -> Letter {
        let mut found = self.letters();
        let subjects: Vec<_> = found.iter().map(|letter| letter.subject.clone()).collect();
        found.retain(|letter| letter.subject.starts_with(subject));
        assert_eq!(found.len(), 1, "{subject}: {subjects:?}");
        found.remove(0)
    }

    /// The mail log of a reservation, newest first.
    pub async fn mail_log(&self, reservation: &str) -> Vec<Value> {
        let path = format!("/v1/notifications?reservationId={reservation}&pageSize=100");
        let began = Instant::now();
        loop {
            let page = self.call(Method::GET, &path, Some(&self.owner()), None).await;
            // The only host was killed and the next one does not serve yet.
            if page.status == 503 && began.elapsed() < Duration::from_secs(15) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            return page.expect(200)["items"].as_array().unwrap().clone();
        }
    }

    /// Waits until a reservation's mail of this kind has this status.
    pub async fn until_mail(&self, reservation: &str, kind: &str, status: &str) -> Value {
        let began = Instant::now();
        loop {
            let log = self.mail_log(reservation).await;
            if let Some(mail) = log.iter().find(|mail| mail["kind"] == kind && mail["status"] == status) {
                return mail.clone();
            }
            assert!(began.elapsed() < Duration::from_secs(45), "no {kind} became {status}: {log:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_an_order_is_mailed_once_and_its_tickets_verify_offline() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1", "A2"]).await;
    let log = cinema.until_mail(&reservation, "RESERVATION_CREATED", "SENT").await;
    assert_eq!((log["recipient"].as_str(), log["attempts"].as_i64()), (Some("p0@example.org"), Some(1)));
    let held = cinema.letter("Held until ");
    assert!(held.subject.ends_with(": The Long Night"), "{}", held.subject);
    assert_eq!(held.to, "p0@example.org");
    assert_eq!(Some(held.message_id.as_str()), log["messageId"].as_str());
    for part in [&held.text, &held.html] {
        assert!(part.contains("A1, A2") && part.contains("€24.00") && part.contains("Hall "), "{part}");
        // In Berlin's time.
        assert!(part.contains("(CET)") || part.contains("(CEST)"), "{part}");
    }

    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_mail(&reservation, "RESERVATION_CONFIRMED", "SENT").await;
    let confirmed = cinema.letter("Your tickets: The Long Night");
    assert!(confirmed.text.contains("A1, A2"), "{}", confirmed.text);
    let entry = String::from_utf8(confirmed.attachment("show.ics").to_vec()).unwrap();
    assert!(entry.contains("BEGIN:VEVENT") && entry.contains("SUMMARY:The Long Night"), "{entry}");
    let keys = cinema.call(Method::GET, "/.well-known/jwks.json", None, None).await.expect(200);
    let codes = confirmed.codes();
    let seats: Vec<Value> = codes
        .iter()
        .map(|code| {
            let (header, claims) = at_the_door(code, &keys);
            assert_eq!(header["typ"], "ticket+jwt");
            assert_eq!(
                (&claims["sub"], &claims["show"]),
                (&reservation.clone().into(), &cinema.showtime.clone().into())
            );
            claims["seat"].clone()
        })
        .collect();
    assert_eq!(seats, ["A1", "A2"]);
    // A ticket opens the door of the hall and no other, and a login's token is no ticket.
    let thief = Person { token: codes[0].clone() };
    let refused = cinema.call(Method::GET, "/v1/me", Some(&thief), None).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "token-invalid"), "{}", refused.text);
    assert_ne!(at_the_door(&ada.token, &keys).0["typ"], "ticket+jwt");

    cinema.cancel(&ada, &reservation).await.expect(200);
    for kind in ["RESERVATION_CANCELLED", "REFUND_REQUESTED", "REFUND_COMPLETED"] {
        cinema.until_mail(&reservation, kind, "SENT").await;
    }
    assert!(cinema.letter("Refunded: €24.00").text.contains("The Long Night"));
    let log = cinema.mail_log(&reservation).await;
    assert_eq!((log.len(), cinema.letters().len()), (5, 5), "{log:#?}");
    let refused = cinema.call(Method::GET, "/v1/notifications", Some(&ada), None).await;
    assert_eq!(refused.status.as_u16(), 403);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_showtime_is_mailed_to_everyone_who_had_seats() {
    let cinema = TestCinema::open().await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let paid = cinema.buy(&ada, &["A1"]).await;
    let held = cinema.reserve(&bob, &["B1"]).await;
    cinema.until_mail(&held, "RESERVATION_CREATED", "SENT").await;
    cinema.until_mail(&paid, "RESERVATION_CONFIRMED", "SENT").await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::DELETE, &path, Some(&cinema.owner()), None).await.expect(204);
    for reservation in [&paid, &held] {
        cinema.until_mail(reservation, "SHOWTIME_CANCELLED", "SENT").await;
    }
    cinema.until_mail(&paid, "REFUND_COMPLETED", "SENT").await;
    let told: Vec<Letter> = cinema
        .letters()
        .into_iter()
        .filter(|letter| letter.subject == "This showing will not take place: The Long Night")
        .collect();
    let mut whom: Vec<&str> = told.iter().map(|letter| letter.to.as_str()).collect();
    whom.sort_unstable();
    assert_eq!(whom, ["p0@example.org", "p1@example.org"]);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_again_send_nothing_even_when_the_inbox_is_forgotten() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let kept = cinema.buy(&ada, &["A1"]).await;
    let given_back = cinema.buy(&ada, &["A2"]).await;
    cinema.cancel(&ada, &given_back).await.expect(200);
    cinema.until_mail(&kept, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.until_mail(&given_back, "REFUND_COMPLETED", "SENT").await;
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    let rows = "select (count(*) * 1000000 + sum(version))::bigint from notification.mails";
    let (before, files) = (cinema.count(rows).await, cinema.letters().len());
    let heard = cinema.count("select count(*) from notification.inbox").await;

    sqlx::query("delete from notification.inbox").execute(&cinema.database).await.unwrap();
    // Every relay publishes its whole archive again.
    cinema.nats.wipe().await.unwrap();
    // As many as were heard the first time: all of them again.
    let again = move |found: i64| found >= heard;
    let began = Instant::now();
    while !again(cinema.count("select count(*) from notification.inbox").await) {
        assert!(began.elapsed() < Duration::from_secs(45), "not every event came again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cinema.count(rows).await, before, "a mail was added or changed");
    assert_eq!(cinema.letters().len(), files);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_lacks_its_reservation_asks_for_it() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&reservation, "RESERVATION_CONFIRMED", "SENT").await;
    // A host whose projection is lost, as after a week's absence.
    for lost in ["delete from notification.attendees", "delete from notification.showtimes"] {
        sqlx::query(lost).execute(&cinema.database).await.unwrap();
    }
    let refund = bus::contract::payment::RefundCompleted {
        refund_id: uuid::Uuid::now_v7(),
        reservation_id: reservation.parse().unwrap(),
        payment_id: uuid::Uuid::now_v7(),
        total: bus::contract::Money { amount: 100, currency: bus::contract::Currency::EUR },
    };
    let unknown = bus::contract::payment::RefundCompleted {
        reservation_id: uuid::Uuid::now_v7(),
        refund_id: uuid::Uuid::now_v7(),
        ..refund.clone()
    };
    for told in [&refund, &unknown] {
        let now = bus::contract::Timestamp::wall_clock();
        let event = bus::event::Outgoing::new("payment", told, now, &bus::Context::new());
        event.send(&cinema.cinema().bus).await.unwrap().await.unwrap();
    }
    let mail = cinema.until_mail(&reservation, "REFUND_COMPLETED", "SENT").await;
    assert_eq!(mail["recipient"], "p0@example.org");
    assert!(cinema.letter("Refunded: €1.00").text.contains("Hall "));
    let skipped = cinema.until_mail(&unknown.reservation_id.to_string(), "REFUND_COMPLETED", "SKIPPED").await;
    assert_eq!(skipped["reason"], "nobody knows the reservation");
    // Reservation knows no such refunds: whatever it does with them is not looked at here.
    cinema.close_doors().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_share_the_work_and_send_each_mail_once() {
    let mut cinema = TestCinema::open_with(Plan::default().with("MAILS_PER_SECOND", 1000)).await;
    cinema.start_another("notification").await;
    let ada = cinema.register().await;
    let seats: Vec<String> =
        ["A", "B", "C", "D"].iter().flat_map(|row| (1..=10).map(move |n| format!("{row}{n}"))).collect();
    let seats: Vec<[&str; 1]> = seats.iter().map(|seat| [seat.as_str()]).collect();
    let reserving = seats.iter().map(|seat| cinema.try_reserve(&ada, seat));
    for answer in futures::future::join_all(reserving).await {
        answer.expect(201);
    }
    cinema.until_sql("select count(*) from notification.mails where status = 'SENT'", 40).await;
    assert_eq!(
        cinema.count("select count(*) from notification.mails where attempts <> 1 or version <> 3").await,
        0
    );
    let ids: std::collections::BTreeSet<String> =
        cinema.letters().into_iter().map(|letter| letter.message_id).collect();
    assert_eq!(ids.len(), 40);
    cinema.close().await;
}
