//! What every mail says, the same for HTML and plain text. Calm and short: what happened, what follows, what to do. The texts
//! of each language are in `texts`.

use std::borrow::Cow;
use std::time::Duration;

use bus::contract::reservation::ReservationCreated;
use bus::contract::{Locale, Money, Timestamp, seat_list};
use uuid::Uuid;

use super::message::{Button, Enclosed, TableRow, Words};
use super::model::{Facts, Topic};
use super::texts::{self, Texts, fill};
use super::{day, format, order, showing};

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a mail is written from.
pub struct Writing<'a> {
    pub topic: &'a Topic,
    pub facts: &'a Facts,
    pub enclosed: &'a Enclosed,
    pub locale: Locale,
    /// Where links lead. No slash at its end.
    pub public_url: &'a str,
    pub now: Timestamp,
}

/// The texts of a mail. Unknown facts are left out.
pub fn of(writing: &Writing<'_>) -> Words {
    let Writing { topic, facts, enclosed, locale, public_url, now } = *writing;
    let about = About::new(facts, locale);
    let texts = about.texts;
    let words = match topic {
        Topic::ReservationCreated { expires_at } => about.held(*expires_at),
        Topic::ReservationConfirmed => about.with_codes(
            texts.confirmed_subject,
            texts.confirmed_heading,
            if about.free { texts.confirmed_free } else { texts.confirmed_paid }.to_owned(),
        ),
        Topic::ReservationExchanged { previous_seats } => {
            let changed = fill(texts.exchanged, &[("seats", &seat_list(previous_seats))]);
            let words = about.with_codes(texts.exchanged_subject, texts.exchanged_heading, changed);
            words.and(texts.refund_follows)
        }
        Topic::ReservationUpdated { returned_seats, refund } => {
            let returned = fill(texts.returned, &[("seats", &seat_list(returned_seats))]);
            let words = about.with_codes(texts.returned_subject, texts.returned_heading, returned);
            if refund.amount > 0 { words.and(texts.refund_follows) } else { words }
        }
        Topic::HoldExpired if about.free => about.over(texts.expired_heading, texts.expired_free),
        Topic::HoldExpired => about.over(texts.expired_heading, texts.expired_unpaid),
        Topic::PaymentFailed => about.over(texts.failed_heading, texts.failed),
        Topic::ReservationCancelled { exchanged: true, .. } => {
            about.over(texts.exchanged_heading, texts.replaced)
        }
        Topic::ReservationCancelled { .. } => about.cancelled(facts),
        Topic::ShowtimeCancelled if about.free => about.over(texts.showing_heading, texts.showing_free),
        Topic::ShowtimeCancelled => {
            about.given_back(about.over(texts.showing_heading, texts.showing_paid), facts)
        }
        Topic::RefundRequested { total } => {
            let paragraph = texts.refund_asked;
            about.refund(*total, texts.refund_subject, texts.refund_heading, paragraph, texts.refund)
        }
        Topic::RefundCompleted { total } => {
            let paragraph = texts.refund_done;
            about.refund(*total, texts.refunded_subject, texts.refunded_heading, paragraph, texts.refunded)
        }
        Topic::Reminder { starts_at } => about.reminder(*starts_at, now),
        Topic::PasswordReset { reset_id, expires_at } => {
            reset(texts, *reset_id, *expires_at, enclosed, public_url)
        }
        Topic::PasswordChanged { .. } => password_changed(texts, public_url),
        Topic::EmailVerification { verification_id, expires_at } => {
            verification(texts, *verification_id, *expires_at, enclosed, public_url)
        }
    };
    let button = words.button.or_else(|| about.button(topic, enclosed, public_url));
    Words { locale, button, order: about.order, ..words }
}

