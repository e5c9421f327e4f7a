//! The texts of every mail, the same for HTML and plain text. Calm and short: what happened, what follows, what to do.

use bus::contract::{Timestamp, seat_list};
use uuid::Uuid;

use super::message::{Button, Enclosed, TableRow, Words};
use super::model::{Facts, Topic};
use super::{day, format, order};

/// The texts of a mail about `topic`. Unknown facts are left out.
pub fn of(topic: &Topic, facts: &Facts, enclosed: &Enclosed, public_url: &str, now: Timestamp) -> Words {
    let about = About::new(facts);
    let title = about.title.clone();
    let mut words = match topic {
        Topic::ReservationCreated { expires_at } => held(&about, *expires_at),
        Topic::ReservationConfirmed => Words {
            subject: format!("Your tickets: {title}"),
            heading: "Enjoy the film".to_owned(),
            paragraphs: vec![
                format!(
                    "{} The tickets are attached, one page a seat. Show their codes at the door, on paper or on your \
                     phone.",
                    if about.free { "The seats are yours." } else { "Your payment has arrived and the seats are yours." }
                ),
            ],
            lines: about.lines(true),
            ..Words::default()
        },
        Topic::ReservationExchanged { previous_seats } => Words {
            subject: format!("Your new tickets: {title}"),
            heading: "Exchanged".to_owned(),
            paragraphs: vec![
                format!(
                    "Your order has been changed. The tickets for {} are not valid any more; the new ones are attached.",
                    seat_list(previous_seats)
                ),
                "If something is to be paid back, another mail tells you.".to_owned(),
            ],
            lines: about.lines(true),
            ..Words::default()
        },
        Topic::HoldExpired if about.free => over(
            &about,
            "Your seats were released",
            "The tickets were not taken in time, so the seats are free again.",
        ),
        Topic::HoldExpired => over(
            &about,
            "Your seats were released",
            "The time to pay is over, so the seats are free again. Nothing was charged. If a payment of yours still \
             arrives, you get either these seats or your money back, and a mail that says which.",
        ),
        Topic::PaymentFailed => over(
            &about,
            "Your payment did not go through",
            "The payment failed, so the seats are free again. Nothing was charged. You are welcome to try again.",
        ),
        Topic::ReservationCancelled => given_back(
            over(&about, "Your reservation is cancelled", cancelled(&about, facts)),
            facts,
        ),
        Topic::ShowtimeCancelled if about.free => over(
            &about,
            "This showing will not take place",
            "We are sorry: we had to cancel this showing, and your reservation with it.",
        ),
        Topic::ShowtimeCancelled => given_back(
            over(
                &about,
                "This showing will not take place",
                "We are sorry: we had to cancel this showing, and your reservation with it. What you have paid is \
                 paid back in full; you need not do anything.",
            ),
            facts,
        ),
        Topic::RefundRequested { total } => Words {
            subject: format!("Refund on its way: {}", total.shown()),
            heading: "Your money is on its way".to_owned(),
            paragraphs: vec![
                "We have asked our payment provider to pay this back, the same way that you paid. Another mail comes \
                 when that is done."
                    .to_owned(),
            ],
            lines: about.with_amount("Refund", total.shown()),
            ..Words::default()
        },
        Topic::RefundCompleted { total } => Words {
            subject: format!("Refunded: {}", total.shown()),
            heading: "Paid back".to_owned(),
            paragraphs: vec![
                "Our payment provider has paid this back. Depending on your bank it shows within a few days.".to_owned(),
            ],
            lines: about.with_amount("Refunded", total.shown()),
            ..Words::default()
        },
        Topic::Reminder { starts_at } => Words {
            subject: format!("{}: {title}", day::at(*starts_at, now, &about.zone)),
            heading: if day::is_soon(*starts_at, now) { "It starts soon" } else { "We look forward to you" }
                .to_owned(),
            paragraphs: vec!["Your tickets are in the mail that confirmed your order.".to_owned()],
            lines: about.lines(false),
            ..Words::default()
        },
        Topic::PasswordReset { expires_at, .. } => reset(*expires_at, enclosed, public_url),
        Topic::PasswordChanged { changed_at } => password_changed(*changed_at, public_url),
        Topic::EmailVerification { expires_at, .. } => verification(*expires_at, enclosed, public_url),
    };
    words.button = words.button.or_else(|| about.button(topic, public_url));
    words.order = about.order;
    words
}

