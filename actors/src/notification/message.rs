//! A mail as a message: the HTML and the text template filled with the same words; the tickets' codes as pictures within the
//! HTML, so that the mail itself is the ticket; the tickets as PDF and a calendar entry attached where they belong.

use std::borrow::Cow;

use askama::Template;
use bus::contract::{Locale, SeatId};
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};

use super::address::in_ascii;
use super::code::Code;
use super::model::{Facts, Mail, Trouble, message_id};
use super::texts::{self, Texts, fill};
use super::ticket::Printer;
use super::{calendar, format, structured};
use crate::config::{CinemaSettings, NotificationSettings};

/// The `Content-ID` of the logo.
const LOGO: &str = "logo@marquee";

/// What only auth has.
#[derive(Default)]
pub struct Enclosed {
    /// One signed code for each seat of the order, in the seats' order.
    pub tickets: Vec<String>,
    /// The token of the link to the order.
    pub order: Option<String>,
    /// The token of the link that sets a password or proves an address.
    pub account: Option<String>,
}

/// One row of the table of facts.
pub struct TableRow {
    pub label: Cow<'static, str>,
    pub value: String,
}

pub struct Button {
    pub label: String,
    pub url: String,
}

/// The texts of a mail.
#[derive(Default)]
pub struct Words {
    pub locale: Locale,
    pub subject: String,
    pub heading: String,
    pub paragraphs: Vec<String>,
    pub lines: Vec<TableRow>,
    pub button: Option<Button>,
    /// A second way on, less prominent.
    pub link: Option<Button>,
    /// The short name of the order.
    pub order: Option<String>,
}

impl Words {
    /// The heading is also the subject, unless that is another.
    pub fn headed(heading: &str) -> Self {
        Self { subject: heading.to_owned(), heading: heading.to_owned(), ..Self::default() }
    }

    /// With one more paragraph.
    pub fn and(mut self, paragraph: &str) -> Self {
        self.paragraphs.push(paragraph.to_owned());
        self
    }
}

/// A picture within the HTML: the code of a seat.
struct SeatCode<'a> {
    seat: &'a SeatId,
    /// The ticket type with what it must show, such as `Student (student card)`; empty where the showtime has plain prices.
    ticket_type: String,
    id: String,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    words: &'a Words,
    texts: &'static Texts,
    cinema: &'a CinemaSettings,
    /// Its address.
    logo: Option<String>,
    sent_by: &'a str,
    codes: &'a [SeatCode<'a>],
    /// schema.org data as JSON.
    structured: Option<String>,
}

#[derive(Template)]
#[template(path = "mail.txt", escape = "none")]
struct Text<'a> {
    words: &'a Words,
    texts: &'static Texts,
    cinema: &'a CinemaSettings,
}

/// What a message is made of.
pub struct Draft<'a> {
    pub settings: &'a NotificationSettings,
    pub printer: &'a Printer,
    pub from: &'a Mailbox,
    pub to: &'a str,
    pub mail: &'a Mail,
    pub facts: &'a Facts,
    pub words: Words,
    pub enclosed: Enclosed,
}

