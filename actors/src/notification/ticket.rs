//! The tickets as a PDF: one page a seat, with the seat's signed code as a QR code, its price and where to go, and the cinema's
//! logo. It is attached to mails, and a file for those who may read the tickets.
//!
//! The code is a compact JWS (`rpc.auth.sign_tickets`): a door with the deployment's public keys checks it without a network.
//! Invariant: no name loses its end, however long it is and in whatever script: it is set smaller, and on more lines.

use bus::contract::payment::Receipt;
use bus::contract::{Line, Locale, SeatId};
use pdf_writer::Content;

use super::code::{Code, QUIET};
use super::format;
use super::look::Look;
use super::model::{Facts, Showtime};
use super::pdf::{Colour, Document};
use super::picture::Picture;
use super::receipt;
use super::showing;
use super::texts::{self, fill};
use super::typesetting::{Block, LEADING, fit};
use crate::config::CinemaSettings;

/// A5 in points: two fit on a sheet of A4, and a phone shows one whole.
const PAGE: (f32, f32) = (420.0, 595.0);
const MARGIN: f32 = 36.0;
const WIDTH: f32 = PAGE.0 - 2.0 * MARGIN;
const BAND: f32 = 44.0;
/// The room of the logo, in points.
const LOGO: (f32, f32) = (150.0, 32.0);
/// The QR code's side, in points: some 8 cm, so that a code of 75 modules is read from arm's length.
const CODE: f32 = 228.0;
/// The upper edge of the code: what is above has room for long names.
const CODE_TOP: f32 = 300.0;
const INK: Colour = (0.10, 0.11, 0.14);
const GREY: Colour = (0.35, 0.37, 0.42);
const BLACK: Colour = (0.0, 0.0, 0.0);

/// Prints the tickets and receipts of one cinema.
pub struct Printer {
    cinema: CinemaSettings,
    logo: Option<Picture>,
    look: Look,
}

impl Printer {
    /// A logo that cannot be read is left out.
    pub fn new(cinema: &CinemaSettings, look: Look) -> Self {
        let logo = cinema.logo.as_ref().map(Picture::of).transpose();
        let logo = logo.unwrap_or_else(|error| {
            tracing::warn!(error, "the logo cannot be read: tickets are printed without it");
            None
        });
        Self { cinema: cinema.clone(), logo, look }
    }

    /// The tickets of an order; `tokens` are in the order of its seats.
    pub fn pdf(&self, facts: &Facts, tokens: &[String], locale: Locale) -> Result<Vec<u8>, String> {
        let reservation = &facts.attendee.as_ref().ok_or("the reservation is unknown")?.reservation;
        if reservation.seats.len() != tokens.len() {
            return Err(format!("{} codes for {} seats", tokens.len(), reservation.seats.len()));
        }
        let mut document = Document::new(PAGE, self.logo.as_ref());
        for ticket in reservation.seats.iter().zip(tokens) {
            let page = self.sheet(&mut document, facts, ticket, locale)?;
            document.add(page);
        }
        let title = fill(texts::of(locale).ticket_title, &[("title", &reservation.movie_title)]);
        document.finish(&title, locale.as_str())
    }

    pub fn receipt(&self, receipt: &Receipt) -> Result<Vec<u8>, String> {
        receipt::pdf(receipt, self.logo.as_ref(), self.look)
    }

    fn sheet(
        &self,
        document: &mut Document<'_>,
        facts: &Facts,
        (seat, token): (&SeatId, &String),
        locale: Locale,
    ) -> Result<[Content; 2], String> {
        let reservation = &facts.attendee.as_ref().ok_or("the reservation is unknown")?.reservation;
        let (showtime, texts) = (facts.showtime.as_ref(), texts::of(locale));
        let zone = showtime.map_or("UTC", |showtime| showtime.time_zone.as_str());
        let starts_at = showtime.map_or(reservation.starts_at, |showtime| showtime.starts_at);
        let mut sheet = Sheet { document, common: Content::new(), own: Content::new(), y: PAGE.1 };
        sheet.head(&self.cinema.name, self.logo.as_ref(), self.look);
        sheet.paragraph(&reservation.movie_title, true, 22.0, INK, 3);
        sheet.y -= 2.0;
        sheet.paragraph(&format::date_time(starts_at, zone, locale), false, 11.0, GREY, 2);
        if let Some(shown) = showtime.and_then(|showtime| shown(showtime, locale)) {
            sheet.paragraph(&shown, false, 10.0, GREY, 1);
        }
        sheet.y -= 6.0;
        let hall = showtime.map_or("", |showtime| &showtime.auditorium_name);
        let code = reservation.code.map_or_else(String::new, |code| code.to_string());
        sheet.columns(&[
            (texts.ticket_seat, Value::Own(seat.as_str()), 0.2),
            (texts.hall, Value::Common(hall), 0.46),
            (texts.order, Value::Common(&code), 0.34),
        ]);
        let price = facts.line(seat).map_or_else(|| "–".to_owned(), |line| price(line, locale));
        let address = self.cinema.address.as_deref().unwrap_or(&self.cinema.name);
        sheet.columns(&[
            (texts.ticket_price, Value::Own(&price), 0.46),
            (texts.ticket_address, Value::Common(address), 0.54),
        ]);
        sheet.code(token)?;
        sheet.y = CODE_TOP - CODE - 10.0;
        sheet.paragraph(texts.ticket_foot, false, 8.0, GREY, 1);
        Ok([sheet.common, sheet.own])
    }
}