/// The label of a mail's button, and whether it leads to the order or to the programme.
fn leads(topic: &Topic, free: bool, texts: &Texts) -> (&'static str, bool) {
    match topic {
        Topic::ReservationCreated { .. } if free => (texts.get_tickets, true),
        Topic::ReservationCreated { .. } => (texts.pay_now, true),
        Topic::ReservationConfirmed
        | Topic::ReservationExchanged { .. }
        | Topic::ReservationUpdated { .. }
        | Topic::Reminder { .. } => (texts.show_tickets, true),
        Topic::HoldExpired | Topic::PaymentFailed => (texts.try_again, true),
        Topic::ReservationCancelled { .. }
        | Topic::RefundRequested { .. }
        | Topic::RefundCompleted { .. } => (texts.see_order, true),
        Topic::ShowtimeCancelled => (texts.see_programme, false),
        Topic::PasswordReset { .. } | Topic::PasswordChanged { .. } | Topic::EmailVerification { .. } => {
            (texts.log_in, false)
        }
    }
}

/// How long a link is valid: from its id, which has the time of its making, until it ends.
fn valid_for(id: Uuid, expires_at: Timestamp, texts: &Texts) -> String {
    let made_at = id.get_timestamp().map_or(0, |at| at.to_unix().0);
    let seconds = expires_at.unix_seconds().unsigned_abs().saturating_sub(made_at);
    // The id's time and that of the deadline are read one after the other.
    let minutes = Duration::from_secs(seconds + 30).as_secs() / 60;
    match seconds {
        0..=DAY_SECONDS => fill(texts.minutes, &[("n", &minutes.to_string())]),
        _ => fill(texts.days, &[("n", &((minutes * 60) / DAY_SECONDS).to_string())]),
    }
}

fn reset(texts: &Texts, id: Uuid, expires_at: Timestamp, enclosed: &Enclosed, public_url: &str) -> Words {
    let link = |token: &str| Button {
        label: texts.reset_button.to_owned(),
        // base64url needs no escaping.
        url: format!("{public_url}/reset?token={token}"),
    };
    let button = enclosed.account.as_deref().map(link);
    let valid = fill(texts.reset_valid, &[("time", &valid_for(id, expires_at, texts))]);
    let words = Words { button, ..Words::headed(texts.reset_heading) };
    words.and(texts.reset_asked).and(&valid)
}

fn password_changed(texts: &Texts, public_url: &str) -> Words {
    let url = format!("{public_url}/forgot");
    let button = Some(Button { label: texts.changed_button.to_owned(), url });
    let words = Words { button, ..Words::headed(texts.changed_heading) };
    words.and(texts.changed).and(texts.changed_advice)
}

fn verification(
    texts: &Texts,
    id: Uuid,
    expires_at: Timestamp,
    enclosed: &Enclosed,
    public_url: &str,
) -> Words {
    let link = |token: &str| Button {
        label: texts.verify_button.to_owned(),
        url: format!("{public_url}/verify?token={token}"),
    };
    let button = enclosed.account.as_deref().map(link);
    let asked = fill(texts.verify_asked, &[("time", &valid_for(id, expires_at, texts))]);
    let link = Button { label: texts.verify_reset.to_owned(), url: format!("{public_url}/forgot") };
    let subject = texts.verify_subject.to_owned();
    let words = Words { subject, button, link: Some(link), ..Words::headed(texts.verify_heading) };
    words.and(&asked).and(texts.verify_stranger)
}