/// The label of a mail's button, and whether it leads to the order or to the programme.
fn leads(topic: &Topic, free: bool) -> (&'static str, bool) {
    match topic {
        Topic::ReservationCreated { .. } if free => ("Get your tickets", true),
        Topic::ReservationCreated { .. } => ("Pay now", true),
        Topic::ReservationConfirmed | Topic::ReservationExchanged { .. } | Topic::Reminder { .. } => {
            ("Show your tickets", true)
        }
        Topic::HoldExpired | Topic::PaymentFailed => ("Try the same seats again", true),
        Topic::ReservationCancelled | Topic::RefundRequested { .. } | Topic::RefundCompleted { .. } => {
            ("See your order", true)
        }
        Topic::ShowtimeCancelled => ("See what is on", false),
        Topic::PasswordReset { .. } | Topic::PasswordChanged { .. } | Topic::EmailVerification { .. } => {
            ("Log in", false)
        }
    }
}

fn held(about: &About, expires_at: Timestamp) -> Words {
    let until = format::time(expires_at, &about.zone);
    Words {
        subject: format!("Held until {until}: {}", about.title),
        heading: "Your seats are held".to_owned(),
        paragraphs: vec![format!(
            "We keep these seats for you until {until}. They are yours once you have {}; after that time they go back \
             on sale.",
            if about.free { "taken the tickets" } else { "paid" }
        )],
        lines: about.lines(true),
        ..Words::default()
    }
}

fn over(about: &About, heading: &str, paragraph: &str) -> Words {
    Words {
        subject: format!("{heading}: {}", about.title),
        heading: heading.to_owned(),
        paragraphs: vec![paragraph.to_owned()],
        lines: about.lines(false),
        ..Words::default()
    }
}

fn password_changed(changed_at: Timestamp, public_url: &str) -> Words {
    Words {
        subject: "Your password was changed".to_owned(),
        heading: "Your password was changed".to_owned(),
        paragraphs: vec![
            format!("The password of your account was changed, {}.", format::date_time(changed_at, "UTC")),
            "If it was you, all is well. If it was not, choose a new password now: that ends every login of the account."
                .to_owned(),
        ],
        button: Some(Button {
            label: "It was not me".to_owned(),
            url: format!("{public_url}/forgot"),
        }),
        ..Words::default()
    }
}

fn verification(expires_at: Timestamp, enclosed: &Enclosed, public_url: &str) -> Words {
    let until = format::date_time(expires_at, "UTC");
    let link = |token: &str| Button {
        label: "Confirm the address".to_owned(),
        url: format!("{public_url}/verify?token={token}"),
    };
    let button = if let Enclosed::Verification { token } = enclosed { Some(link(token)) } else { None };
    Words {
        subject: "Confirm your e-mail address".to_owned(),
        heading: "Is this your address?".to_owned(),
        paragraphs: vec![
            format!(
                "Somebody, hopefully you, opened an account with this address. Confirm it by the link, until {until}, \
                 and we write to you about seats that are held for you."
            ),
            format!(
                "If it was not you, do not use the link. Ask for a new password instead, at {public_url}/forgot: then \
                 the account is yours, and nobody else can log in to it."
            ),
        ],
        button,
        ..Words::default()
    }
}

fn cancelled(about: &About, facts: &Facts) -> &'static str {
    if about.free || !order::refunds(facts).is_empty() {
        "The reservation is cancelled and its tickets are not valid any more."
    } else {
        "The reservation is cancelled and its tickets are not valid any more. If something is to be paid back, another \
         mail tells you."
    }
}

