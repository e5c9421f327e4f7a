//! Mails: each step of an order is mailed once, with the right text, and not when it is outdated.

pub mod judged_mail;
mod outages;
mod received_mail;
mod reminders;
mod smtp_server;
mod ticket_file;
mod tickets;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::cinema::{Person, Plan, TestCinema};
use received_mail::{ReceivedMail, read_folder, verify_ticket};

impl TestCinema {
    fn mail_dir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// The mails that were written to the folder.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        read_folder(&self.mail_dir())
    }

    /// The only mail in the folder whose subject begins with this.
    #[track_caller]
    pub fn mail(&self, subject: &str) -> ReceivedMail {
        let mut found = self.mails();
        let subjects: Vec<_> = found.iter().map(|mail| mail.subject.clone()).collect();
        found.retain(|mail| mail.subject.starts_with(subject));
        assert_eq!(found.len(), 1, "{subject}: {subjects:?}");
        found.remove(0)
    }

    /// The mail records of a reservation, newest first.
    pub async fn mail_log(&self, reservation: &str) -> Vec<Value> {
        let path = format!("/v1/notifications?reservationId={reservation}&pageSize=100");
        let began = Instant::now();
        loop {
            let page = self.call(Method::GET, &path, Some(&self.owner()), None).await;
            // The only host was killed and the next one does not answer yet.
            if page.status == 503 && began.elapsed() < Duration::from_secs(15) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            return page.expect(200)["items"].as_array().unwrap().clone();
        }
    }

    /// Waits until a mail of this kind about the reservation has this status.
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
    let held = cinema.mail("Held until ");
    assert!(held.subject.ends_with(": The Long Night"), "{}", held.subject);
    assert_eq!(held.to, "p0@example.org");
    assert_eq!(Some(held.message_id.as_str()), log["messageId"].as_str());
    for part in [&held.text, &held.html] {
        assert!(part.contains("A1, A2") && part.contains("€24.00") && part.contains("Hall "), "{part}");
        // In the time zone of the hall.
        assert!(part.contains("(CET)") || part.contains("(CEST)"), "{part}");
    }

    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_mail(&reservation, "RESERVATION_CONFIRMED", "SENT").await;
    let confirmed = cinema.mail("Your tickets: The Long Night");
    assert!(confirmed.text.contains("A1, A2"), "{}", confirmed.text);
    let entry = String::from_utf8(confirmed.attachment("show.ics").to_vec()).unwrap();
    assert!(entry.contains("BEGIN:VEVENT") && entry.contains("SUMMARY:The Long Night"), "{entry}");
    let keys = cinema.call(Method::GET, "/.well-known/jwks.json", None, None).await.expect(200);
    let read = cinema.read_mail(&reservation, "RESERVATION_CONFIRMED").await;
    let codes: Vec<String> =
        judged_mail::texts(&read["pdf"]["codes"]).into_iter().map(str::to_owned).collect();
    let seats: Vec<Value> = codes
        .iter()
        .map(|code| {
            let (header, claims) = verify_ticket(code, &keys);
            assert_eq!(header["typ"], "ticket+jwt");
            assert_eq!(
                (&claims["sub"], &claims["show"]),
                (&reservation.clone().into(), &cinema.showtime.clone().into())
            );
            claims["seat"].clone()
        })
        .collect();
    assert_eq!(seats, ["A1", "A2"]);
    // A ticket is not an access token, and an access token is not a ticket.
    let thief = Person { token: codes[0].clone() };
    let refused = cinema.call(Method::GET, "/v1/me", Some(&thief), None).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "token-invalid"), "{}", refused.text);
    assert_ne!(verify_ticket(&ada.token, &keys).0["typ"], "ticket+jwt");

    cinema.cancel(&ada, &reservation).await.expect(200);
    cinema.until_mail(&reservation, "RESERVATION_CANCELLED", "SENT").await;
    for kind in ["REFUND_REQUESTED", "REFUND_COMPLETED"] {
        let skipped = cinema.until_mail(&reservation, kind, "SKIPPED").await;
        assert!(skipped["reason"].is_string(), "{skipped}");
    }
    let cancelled = cinema.mail("Your reservation is cancelled");
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
    assert_eq!((log.len(), cinema.mails().len()), (5, 3), "{log:#?}");
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
    assert_eq!(cinema.mails().iter().filter(|mail| mail.subject.starts_with("Held until")).count(), 1);
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
    let entry = |mail: ReceivedMail| String::from_utf8(mail.attachment("show.ics").to_vec()).unwrap();
    let (first, second) = (entry(cinema.mail("Your tickets")), entry(cinema.mail("Your new tickets")));
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
    let set_email = |who: Person, email: &'static str| {
        let body = serde_json::json!({"email": email});
        let (cinema, path) = (&cinema, &path);
        async move { cinema.call(Method::PATCH, path, Some(&who), Some(body)).await }
    };
    set_email(cinema.register().await, "ada@right.example").await.expect(404);
    set_email(cinema.owner(), "ada").await.expect(422);
    let changed = set_email(cinema.owner(), "ada@right.example").await.expect(202);
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
    // The same address again changes nothing; a mail that is sent again goes to the current address.
    let again = set_email(cinema.owner(), "ada@right.example").await.expect(202);
    assert_eq!(again["version"], changed["version"]);
    let resend = format!("/v1/notifications/{}/resend", wrong["id"].as_str().unwrap());
    let ignored = serde_json::json!({"recipient": "eve@example.org"});
    let refused = cinema.call(Method::POST, &resend, Some(&cinema.owner()), Some(ignored)).await;
    assert_eq!(refused.expect(422)["errors"][0]["field"], "recipient");
    cinema.call(Method::POST, &resend, Some(&cinema.owner()), None).await.expect(202);
    let began = Instant::now();
    while cinema.mails().iter().filter(|mail| mail.to == "ada@right.example").count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(30), "the mail was not sent again");
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
    let cancellations: Vec<ReceivedMail> = cinema
        .mails()
        .into_iter()
        .filter(|mail| mail.subject == "This showing will not take place: The Long Night")
        .collect();
    let mut recipients: Vec<&str> = cancellations.iter().map(|mail| mail.to.as_str()).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, ["p0@example.org", "p1@example.org"]);
    for mail in &cancellations {
        // The user who had paid has a calendar entry, which is cancelled; the one who held seats has none.
        let calendar = mail.attachments.iter().find(|(name, _)| name == "show.ics");
        assert_eq!(calendar.is_some(), mail.to == "p0@example.org", "{}", mail.to);
        assert_eq!(mail.text.contains("€12.00"), mail.to == "p0@example.org", "{}", mail.text);
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redelivered_events_send_no_mail() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let kept = cinema.buy(&ada, &["A1"]).await;
    let cancelled = cinema.buy(&ada, &["A2"]).await;
    cinema.cancel(&ada, &cancelled).await.expect(200);
    cinema.until_mail(&kept, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.until_mail(&cancelled, "RESERVATION_CANCELLED", "SENT").await;
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    let rows = "select (count(*) * 1000000 + sum(version))::bigint from notification.mails";
    let (before, files) = (cinema.count(rows).await, cinema.mails().len());
    let events = cinema
        .count(
            "select (select count(*) from reservation.events) + (select count(*) from payment.events)
                  + (select count(*) from movie.events) + (select count(*) from auth.events)",
        )
        .await;
    // Every relay publishes all archived events again.
    cinema.nats.wipe().await.unwrap();
    cinema
        .until("every event is in the stream again", async || {
            match cinema.cinema().bus.jetstream.get_stream(bus::topology::EVENTS).await {
                Ok(mut stream) => stream.info().await.is_ok_and(|info| info.state.messages as i64 >= events),
                Err(_) => false,
            }
        })
        .await;
    crate::operator::until_all_is_handled(&cinema).await;
    assert_eq!(cinema.count(rows).await, before, "a mail was added or changed");
    assert_eq!(cinema.mails().len(), files);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_without_its_reservation_requests_it_from_the_reservation_host() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&reservation, "RESERVATION_CONFIRMED", "SENT").await;
    // The tables that the host fills from events are lost, as after a week without this host.
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
    for event in [&refund, &unknown] {
        let now = bus::contract::Timestamp::wall_clock();
        let outgoing = bus::event::Outgoing::new("payment", event, now, &bus::Context::new());
        outgoing.send(&cinema.cinema().bus).await.unwrap().await.unwrap();
    }
    let mail = cinema.until_mail(&reservation, "REFUND_COMPLETED", "SENT").await;
    assert_eq!(mail["recipient"], "p0@example.org");
    assert!(cinema.mail("Refunded: €1.00").text.contains("Hall "));
    let skipped = cinema.until_mail(&unknown.reservation_id.to_string(), "REFUND_COMPLETED", "SKIPPED").await;
    assert_eq!(skipped["reason"], "nobody knows the reservation");
    // The reservation host does not know these refunds and parks the events, so there is no `close()`.
    cinema.stop_hosts().await;
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
        cinema.mails().into_iter().map(|mail| mail.message_id).collect();
    assert_eq!(ids.len(), 40);
    cinema.close().await;
}
