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
    cinema.until_mail(&reservation, "RESERVATION_CANCELLED", "SENT").await;
    for kind in ["REFUND_REQUESTED", "REFUND_COMPLETED"] {
        let skipped = cinema.until_mail(&reservation, kind, "SKIPPED").await;
        assert!(skipped["reason"].is_string(), "{skipped}");
    }
    let cancelled = cinema.letter("Your reservation is cancelled");
    assert!(
        cancelled.text.contains("€24.00") && cancelled.text.contains("The Long Night"),
        "{}",
        cancelled.text
    );
    let off = String::from_utf8(cancelled.attachment("show.ics").to_vec()).unwrap();
    for line in ["METHOD:CANCEL", "STATUS:CANCELLED", &format!("UID:{reservation}@marquee")] {
        assert!(off.contains(line), "{line}: {off}");
    }
    assert!(sequence(&off) > sequence(&entry), "{entry} {off}");
    let log = cinema.mail_log(&reservation).await;
    assert_eq!((log.len(), cinema.letters().len()), (5, 3), "{log:#?}");
    let refused = cinema.call(Method::GET, "/v1/notifications", Some(&ada), None).await;
    assert_eq!(refused.status.as_u16(), 403);
    cinema.close().await;
}

/// The entry's `SEQUENCE`.
fn sequence(entry: &str) -> u64 {
    let line = entry.lines().find_map(|line| line.strip_prefix("SEQUENCE:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no sequence: {entry}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_paid_before_the_mail_delay_gets_no_mail_about_its_hold() {
    let cinema = TestCinema::open_with(Plan::default().with("HOLD_MAIL_AFTER_SECONDS", 4)).await;
    let ada = cinema.register().await;
    let (paid, held) = (cinema.buy(&ada, &["A1"]).await, cinema.reserve(&ada, &["B1"]).await);
    cinema.until_mail(&held, "RESERVATION_CREATED", "QUEUED").await;
    let skipped = cinema.until_mail(&paid, "RESERVATION_CREATED", "SKIPPED").await;
    assert_eq!(skipped["reason"], "the reservation is already paid");
    cinema.until_mail(&held, "RESERVATION_CREATED", "SENT").await;
    assert_eq!(cinema.letters().iter().filter(|letter| letter.subject.starts_with("Held until")).count(), 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_replaces_the_calendar_entry_of_the_order() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&order, "RESERVATION_CONFIRMED", "SENT").await;
    let body = serde_json::json!({"seats": ["B2"]});
    let path = format!("/v1/reservations/{order}/exchange");
    cinema.call_with_key(Method::POST, &path, Some(&ada), Some(body), "other-seat").await.expect(200);
    cinema.until_mail(&order, "RESERVATION_EXCHANGED", "SENT").await;
    let entry = |letter: Letter| String::from_utf8(letter.attachment("show.ics").to_vec()).unwrap();
    let (first, second) = (entry(cinema.letter("Your tickets")), entry(cinema.letter("Your new tickets")));
    let uid = format!("UID:{order}@marquee");
    assert!(first.contains(&uid) && second.contains(&uid), "{first} {second}");
    assert!(sequence(&second) > sequence(&first) && second.contains("Seats B2"), "{first} {second}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_correct_the_address_of_an_order_and_its_tickets_are_sent_again() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let wrong = cinema.until_mail(&order, "RESERVATION_CONFIRMED", "SENT").await;
    let path = format!("/v1/reservations/{order}");
    let change = |who: Person, email: &'static str| {
        let body = serde_json::json!({"email": email});
        let (cinema, path) = (&cinema, &path);
        async move { cinema.call(Method::PATCH, path, Some(&who), Some(body)).await }
    };
    change(ada.clone(), "ada@right.example").await.expect(403);
    change(cinema.owner(), "ada").await.expect(422);
    let changed = change(cinema.owner(), "ada@right.example").await.expect(202);
    assert_eq!((&changed["email"], &changed["status"]), (&"ada@right.example".into(), &"CONFIRMED".into()));
    let began = Instant::now();
    let mails = loop {
        let mut log = cinema.mail_log(&order).await;
        log.retain(|mail| mail["kind"] == "RESERVATION_CONFIRMED" && mail["status"] == "SENT");
        if log.len() == 2 {
            break log;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{log:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&mails[0]["recipient"], &mails[1]["id"]), (&"ada@right.example".into(), &wrong["id"]));
    // The same again changes nothing; a mail that is sent again goes to the address that is right now.
    let again = change(cinema.owner(), "ada@right.example").await.expect(202);
    assert_eq!(again["version"], changed["version"]);
    let resend = format!("/v1/notifications/{}/resend", wrong["id"].as_str().unwrap());
    let ignored = serde_json::json!({"recipient": "eve@example.org"});
    let refused = cinema.call(Method::POST, &resend, Some(&cinema.owner()), Some(ignored)).await;
    assert_eq!(refused.expect(422)["errors"][0]["field"], "recipient");
    cinema.call(Method::POST, &resend, Some(&cinema.owner()), None).await.expect(202);
    let began = Instant::now();
    while cinema.letters().iter().filter(|letter| letter.to == "ada@right.example").count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(30), "the resent mail did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let saga = format!("/v1/admin/sagas/{order}");
    let saga = cinema.call(Method::GET, &saga, Some(&cinema.owner()), None).await.expect(200);
    let step =
        saga["steps"].as_array().unwrap().iter().find(|step| step["input"] == "readdress").unwrap().clone();
    assert!(step["by"].is_string() && step["detail"] == "ada@right.example", "{step}");
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
    cinema.until_mail(&paid, "REFUND_COMPLETED", "SKIPPED").await;
    let told: Vec<Letter> = cinema
        .letters()
        .into_iter()
        .filter(|letter| letter.subject == "This showing will not take place: The Long Night")
        .collect();
    let mut whom: Vec<&str> = told.iter().map(|letter| letter.to.as_str()).collect();
    whom.sort_unstable();
    assert_eq!(whom, ["p0@example.org", "p1@example.org"]);
    for letter in &told {
        // Who had paid had an entry in the calendar, which goes; who held seats had none.
        let off = letter.attachments.iter().find(|(name, _)| name == "show.ics");
        assert_eq!(off.is_some(), letter.to == "p0@example.org", "{}", letter.to);
        assert_eq!(letter.text.contains("€12.00"), letter.to == "p0@example.org", "{}", letter.text);
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redelivered_events_send_no_mail() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let kept = cinema.buy(&ada, &["A1"]).await;
    let given_back = cinema.buy(&ada, &["A2"]).await;
    cinema.cancel(&ada, &given_back).await.expect(200);
    cinema.until_mail(&kept, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.until_mail(&given_back, "RESERVATION_CANCELLED", "SENT").await;
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    let rows = "select (count(*) * 1000000 + sum(version))::bigint from notification.mails";
    let (before, files) = (cinema.count(rows).await, cinema.letters().len());
    let events = cinema
        .count(
            "select (select count(*) from reservation.events) + (select count(*) from payment.events)
                  + (select count(*) from movie.events) + (select count(*) from auth.events)",
        )
        .await;
    // Every relay publishes its whole archive again.
    cinema.nats.wipe().await.unwrap();
    cinema
        .until("every event came again", async || {
            match cinema.cinema().bus.jetstream.get_stream(bus::topology::EVENTS).await {
                Ok(mut stream) => stream.info().await.is_ok_and(|info| info.state.messages as i64 >= events),
                Err(_) => false,
            }
        })
        .await;
    crate::operator::until_all_is_heard(&cinema).await;
    assert_eq!(cinema.count(rows).await, before, "a mail was added or changed");
    assert_eq!(cinema.letters().len(), files);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_without_its_reservation_requests_it_from_the_reservation_host() {
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
        version: 4,
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
