//! Notification's rules and mails without any server.

use std::time::Duration;

use bus::Context;
use bus::contract::notification::{NotificationKind as Kind, NotificationStatus as Status};
use bus::contract::reservation::{ReservationCreated, ReservationStatus};
use bus::contract::{Currency, Money, SeatId, Timestamp};
use uuid::Uuid;

use super::message::{self, Enclosed};
use super::model::{
    AWAY_MAX, Attendee, End, Facts, Mail, Showtime, Sibling, TRIES_MAX, Topic, Trouble, Verdict, after,
    delay, judge, message_id,
};
use super::{format, ticket, winansi, wording};

fn at(text: &str) -> Timestamp {
    serde_json::from_value(text.into()).unwrap()
}

fn eur(amount: i64) -> Money {
    Money { amount, currency: Currency::EUR }
}

const START: &str = "2026-03-07T19:15:00Z";

fn facts(status: ReservationStatus, title: &str) -> Facts {
    let showtime_id = Uuid::now_v7();
    let reservation = ReservationCreated {
        reservation_id: Uuid::now_v7(),
        version: 3,
        user_id: Uuid::now_v7(),
        email: "ada@example.org".into(),
        showtime_id,
        movie_id: Uuid::now_v7(),
        movie_title: title.into(),
        starts_at: at(START),
        seats: vec![SeatId::new("C", 5), SeatId::new("C", 6)],
        lines: vec![],
        total: eur(2400),
        expires_at: at("2026-03-07T18:00:00Z"),
    };
    let showtime = Showtime {
        id: showtime_id,
        version: 1,
        movie_title: title.into(),
        auditorium_name: "Großer Saal".into(),
        time_zone: "Europe/Berlin".into(),
        starts_at: at(START),
        ends_at: at("2026-03-07T21:15:00Z"),
        cancelled: false,
    };
    Facts { attendee: Some(Attendee { status, reservation }), showtime: Some(showtime), siblings: vec![] }
}

fn mail(topic: Topic) -> Mail {
    Mail {
        id: Uuid::now_v7(),
        version: 2,
        attempts: 1,
        resends: 0,
        topic,
        subject: String::new(),
        reservation_id: None,
        recipient: None,
        context: Context::new(),
        queued_at: at("2026-03-07T17:50:00Z"),
    }
}

/// The message as it would leave, with quoted-printable undone as far as these texts need it.
fn written(topic: Topic, facts: &Facts, enclosed: Enclosed) -> String {
    let words = wording::of(&topic, facts, &enclosed, "https://kino.example", at("2026-03-07T18:15:00Z"));
    let from = "Marquee <tickets@kino.example>".parse().unwrap();
    let message = message::message(&from, "ada@example.org", &mail(topic), facts, words, enclosed)
        .unwrap_or_else(|e| panic!("{e:?}"));
    String::from_utf8(message.formatted()).unwrap().replace("=\r\n", "").replace("=3D", "=")
}

