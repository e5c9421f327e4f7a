//! A mail as a message: the HTML and the text template filled with the same words, tickets and a calendar entry attached
//! where they belong.

use askama::Template;
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart};

use super::address::in_ascii;
use super::model::{Facts, Mail, Trouble, message_id};
use super::{calendar, ticket};

/// What only other hosts have.
pub enum Enclosed {
    Nothing,
    /// One signed code for each seat of the order, in the seats' order.
    Tickets {
        tokens: Vec<String>,
    },
    Reset {
        token: String,
    },
    Verification {
        token: String,
    },
}

/// One row of the table of facts.
pub struct TableRow {
    pub label: &'static str,
    pub value: String,
}

pub struct Button {
    pub label: String,
    pub url: String,
}

/// The texts of a mail.
#[derive(Default)]
pub struct Words {
    pub subject: String,
    pub heading: String,
    pub paragraphs: Vec<String>,
    pub lines: Vec<TableRow>,
    pub button: Option<Button>,
    /// The short name of the order.
    pub order: Option<String>,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    words: &'a Words,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Text<'a> {
    words: &'a Words,
}

/// The whole message. An invalid recipient is refused for good.
pub fn message(
    from: &Mailbox,
    to: &str,
    mail: &Mail,
    facts: &Facts,
    words: Words,
    enclosed: Enclosed,
) -> Result<Message, Trouble> {
    let broken = |what: &str, error: &dyn std::fmt::Display| Trouble::Refused(format!("{what}: {error}"));
    #[cfg(feature = "planted")]
    let mail = &planted_id(mail);
    let to = in_ascii(to).parse().map_err(|error| broken("the recipient is no address", &error))?;
    let to = Mailbox::new(None, to);
    let html = Html { words: &words }.render().map_err(|error| broken("the HTML", &error))?;
    let text = Text { words: &words }.render().map_err(|error| broken("the text", &error))?;
    let mut parts = MultiPart::mixed().multipart(MultiPart::alternative_plain_html(text, html));
    if let Enclosed::Tickets { tokens } = &enclosed {
        let pdf = ticket::pdf(facts, tokens).map_err(|error| broken("the tickets", &error))?;
        parts = parts.singlepart(attachment("tickets.pdf", "application/pdf", pdf));
    }
    let organizer: &str = from.email.as_ref();
    if let Some(part) = calendar::part(&mail.topic, facts, mail.queued_at, organizer) {
        let kind = format!("text/calendar; charset=utf-8; method={}", part.method);
        parts = parts.singlepart(attachment("show.ics", &kind, part.text.into_bytes()));
    }
    let raw =
        |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    Message::builder()
        .from(from.clone())
        .to(to)
        .subject(words.subject)
        .message_id(Some(format!("<{}>", message_id(mail.id, mail.resends, from.email.domain()))))
        // No "out of office" comes back (RFC 3834).
        .raw_header(raw("Auto-Submitted", "auto-generated".to_owned()))
        .raw_header(raw("X-Correlation-Id", mail.context.correlation_id.clone()))
        .multipart(parts)
        .map_err(|error| broken("the message", &error))
}

fn attachment(name: &str, kind: &str, content: Vec<u8>) -> lettre::message::SinglePart {
    let kind = ContentType::parse(kind).expect("our content types are well formed");
    Attachment::new(name.to_owned()).body(content, kind)
}

#[cfg(feature = "planted")]
fn planted_id(mail: &Mail) -> Mail {
    let id = if bus::config::planted("mail-without-name") { uuid::Uuid::new_v4() } else { mail.id };
    Mail { id, ..mail.clone() }
}
