//! Notification's rules and mails without any server.

mod tickets;

use std::time::Duration;

use bus::Context;
use bus::contract::notification::{NotificationKind as Kind, NotificationStatus as Status};
use bus::contract::reservation::{Credit, ReservationCreated, ReservationStatus};
use bus::contract::tariff::Tax;
use bus::contract::{Currency, FeeLine, Line, Locale, Money, OrderCode, SeatId, TariffCode, Timestamp};
use uuid::Uuid;

use super::message::{self, Draft, Enclosed, Words};
use super::model::{
    AWAY_MAX, Attendee, End, Facts, Mail, Showtime, Sibling, TRIES_MAX, Topic, Trouble, Verdict, after,
    delay, judge, message_id,
};
use super::ticket::Printer;
use super::typesetting::fit;
use super::wording::Writing;
use super::{calendar, face, format, look, wording};
use crate::config::{CinemaSettings, NotificationSettings};

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
        code: OrderCode::parse("K7M2QX4D"),
        version: 3,
        user_id: Uuid::now_v7(),
        email: "ada@example.org".into(),
        showtime_id,
        movie_id: Uuid::now_v7(),
        movie_title: title.into(),
        starts_at: at(START),
        seats: vec![SeatId::new("C", 5), SeatId::new("C", 6)],
        lines: vec![],
        fees: vec![],
        total: eur(2400),
        expires_at: at("2026-03-07T18:00:00Z"),
        locale: Locale::En,
        site_id: bus::contract::site::DEFAULT_SITE,
        access: 0,
        exchange_of: None,
        credit: None,
        due: None,
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
        film_version: None,
        format: None,
        minutes_before_film: 0,
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

fn given_up() -> Topic {
    Topic::ReservationCancelled { by_owner: true, exchanged: false }
}

fn settings() -> NotificationSettings {
    let mut environment = bus::config::Environment::default()
        .or("PUBLIC_URL", "https://kino.example")
        .or("CINEMA_NAME", "Lichtspiele Köln")
        .or("CINEMA_ADDRESS", "Lindenallee 5, 50667 Köln")
        .or("CINEMA_CONTACT", "hallo@kino.example");
    NotificationSettings::read(&mut environment)
}

fn words(topic: &Topic, facts: &Facts, enclosed: &Enclosed) -> Words {
    wording::of(&Writing {
        topic,
        facts,
        enclosed,
        locale: facts.locale(&mail(topic.clone())),
        public_url: "https://kino.example",
        now: at("2026-03-07T18:15:00Z"),
    })
}

/// The message as it would leave, with quoted-printable undone as far as these texts need it.
fn written(topic: Topic, facts: &Facts, enclosed: Enclosed) -> String {
    let words = words(&topic, facts, &enclosed);
    let from = "Marquee <tickets@kino.example>".parse().unwrap();
    let (settings, mail) = (settings(), mail(topic));
    let printer = Printer::new(&settings.cinema, look::Look::default());
    let draft = Draft {
        settings: &settings,
        printer: &printer,
        from: &from,
        to: "ada@example.org",
        mail: &mail,
        facts,
        words,
        enclosed,
    };
    let message = message::message(draft).unwrap_or_else(|e| panic!("{e:?}"));
    String::from_utf8(message.formatted()).unwrap().replace("=\r\n", "").replace("=3D", "=")
}

#[test]
fn a_saved_site_is_in_the_place_of_the_settings() {
    use bus::contract::site::{Contact, DEFAULT_SITE, Legal, Links, Site, SiteFields, Theme};
    let of = SiteFields {
        legal: Legal { company: Some("Kino GmbH".into()), ..Legal::default() },
        contact: Contact { email: Some("hallo@kino.example".into()), phone: None },
        theme: Theme { logo_url: Some("/media/logo.png".into()), colours: None },
        links: Links { imprint: Some("https://kino.example/i".into()), ..Links::default() },
        ..SiteFields::named("Rex")
    };
    let site = Site { id: DEFAULT_SITE, of, version: 2, created_at: at(START), updated_at: at(START) };
    let from = "Anybody <tickets@kino.example>".parse().unwrap();
    let face = face::Face::of(&settings(), Some(&site), None, &from);
    let cinema = &face.settings.cinema;
    assert_eq!(
        (cinema.name.as_str(), cinema.address.as_deref()),
        ("Rex", None),
        "nothing of the settings is left"
    );
    assert_eq!(cinema.logo_url.as_deref(), Some("https://kino.example/media/logo.png"));
    assert_eq!(cinema.imprint_url.as_deref(), Some("https://kino.example/i"));
    assert_eq!(face.from.to_string(), "Rex <tickets@kino.example>");
    let unsaved = face::Face::of(&settings(), None, None, &from);
    assert_eq!((unsaved.settings.cinema.name.as_str(), unsaved.from), ("Lichtspiele Köln", from));
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
        (&Topic::ReservationCancelled { by_owner: false, exchanged: false }, Cancelled, over, true),
        (&given_up(), Cancelled, early, false),
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
    let written = |time| format::date_time(at(time), "Europe/Berlin", Locale::En);
    assert_eq!(written(START), "Saturday, 7 March 2026, 20:15 (CET)");
    assert_eq!(written("2026-03-29T19:15:00Z"), "Sunday, 29 March 2026, 21:15 (CEST)");
    assert_eq!(
        format::date_time(at(START), "Mars/Olympus", Locale::En),
        "Saturday, 7 March 2026, 19:15 (UTC)"
    );
    let german = format::date_time(at(START), "Europe/Berlin", Locale::De);
    assert_eq!(german, "Samstag, 7. März 2026, 20:15 Uhr (MEZ)");
    assert_eq!(format::iso(at(START), "Europe/Berlin"), "2026-03-07T20:15:00+01:00");
    assert_eq!(format::basic_utc(at(START)), "20260307T191500Z");
}