/// The facts of an order in a mail.
struct About {
    texts: &'static Texts,
    locale: Locale,
    reservation: Option<Uuid>,
    title: String,
    zone: String,
    order: Option<String>,
    when: Option<String>,
    film_begins: Option<String>,
    version: Option<String>,
    hall: Option<String>,
    seats: Option<String>,
    /// Where tickets have types, or the order fees: each with its sum.
    prices: Vec<(String, String)>,
    total: Option<String>,
    /// What pays for the total, in an exchange.
    paid_by: Vec<(&'static str, String)>,
    /// Nothing is due.
    free: bool,
}

/// `2 × Child` with its sum, for each ticket type and each fee in the order in which they are first there.
fn prices(reservation: &ReservationCreated, locale: Locale) -> Vec<(String, String)> {
    let types = reservation.lines.iter().filter(|line| line.named_type().is_some());
    let types = types.map(|line| (&line.type_name, line.price));
    let fees = reservation.fees.iter().map(|fee| (&fee.name, fee.price));
    let mut sums: Vec<(&String, usize, Money)> = Vec::new();
    for (name, price) in types.chain(fees) {
        match sums.iter_mut().find(|(other, ..)| *other == name) {
            Some((_, count, sum)) => {
                *count += 1;
                sum.amount += price.amount;
            }
            None => sums.push((name, 1, price)),
        }
    }
    let label = |name: &str, count| if count == 1 { name.to_owned() } else { format!("{count} × {name}") };
    sums.into_iter().map(|(name, count, sum)| (label(name, count), format::price(sum, locale))).collect()
}

/// The credit of an exchange, and the difference that is or was to be paid.
fn paid_by(reservation: &ReservationCreated, locale: Locale) -> Vec<(&'static str, String)> {
    let (Some(credit), texts) = (&reservation.credit, texts::of(locale)) else { return Vec::new() };
    let waived = (texts.waived, credit.waived);
    let sums = [(texts.credit, credit.total), waived, (texts.due, reservation.due())];
    let shown = sums.into_iter().filter(|(label, sum)| *label != waived.0 || sum.amount > 0);
    shown.map(|(label, sum)| (label, format::money(sum, locale))).collect()
}

impl About {
    fn new(facts: &Facts, locale: Locale) -> Self {
        let reservation = facts.attendee.as_ref().map(|attendee| &attendee.reservation);
        let showtime = facts.showtime.as_ref();
        let zone = showtime.map_or("UTC", |showtime| showtime.time_zone.as_str());
        let starts_at = showtime
            .map(|showtime| showtime.starts_at)
            .or(reservation.map(|reservation| reservation.starts_at));
        Self {
            texts: texts::of(locale),
            locale,
            reservation: reservation.map(|reservation| reservation.reservation_id),
            title: reservation.map(|reservation| reservation.movie_title.clone()).unwrap_or_default(),
            zone: zone.to_owned(),
            order: reservation.and_then(|reservation| reservation.code).map(|code| code.to_string()),
            when: starts_at.map(|at| format::date_time(at, zone, locale)),
            film_begins: showtime.and_then(showing::film_begins),
            version: showtime.and_then(|showtime| showing::version(showtime, locale)),
            hall: showtime.map(|showtime| showtime.auditorium_name.clone()),
            seats: reservation.map(|reservation| seat_list(&reservation.seats)),
            prices: reservation.map(|reservation| prices(reservation, locale)).unwrap_or_default(),
            total: reservation.map(|reservation| format::price(reservation.total, locale)),
            paid_by: reservation.map(|reservation| paid_by(reservation, locale)).unwrap_or_default(),
            free: reservation.is_some_and(|reservation| reservation.total.amount == 0),
        }
    }

    fn titled(&self, subject: &str) -> String {
        fill(subject, &[("title", &self.title)])
    }

    fn held(&self, expires_at: Timestamp) -> Words {
        let (texts, until) = (self.texts, format::time(expires_at, &self.zone));
        let text = if self.free { texts.held_until_taken } else { texts.held_until_paid };
        let places = [("until", until.as_str()), ("title", self.title.as_str())];
        let subject = fill(texts.held_subject, &places);
        let words = Words { subject, lines: self.lines(true), ..Words::headed(texts.held_heading) };
        words.and(&fill(text, &places))
    }

    /// A mail with the tickets' codes.
    fn with_codes(&self, subject: &str, heading: &str, paragraph: String) -> Words {
        let (subject, lines) = (self.titled(subject), self.lines(true));
        Words { subject, lines, ..Words::headed(heading) }.and(&paragraph).and(self.texts.codes_enclosed)
    }