#[test]
fn a_mail_that_is_not_true_any_more_is_skipped() {
    use ReservationStatus::{Cancelled, Confirmed, Pending};
    let held = Topic::ReservationCreated { expires_at: at("2026-03-07T18:00:00Z") };
    let reminder = Topic::Reminder { starts_at: at(START) };
    let reset = Topic::PasswordReset { reset_id: Uuid::nil(), expires_at: at("2026-03-07T18:00:00Z") };
    let (early, late, begun, over) = (
        at("2026-03-07T17:59:59Z"),
        at("2026-03-07T18:00:00Z"),
        at("2026-03-07T19:15:00Z"),
        at("2026-03-07T21:15:00Z"),
    );
    let cases = [
        (&held, Pending, early, true),
        (&held, Pending, late, false),
        (&held, Confirmed, early, false),
        (&held, Cancelled, early, false),
        (&Topic::ReservationConfirmed, Confirmed, begun, true),
        (&Topic::ReservationConfirmed, Confirmed, over, false),
        (&Topic::ReservationConfirmed, Cancelled, early, false),
        (&Topic::HoldExpired, Cancelled, late, true),
        (&Topic::HoldExpired, Confirmed, late, false),
        (&Topic::ReservationCancelled, Cancelled, over, true),
        (&reminder, Confirmed, late, true),
        (&reminder, Confirmed, begun, false),
        (&reminder, Cancelled, late, false),
        (&reset, Pending, early, true),
        (&reset, Pending, late, false),
    ];
    for (topic, status, now, sent) in cases {
        let verdict = judge(topic, &facts(status, "Heat"), now);
        assert_eq!(verdict == Verdict::Send, sent, "{topic:?} {status:?} at {now}: {verdict:?}");
    }
    let mut moved = facts(Confirmed, "Heat");
    moved.showtime.as_mut().unwrap().starts_at = at("2026-03-07T20:15:00Z");
    assert_eq!(judge(&reminder, &moved, late), Verdict::Skip("the showtime was moved"));
    let mut cancelled = facts(Confirmed, "Heat");
    cancelled.showtime.as_mut().unwrap().cancelled = true;
    assert_eq!(judge(&reminder, &cancelled, late), Verdict::Skip("the showtime is cancelled"));
}

#[test]
fn delays_grow_to_an_hour_and_neighbours_do_not_return_together() {
    let delays: Vec<u64> = (1..=TRIES_MAX).map(|attempt| delay(attempt, 0).as_secs()).collect();
    assert_eq!(delays[..7], [5, 15, 45, 135, 405, 1215, 3600]);
    assert_eq!(delays.last(), Some(&3600));
    let distinct: std::collections::BTreeSet<_> = (0..50).map(|seed| delay(3, seed)).collect();
    assert!(distinct.len() > 40, "{distinct:?}");
    assert!(delay(12, u64::MAX) <= Duration::from_secs(4320));
}

#[test]
fn what_was_put_off_too_often_or_refused_fails_and_what_reached_no_server_waits() {
    let error = || "no".to_owned();
    let day = Duration::from_secs(86_400);
    assert_eq!(after(Trouble::Refused(error()), 1, Duration::ZERO, 0), End::Failed(error()));
    let again = after(Trouble::Deferred(error()), TRIES_MAX - 1, day, 0);
    assert!(matches!(again, End::Again { counts: true, .. }), "{again:?}");
    assert_eq!(after(Trouble::Deferred(error()), TRIES_MAX, day, 0), End::Failed(error()));
    let waits = after(Trouble::Away(error()), 1_000, day, 0);
    assert!(matches!(waits, End::Again { counts: false, .. }), "{waits:?}");
    assert_eq!(after(Trouble::Away(error()), 1, AWAY_MAX, 0), End::Failed(error()));
}

#[test]
fn a_retry_keeps_the_message_id_and_a_resend_has_another() {
    let id = Uuid::now_v7();
    assert_eq!(message_id(id, 0, "kino.example"), format!("{}.0@kino.example", id.simple()));
    assert_ne!(message_id(id, 0, "kino.example"), message_id(id, 1, "kino.example"));
}

#[test]
fn times_are_the_cinemas_own_also_after_the_clocks_change() {
    let written = |time| format::date_time(at(time), "Europe/Berlin");
    assert_eq!(written(START), "Saturday, 7 March 2026, 20:15 (CET)");
    assert_eq!(written("2026-03-29T19:15:00Z"), "Sunday, 29 March 2026, 21:15 (CEST)");
    assert_eq!(format::date_time(at(START), "Mars/Olympus"), "Saturday, 7 March 2026, 19:15 (UTC)");
    assert_eq!(format::basic_utc(at(START)), "20260307T191500Z");
}