#[test]
fn a_long_text_is_set_smaller_and_none_of_it_is_lost() {
    let whole = |text: &str, width: f32, lines_max: usize| {
        let block = fit(text, true, 22.0, width, lines_max);
        let lines = &block.lines;
        assert!(lines.iter().all(|line| line.width * block.size <= width + 0.01), "{text}");
        assert!(lines.len() as f32 * block.size <= lines_max as f32 * 22.0 + 0.01, "{text}");
        let shown: String =
            lines.iter().flat_map(|line| &line.clusters).map(|cluster| &*cluster.text).collect();
        let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).count();
        assert_eq!(letters(&shown), letters(text), "{text}");
        block
    };
    let short = whole("Heat", 348.0, 3);
    assert_eq!((short.size, short.lines.len()), (22.0, 1));
    for text in
        ["Night ".repeat(60), "W".repeat(100), "漢字".repeat(100), "ليلة ".repeat(40), "น้ำ".repeat(60)]
    {
        whole(&text, 348.0, 3);
        whole(&text, 80.0, 2);
    }
    // One word of sixty letters stays in one piece.
    assert_eq!(
        whole("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunter", 348.0, 3).lines.len(),
        1
    );
    assert!(fit("شب", true, 22.0, 348.0, 1).lines[0].is_rtl);
    assert_eq!(fit("a🎬b", true, 22.0, 348.0, 1).lines[0].clusters[1].text, "\u{fffd}");
}

#[test]
fn the_confirmation_brings_tickets_and_a_calendar_entry() {
    let facts = facts(ReservationStatus::Confirmed, "Heat <3 & more");
    let tokens = vec!["a.b.c".to_owned(), "d.e.f".to_owned()];
    let text =
        written(Topic::ReservationConfirmed, &facts, Enclosed { tickets: tokens, ..Enclosed::default() });
    assert!(text.contains("Subject: Your tickets: Heat <3 & more"), "{text}");
    assert!(text.contains("Seats: C5, C6") && text.contains("Saturday, 7 March 2026, 20:15 (CET)"), "{text}");
    assert!(text.contains("Heat &#60;3 &#38; more"), "the HTML is escaped: {text}");
    let order = facts.attendee.as_ref().unwrap().reservation.reservation_id;
    assert!(text.contains(&format!("https://kino.example/reservations/{order}")), "{text}");
    assert!(text.contains("tickets.pdf") && text.contains("application/pdf"));
    assert!(text.contains("show.ics") && text.contains("method=PUBLISH"));
    assert!(text.contains("Auto-Submitted: auto-generated"));
}

/// RFC 5545, 3.1 and 3.3.11, read without the library that wrote the entry.
#[test]
fn the_calendar_entry_escapes_texts_and_folds_lines_at_75_octets() {
    let title = "Käse, Brot; \\ Wein\r\nund 夜の船 ".repeat(4);
    let facts = facts(ReservationStatus::Confirmed, &title);
    let cinema = CinemaSettings {
        name: "Kino; \\Bar\\, Köln".into(),
        address: Some("Ring 1, Hof;\n50667 Köln".into()),
        ..settings().cinema
    };
    let entry = calendar::Entry {
        made_at: at(START),
        organizer: "tickets@kino.example",
        cinema: &cinema,
        public_url: "https://kino.example",
        locale: Locale::De,
    };
    let part = calendar::part(&Topic::ReservationConfirmed, &facts, &entry).unwrap();
    let (folded, lines) = (part.text.split("\r\n").collect::<Vec<_>>(), part.text.replace("\r\n ", ""));
    for line in &folded {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{} octets: {line:?}", line.len());
    }
    assert!(folded.len() > 25 && part.text.ends_with("END:VCALENDAR\r\n"), "{}", part.text);
    let summary = "Käse\\, Brot\\; \\\\ Wein\\nund 夜の船 ".repeat(4);
    let place = "Großer Saal\\, Kino\\; \\\\Bar\\\\\\, Köln\\, Ring 1\\, Hof\\;\\n50667 Köln";
    for wanted in [format!("\r\nSUMMARY:{summary}\r\n"), format!("\r\nLOCATION:{place}\r\n")] {
        assert!(lines.contains(&wanted), "{wanted:?} in {lines}");
    }
}