/// Adds the refund of the cancellation.
fn given_back(mut words: Words, facts: &Facts) -> Words {
    let refunds = order::refunds(facts);
    for refund in &refunds {
        let label = if refund.is_completed { "Refunded" } else { "Refund" };
        words.lines.insert(0, TableRow { label, value: refund.total.shown() });
    }
    if !refunds.is_empty() {
        words.paragraphs.push(if refunds.iter().all(|refund| refund.is_completed) {
            "Our payment provider has paid this back, the same way that you paid. Depending on your bank it shows within \
             a few days."
        } else {
            "We have asked our payment provider to pay this back, the same way that you paid. Depending on your bank it \
             shows within a few days."
        }.to_owned());
    }
    words
}

fn reset(expires_at: Timestamp, enclosed: &Enclosed, public_url: &str) -> Words {
    // An account has no time zone.
    let until = format::date_time(expires_at, "UTC");
    let link = |token: &str| Button {
        label: "Choose a new password".to_owned(),
        // base64url needs no escaping.
        url: format!("{public_url}/reset?token={token}"),
    };
    let button = if let Enclosed::Reset { token } = enclosed { Some(link(token)) } else { None };
    Words {
        subject: "Choose a new password".to_owned(),
        heading: "Choose a new password".to_owned(),
        paragraphs: vec![
            "Somebody, hopefully you, asked for a new password for your account.".to_owned(),
            format!(
                "The link works once, until {until}. If it was not you, do nothing: your password stays."
            ),
        ],
        button,
        ..Words::default()
    }
}

/// The facts of an order in a mail.
struct About {
    reservation: Option<Uuid>,
    title: String,
    zone: String,
    order: Option<String>,
    when: Option<String>,
    hall: Option<String>,
    seats: Option<String>,
    total: Option<String>,
    /// Nothing is due.
    free: bool,
}

impl About {
    fn new(facts: &Facts) -> Self {
        let reservation = facts.attendee.as_ref().map(|attendee| &attendee.reservation);
        let showtime = facts.showtime.as_ref();
        let zone = showtime.map_or("UTC", |showtime| showtime.time_zone.as_str());
        let starts_at = showtime
            .map(|showtime| showtime.starts_at)
            .or(reservation.map(|reservation| reservation.starts_at));
        Self {
            reservation: reservation.map(|reservation| reservation.reservation_id),
            title: reservation.map(|reservation| reservation.movie_title.clone()).unwrap_or_default(),
            zone: zone.to_owned(),
            order: reservation.map(|reservation| super::ticket::short_code(reservation.reservation_id)),
            when: starts_at.map(|at| format::date_time(at, zone)),
            hall: showtime.map(|showtime| showtime.auditorium_name.clone()),
            seats: reservation.map(|reservation| seat_list(&reservation.seats)),
            total: reservation.map(|reservation| format::price(reservation.total)),
            free: reservation.is_some_and(|reservation| reservation.total.amount == 0),
        }
    }

    /// The link to its page; a mail without an order has none.
    fn button(&self, topic: &Topic, public_url: &str) -> Option<Button> {
        let reservation = self.reservation?;
        let (label, to_order) = leads(topic, self.free);
        let url = if to_order {
            format!("{public_url}/reservations/{reservation}")
        } else {
            format!("{public_url}/")
        };
        Some(Button { label: label.to_owned(), url })
    }

    fn lines(&self, with_total: bool) -> Vec<TableRow> {
        let film = Some(self.title.clone()).filter(|title| !title.is_empty());
        let total = self.total.clone().filter(|_| with_total);
        let lines = [
            ("Film", film),
            ("When", self.when.clone()),
            ("Hall", self.hall.clone()),
            ("Seats", self.seats.clone()),
            ("Total", total),
        ];
        let line =
            |(label, value): (&'static str, Option<String>)| value.map(|value| TableRow { label, value });
        lines.into_iter().filter_map(line).collect()
    }

    fn with_amount(&self, label: &'static str, value: String) -> Vec<TableRow> {
        let mut lines = self.lines(false);
        lines.insert(0, TableRow { label, value });
        lines
    }
}