#[test]
fn any_title_is_readable_in_the_tickets() {
    assert_eq!(winansi::encode("Für 5 € – „ja“"), b"F\xfcr 5 \x80 \x96 \x84ja\x93");
    let spirited = String::from_utf8(winansi::encode("千と千尋の神隠し")).unwrap();
    assert!(spirited.is_ascii() && spirited.starts_with("Qian"), "{spirited}");
    assert_eq!(winansi::encode("Сталкер"), b"Stalker");
    assert_eq!(winansi::encode("a\u{0}\u{7}b").len(), 2);
    let lines = winansi::wrap(&"Night ".repeat(60), 22.0, true, 300.0, 2);
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| winansi::width(line, 22.0, true) <= 300.0));
    assert!(!winansi::wrap(&"W".repeat(100), 22.0, true, 300.0, 9).is_empty(), "no space, still broken");
}

#[test]
fn there_is_a_page_for_each_seat_with_its_own_code() {
    let facts = facts(ReservationStatus::Confirmed, "Amélie (千)");
    let tokens = ["x".repeat(340), "y".repeat(340)];
    let pdf = ticket::pdf(&facts, &tokens).unwrap();
    let text = String::from_utf8_lossy(&pdf);
    assert!(text.starts_with("%PDF-"));
    assert_eq!(text.matches("/Type /Page\n").count(), 2, "a page a seat");
    assert!(text.contains(&"x".repeat(80)) && text.contains(&"y".repeat(80)));
    // Strings beyond ASCII are written in hexadecimal digits: é is E9 in WinAnsi.
    assert!(text.contains("<416DE96C696520"), "the title is in WinAnsi");
    assert!(ticket::pdf(&facts, &tokens[..1]).is_err(), "a seat without a code");
}

#[test]
fn the_confirmation_brings_tickets_and_a_calendar_entry() {
    let facts = facts(ReservationStatus::Confirmed, "Heat <3 & more");
    let tokens = vec!["a.b.c".to_owned(), "d.e.f".to_owned()];
    let text = written(Topic::ReservationConfirmed, &facts, Enclosed::Tickets { tokens });
    assert!(text.contains("Subject: Your tickets: Heat <3 & more"), "{text}");
    assert!(text.contains("Seats: C5, C6") && text.contains("Saturday, 7 March 2026, 20:15 (CET)"), "{text}");
    assert!(text.contains("Heat &#60;3 &#38; more"), "the HTML is escaped: {text}");
    let order = facts.attendee.as_ref().unwrap().reservation.reservation_id;
    assert!(text.contains(&format!("https://kino.example/reservations/{order}")), "{text}");
    assert!(text.contains("tickets.pdf") && text.contains("application/pdf"));
    assert!(text.contains("show.ics") && text.contains("method=PUBLISH"));
    assert!(text.contains("Auto-Submitted: auto-generated"));
}

#[test]
fn the_reset_leads_to_our_own_address_and_names_nobody_elses() {
    let topic = Topic::PasswordReset { reset_id: Uuid::nil(), expires_at: at(START) };
    let text = written(topic, &Facts::default(), Enclosed::Reset { token: "t0k-en_".into() });
    assert!(text.contains("https://kino.example/reset?token=t0k-en_"), "{text}");
    assert!(!text.contains("Order "), "{text}");
}

#[test]
fn the_mails_about_an_account_lead_to_our_own_address_and_hold_no_text_of_a_strangers() {
    let verification = Topic::EmailVerification { verification_id: Uuid::nil(), expires_at: at(START) };
    let text = written(verification, &Facts::default(), Enclosed::Verification { token: "t0k-en_".into() });
    assert!(text.contains("https://kino.example/verify?token=t0k-en_"), "{text}");
    assert!(text.contains("https://kino.example/forgot"), "{text}");
    let changed = Topic::PasswordChanged { changed_at: at(START) };
    let text = written(changed, &Facts::default(), Enclosed::Nothing);
    assert!(text.contains("https://kino.example/forgot"), "{text}");
}