#[test]
fn the_reset_leads_to_our_own_address_and_names_nobody_elses() {
    let topic = Topic::PasswordReset { reset_id: Uuid::nil(), expires_at: at(START) };
    let text = written(
        topic,
        &Facts::default(),
        Enclosed { account: Some("t0k-en_".into()), ..Enclosed::default() },
    );
    assert!(text.contains("https://kino.example/reset?token=t0k-en_"), "{text}");
    assert!(!text.contains("Order "), "{text}");
}

#[test]
fn the_mails_about_an_account_lead_to_our_own_address_and_hold_no_text_of_a_strangers() {
    let verification = Topic::EmailVerification { verification_id: Uuid::nil(), expires_at: at(START) };
    let text = written(
        verification,
        &Facts::default(),
        Enclosed { account: Some("t0k-en_".into()), ..Enclosed::default() },
    );
    assert!(text.contains("https://kino.example/verify?token=t0k-en_"), "{text}");
    assert!(text.contains("https://kino.example/forgot"), "{text}");
    let changed = Topic::PasswordChanged { changed_at: at(START) };
    let text = written(changed, &Facts::default(), Enclosed::default());
    assert!(text.contains("https://kino.example/forgot"), "{text}");
}

#[test]
fn mails_about_unpaid_seats_differ_from_those_about_paid_ones() {
    let mut facts = facts(ReservationStatus::Cancelled, "Heat");
    let held = Topic::ReservationCreated { expires_at: at(START) };
    for topic in [&held, &Topic::HoldExpired, &given_up(), &Topic::ShowtimeCancelled] {
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
    for topic in [&given_up(), &Topic::ShowtimeCancelled, &Topic::ReservationConfirmed, &refund] {
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
        given_up(),
        Topic::ShowtimeCancelled,
        Topic::RefundRequested { total: eur(1200) },
        Topic::RefundCompleted { total: eur(1200) },
        Topic::Reminder { starts_at: at(START) },
    ];
    let mut subjects = std::collections::BTreeSet::new();
    for topic in topics {
        let words = words(&topic, &facts, &Enclosed::default());
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
        let words = words(&topic, &facts, &Enclosed::default());
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

#[test]
fn a_mail_lists_the_ticket_types_and_fees_with_their_sums() {
    let mut facts = facts(ReservationStatus::Confirmed, "Heat");
    let reservation = &mut facts.attendee.as_mut().unwrap().reservation;
    let line = |number, of: &str, amount| Line {
        type_name: of.into(),
        proof: (of == "Student").then(|| "student card".into()),
        ..Line::plain(SeatId::new("C", number), eur(amount))
    };
    reservation.lines = vec![line(5, "Adult", 1200), line(6, "Student", 900), line(7, "Adult", 1200)];
    let fee = |number| FeeLine {
        code: TariffCode::default(),
        name: "Booking fee".into(),
        seat: Some(SeatId::new("C", number)),
        price: eur(50),
        tax: Tax::default(),
        refundable: true,
    };
    reservation.fees = vec![fee(5), fee(6), fee(7)];
    reservation.total = eur(3450);
    let words = words(&Topic::ReservationConfirmed, &facts, &Enclosed::default());
    let lines: Vec<String> =
        words.lines.iter().map(|line| format!("{}: {}", line.label, line.value)).collect();
    let wanted = ["2 × Adult: €24.00", "Student: €9.00", "3 × Booking fee: €1.50", "Total: €34.50"];
    assert_eq!(lines[lines.len() - 4..], wanted);
    let student = facts.line(&SeatId::new("C", 6)).map(format::ticket_type);
    assert_eq!(student.as_deref(), Some("Student (student card)"));
}

#[test]
fn the_mail_of_a_dearer_exchange_shows_the_money_of_the_replaced_order() {
    let mut facts = facts(ReservationStatus::Confirmed, "Heat");
    let reservation = &mut facts.attendee.as_mut().unwrap().reservation;
    reservation.credit = Some(Credit { total: eur(1400), waived: eur(0), captures: vec![] });
    reservation.due = Some(eur(1000));
    let words = words(&Topic::ReservationConfirmed, &facts, &Enclosed::default());
    let lines: Vec<String> =
        words.lines.iter().map(|line| format!("{}: {}", line.label, line.value)).collect();
    let wanted = ["Total: €24.00", "From your earlier order: €14.00", "Difference: €10.00"];
    assert_eq!(lines[lines.len() - 3..], wanted);
}