/// The message to `to`. Refused: it could never be sent, so it is given up for good.
pub fn message(draft: Draft<'_>) -> Result<Message, Trouble> {
    let Draft { settings, printer, from, to, mail, facts, words, enclosed } = draft;
    let cinema = &settings.cinema;
    #[cfg(feature = "planted")]
    let mail = &planted_id(mail);
    let to = in_ascii(to).parse().map_err(|error| broken("the recipient is no address", &error))?;
    let to = Mailbox::new(None, to);
    let mut parts = MultiPart::mixed().multipart(bodies(settings, mail, facts, &words, &enclosed)?);
    let tokens = enclosed.tickets.as_slice();
    if !tokens.is_empty() {
        let pdf = printer.pdf(facts, tokens, words.locale);
        let pdf = pdf.map_err(|error| broken("the tickets", &error))?;
        parts = parts.singlepart(attachment("tickets.pdf", "application/pdf", pdf));
    }
    let entry = calendar::Entry {
        made_at: mail.queued_at,
        organizer: from.email.as_ref(),
        cinema,
        public_url: &settings.public_url,
        locale: words.locale,
    };
    if let Some(part) = calendar::part(&mail.topic, facts, &entry) {
        let kind = format!("text/calendar; charset=utf-8; method={}", part.method);
        parts = parts.singlepart(attachment("show.ics", &kind, part.text.into_bytes()));
    }
    let raw =
        |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    let mut message = Message::builder()
        .from(from.clone())
        .to(to)
        .subject(words.subject)
        .message_id(Some(format!("<{}>", message_id(mail.id, mail.resends, from.email.domain()))))
        // No "out of office" comes back (RFC 3834).
        .raw_header(raw("Auto-Submitted", "auto-generated".to_owned()))
        .raw_header(raw("Content-Language", words.locale.as_str().to_owned()))
        .raw_header(raw("X-Correlation-Id", mail.context.correlation_id.clone()));
    if let Some(contact) = &cinema.contact {
        message = message.reply_to(Mailbox::new(Some(cinema.name.clone()), contact.clone()));
    }
    message.multipart(parts).map_err(|error| broken("the message", &error))
}

/// The text, and the HTML with its pictures.
fn bodies(
    settings: &NotificationSettings,
    mail: &Mail,
    facts: &Facts,
    words: &Words,
    enclosed: &Enclosed,
) -> Result<MultiPart, Trouble> {
    let (cinema, texts) = (&settings.cinema, texts::of(words.locale));
    let seats = facts.attendee.as_ref().map_or(&[][..], |attendee| &attendee.reservation.seats);
    let codes: Vec<SeatCode<'_>> = seats
        .iter()
        .zip(&enclosed.tickets)
        .map(|(seat, _)| SeatCode {
            seat,
            ticket_type: facts.line(seat).map(format::ticket_type).unwrap_or_default(),
            id: format!("{}-{seat}@marquee", mail.id.simple()),
        })
        .collect();
    let html = Html {
        words,
        texts,
        cinema,
        logo: match &cinema.logo {
            Some(_) => Some(format!("cid:{LOGO}")),
            None => cinema.logo_url.clone(),
        },
        sent_by: &fill(texts.sent_by, &[("cinema", &cinema.name)]),
        codes: &codes,
        structured: structured::of(&mail.topic, facts, &enclosed.tickets, settings),
    };
    let html = html.render().map_err(|error| broken("the HTML", &error))?;
    let text = Text { words, texts, cinema }.render().map_err(|error| broken("the text", &error))?;
    let mut related = MultiPart::related().singlepart(SinglePart::html(html));
    if let Some(logo) = &cinema.logo {
        related = related.singlepart(picture(LOGO, "logo", logo.kind, logo.content.clone()));
    }
    for (code, token) in codes.iter().zip(&enclosed.tickets) {
        let png = Code::of(token).map_err(|error| broken("a code", &error))?.png();
        let png = png.map_err(|error| broken("a code's picture", &error))?;
        related = related.singlepart(picture(&code.id, &format!("{}.png", code.seat), "image/png", png));
    }
    Ok(MultiPart::alternative().singlepart(SinglePart::plain(text)).multipart(related))
}

fn broken(what: &str, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Refused(format!("{what}: {error}"))
}

fn attachment(name: &str, kind: &str, content: Vec<u8>) -> SinglePart {
    Attachment::new(name.to_owned()).body(content, content_type(kind))
}

fn picture(id: &str, name: &str, kind: &str, content: Vec<u8>) -> SinglePart {
    Attachment::new_inline_with_name(id.to_owned(), name.to_owned()).body(content, content_type(kind))
}

fn content_type(kind: &str) -> ContentType {
    ContentType::parse(kind).expect("our content types are well formed")
}

#[cfg(feature = "planted")]
fn planted_id(mail: &Mail) -> Mail {
    let id = if bus::config::planted("mail-without-name") { uuid::Uuid::new_v4() } else { mail.id };
    Mail { id, ..mail.clone() }
}