#[test]
fn mails_about_unpaid_seats_differ_from_those_about_paid_ones() {
    let mut facts = facts(ReservationStatus::Cancelled, "Heat");
    let held = Topic::ReservationCreated { expires_at: at(START) };
    for topic in [&held, &Topic::HoldExpired, &Topic::ReservationCancelled, &Topic::ShowtimeCancelled] {
        assert!(topic.is_of_hold(&facts) && topic.is_bounded(&facts), "{topic:?}");
    }
    facts.siblings = vec![Sibling {
        kind: Kind::ReservationConfirmed,
        subject: String::new(),
        status: Status::Sent,
        topic: Topic::ReservationConfirmed,
        created_at: at(START),
        sent_at: Some(at(START)),
    }];
    let refund = Topic::RefundCompleted { total: eur(1200) };
    for topic in
        [&Topic::ReservationCancelled, &Topic::ShowtimeCancelled, &Topic::ReservationConfirmed, &refund]
    {
        assert!(!topic.is_of_hold(&facts) && !topic.is_bounded(&facts), "{topic:?}");
    }
    facts.attendee.as_mut().unwrap().reservation.total = eur(0);
    assert!(Topic::ReservationConfirmed.is_bounded(&facts), "free tickets cost a stranger nothing");
}

#[test]
fn every_kind_has_words() {
    let facts = facts(ReservationStatus::Cancelled, "Heat");
    let topics = [
        Topic::ReservationCreated { expires_at: at("2026-03-07T18:00:00Z") },
        Topic::HoldExpired,
        Topic::PaymentFailed,
        Topic::ReservationCancelled,
        Topic::ShowtimeCancelled,
        Topic::RefundRequested { total: eur(1200) },
        Topic::RefundCompleted { total: eur(1200) },
        Topic::Reminder { starts_at: at(START) },
    ];
    let mut subjects = std::collections::BTreeSet::new();
    for topic in topics {
        let words = wording::of(
            &topic,
            &facts,
            &Enclosed::Nothing,
            "https://kino.example",
            at("2026-03-07T18:15:00Z"),
        );
        assert!(
            !words.heading.is_empty() && !words.paragraphs.is_empty() && words.order.is_some(),
            "{topic:?}"
        );
        let button = words.button.expect("a way on");
        assert!(!button.label.is_empty() && button.url.starts_with("https://kino.example/"), "{topic:?}");
        assert!(subjects.insert(words.subject), "{topic:?} has a subject of its own");
    }
    assert!(subjects.contains("Held until 19:00: Heat"), "{subjects:?}");
    assert!(subjects.contains("Refunded: €12.00"), "{subjects:?}");
}

#[test]
fn a_mail_of_a_free_order_names_no_sum_and_no_payment() {
    let mut facts = facts(ReservationStatus::Confirmed, "Heat");
    facts.attendee.as_mut().unwrap().reservation.total = eur(0);
    let topics = [
        Topic::ReservationCreated { expires_at: at("2026-03-07T18:00:00Z") },
        Topic::ReservationConfirmed,
        Topic::HoldExpired,
        Topic::ShowtimeCancelled,
    ];
    for topic in topics {
        let words = wording::of(
            &topic,
            &facts,
            &Enclosed::Nothing,
            "https://kino.example",
            at("2026-03-07T18:15:00Z"),
        );
        let lines: Vec<String> =
            words.lines.iter().map(|line| format!("{}: {}", line.label, line.value)).collect();
        let label = words.button.map(|button| button.label).unwrap_or_default();
        let text = format!("{} {} {label}", words.paragraphs.join(" "), lines.join(", "));
        assert!(["pay", "paid", "Pay", "0.00"].iter().all(|odd| !text.contains(odd)), "{topic:?}: {text}");
        let has_total = lines.iter().any(|line| line == "Total: Free");
        let wants_total = matches!(topic, Topic::ReservationCreated { .. } | Topic::ReservationConfirmed);
        assert_eq!(has_total, wants_total, "{topic:?}: {text}");
    }
}