/// `Film begins 20:30 · 3D · Dubbed (German)`, as far as it is known.
fn shown(showtime: &Showtime, locale: Locale) -> Option<String> {
    let label = texts::of(locale).film_begins;
    let begins = showing::film_begins(showtime).map(|at| format!("{label} {at}"));
    let known: Vec<String> = begins.into_iter().chain(showing::version(showtime, locale)).collect();
    (!known.is_empty()).then(|| known.join(" · "))
}

/// The price of a ticket with its type: `€9.00 · Student (student card)`.
fn price(line: &Line, locale: Locale) -> String {
    let price = format::price(line.price, locale);
    match line.named_type() {
        Some(_) => format!("{price} · {}", format::ticket_type(line)),
        None => price,
    }
}

/// A value in a column.
enum Value<'a> {
    /// The same on all pages.
    Common(&'a str),
    /// Of this ticket.
    Own(&'a str),
}

/// A page that is drawn from its top to its bottom.
struct Sheet<'a, 'p> {
    document: &'a mut Document<'p>,
    /// What is the same on all pages.
    common: Content,
    own: Content,
    /// What is below is free.
    y: f32,
}

impl Sheet<'_, '_> {
    /// The cinema's name: beside its logo, on the paper that logos are made for; without one, in a band.
    fn head(&mut self, name: &str, logo: Option<&Picture>, look: Look) {
        let (red, green, blue) = if logo.is_some() { look.accent } else { look.band };
        self.common.set_fill_rgb(red, green, blue);
        let Some(logo) = logo else {
            self.common.rect(0.0, PAGE.1 - BAND, PAGE.0, BAND).fill_nonzero();
            return self.name(name, MARGIN, look.on_band);
        };
        self.common.rect(MARGIN, PAGE.1 - BAND, WIDTH, 1.0).fill_nonzero();
        let scale = (LOGO.0 / logo.width as f32).min(LOGO.1 / logo.height as f32);
        let (width, height) = (logo.width as f32 * scale, logo.height as f32 * scale);
        Document::draw(&mut self.common, (width, height), (MARGIN, PAGE.1 - (BAND + height) / 2.0));
        self.name(name, MARGIN + width + 10.0, look.accent);
    }

    /// The cinema's name in the middle of the band, from `x` to the margin.
    fn name(&mut self, name: &str, x: f32, colour: Colour) {
        let block = fit(name, true, 14.0, PAGE.0 - MARGIN - x, 1);
        let mut y = PAGE.1 - BAND / 2.0 + block.lines.len() as f32 * block.size * LEADING / 2.0;
        for line in &block.lines {
            y -= block.size;
            self.document.show(&mut self.common, line, block.size, (x, y), colour);
        }
        self.y = PAGE.1 - BAND - 8.0;
    }

    /// A text over the whole width, at its own side of the page.
    fn paragraph(&mut self, text: &str, is_bold: bool, size: f32, colour: Colour, lines_max: usize) {
        let block = fit(text, is_bold, size, WIDTH, lines_max);
        for line in &block.lines {
            self.y -= block.size * LEADING;
            let x = if line.is_rtl { PAGE.0 - MARGIN - line.width * block.size } else { MARGIN };
            self.document.show(&mut self.common, line, block.size, (x, self.y), colour);
        }
    }

    /// Labels with a value below each; the third of each is its part of the width.
    fn columns(&mut self, columns: &[(&str, Value<'_>, f32)]) {
        let (top, mut x, mut lowest) = (self.y, MARGIN, self.y);
        for (label, value, part) in columns {
            let width = WIDTH * part - 8.0;
            self.y = top;
            let block = fit(label, false, 8.0, width, 1);
            Self::lines(self.document, &mut self.common, &block, (x, &mut self.y), GREY);
            let (content, text) = match value {
                Value::Common(text) => (&mut self.common, text),
                Value::Own(text) => (&mut self.own, text),
            };
            let block = fit(text, true, 13.0, width, 2);
            Self::lines(self.document, content, &block, (x, &mut self.y), INK);
            lowest = lowest.min(self.y);
            x += WIDTH * part;
        }
        self.y = lowest - 6.0;
    }

    /// Lines from `x`, each below `y`, which is moved down.
    fn lines(
        document: &mut Document<'_>,
        content: &mut Content,
        block: &Block,
        (x, y): (f32, &mut f32),
        colour: Colour,
    ) {
        for line in &block.lines {
            *y -= block.size * LEADING;
            document.show(content, line, block.size, (x, *y), colour);
        }
    }

    /// The QR code, a rectangle for each run of dark modules.
    fn code(&mut self, token: &str) -> Result<(), String> {
        let Code { dark, side } = Code::of(token).map_err(|e| e.to_string())?;
        let quiet = QUIET as f32;
        let module = CODE / (side as f32 + 2.0 * quiet);
        let (left, top) = ((PAGE.0 - CODE) / 2.0 + quiet * module, CODE_TOP - quiet * module);
        let (red, green, blue) = BLACK;
        self.own.set_fill_rgb(red, green, blue);
        // From here a module is the unit: whole numbers are half as long as points, and quicker to write.
        self.own.save_state().transform([module, 0.0, 0.0, module, left, top]);
        for (row, dark) in dark.chunks(side).enumerate() {
            let mut at = 0;
            while at < side {
                let run = dark[at..].iter().take_while(|dark| **dark).count();
                if run > 0 {
                    self.own.rect(at as f32, -(row as f32 + 1.0), run as f32, 1.0);
                }
                at += run.max(1);
            }
        }
        self.own.fill_nonzero().restore_state();
        Ok(())
    }
}