    fn reminder(&self, starts_at: Timestamp, now: Timestamp) -> Words {
        let texts = self.texts;
        let day = day::at(starts_at, now, &self.zone, self.locale);
        let subject = fill(texts.reminder_subject, &[("day", &day), ("title", &self.title)]);
        let heading = if day::is_soon(starts_at, now) { texts.reminder_soon } else { texts.reminder_later };
        Words { subject, lines: self.lines(false), ..Words::headed(heading) }.and(texts.reminder)
    }

    fn over(&self, heading: &str, paragraph: &str) -> Words {
        let subject = format!("{heading}: {}", self.title);
        Words { subject, lines: self.lines(false), ..Words::headed(heading) }.and(paragraph)
    }

    fn cancelled(&self, facts: &Facts) -> Words {
        let words = self.over(self.texts.cancelled_heading, self.texts.cancelled);
        // A hold has captured nothing.
        let is_all = self.free || !facts.was_confirmed() || !order::refunds(facts).is_empty();
        self.given_back(if is_all { words } else { words.and(self.texts.refund_follows) }, facts)
    }

    /// Adds the refund of the cancellation.
    fn given_back(&self, mut words: Words, facts: &Facts) -> Words {
        let (refunds, texts) = (order::refunds(facts), self.texts);
        for refund in &refunds {
            let label = if refund.is_completed { texts.refunded } else { texts.refund };
            words
                .lines
                .insert(0, TableRow { label: label.into(), value: format::money(refund.total, self.locale) });
        }
        match refunds.iter().all(|refund| refund.is_completed) {
            _ if refunds.is_empty() => words,
            true => words.and(texts.given_back),
            false => words.and(texts.giving_back),
        }
    }

    fn refund(
        &self,
        total: Money,
        subject: &str,
        heading: &str,
        paragraph: &str,
        label: &'static str,
    ) -> Words {
        let sum = format::money(total, self.locale);
        let subject = fill(subject, &[("sum", &sum)]);
        let mut lines = self.lines(false);
        lines.insert(0, TableRow { label: label.into(), value: sum });
        Words { subject, lines, ..Words::headed(heading) }.and(paragraph)
    }

    /// The link to its page; a mail without an order has none.
    fn button(&self, topic: &Topic, enclosed: &Enclosed, public_url: &str) -> Option<Button> {
        let reservation = self.reservation?;
        let (label, to_order) = leads(topic, self.free, self.texts);
        let url = if to_order {
            // In the fragment, which no server and no log gets.
            let token = enclosed.order.as_deref().map(|token| format!("#token={token}"));
            format!("{public_url}/reservations/{reservation}{}", token.unwrap_or_default())
        } else {
            format!("{public_url}/")
        };
        Some(Button { label: label.to_owned(), url })
    }

    fn lines(&self, with_total: bool) -> Vec<TableRow> {
        let film = Some(self.title.clone()).filter(|title| !title.is_empty());
        let total = self.total.clone().filter(|_| with_total);
        let texts = self.texts;
        let facts = [
            (texts.film, film),
            (texts.when, self.when.clone()),
            (texts.film_begins, self.film_begins.clone()),
            (texts.version, self.version.clone()),
            (texts.hall, self.hall.clone()),
            (texts.seats, self.seats.clone()),
        ];
        let row = |label: Cow<'static, str>, value| TableRow { label, value };
        let facts = facts.into_iter().filter_map(|(label, value)| Some(row(label.into(), value?)));
        let prices = self.prices.iter().filter(|_| with_total);
        let prices = prices.map(|(label, value)| row(label.clone().into(), value.clone()));
        let paid_by = self.paid_by.iter().filter(|_| with_total);
        let paid_by = paid_by.map(|(label, value)| row((*label).into(), value.clone()));
        facts.chain(prices).chain(total.map(|total| row(texts.total.into(), total))).chain(paid_by).collect()
    }
}
