//! The tickets as a PDF: one page a seat, with the seat's signed code as a QR code and, below it, in letters.
//!
//! The code is a compact JWS (`rpc.auth.sign_tickets`): a door with the deployment's public keys checks it without a network.

use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use qrcode::canvas::{Canvas, MaskPattern};
use qrcode::{Color, EcLevel, QrResult, bits, ec};
use uuid::Uuid;

use super::format;
use super::model::Facts;
use super::winansi::{encode, width, wrap};

/// A5 in points: two fit on a sheet of A4, and a phone shows one whole.
const PAGE: (f32, f32) = (420.0, 595.0);
const MARGIN: f32 = 36.0;
/// The QR code's side, in points: some 8 cm, so that a code of 75 modules is read from arm's length.
const CODE: f32 = 228.0;
/// Light modules around a QR code that scanners need (ISO/IEC 18004).
const QUIET: f32 = 4.0;
const REGULAR: Name<'static> = Name(b"F1");
const BOLD: Name<'static> = Name(b"F2");
const MONO: Name<'static> = Name(b"F3");
const INK: (f32, f32, f32) = (0.10, 0.11, 0.14);
const GREY: (f32, f32, f32) = (0.42, 0.44, 0.48);
const PAPER: (f32, f32, f32) = (1.0, 1.0, 1.0);

/// The last eight digits of a reservation's id: enough to be found at the box office.
pub fn short_code(reservation: Uuid) -> String {
    let id = reservation.simple().to_string();
    id[id.len() - 8..].to_uppercase()
}

/// The tickets of an order; `tokens` are in the order of its seats.
pub fn pdf(facts: &Facts, tokens: &[String]) -> Result<Vec<u8>, String> {
    let attendee = facts.attendee.as_ref().ok_or("the reservation is unknown")?;
    let seats = &attendee.reservation.seats;
    if seats.len() != tokens.len() {
        return Err(format!("{} codes for {} seats", tokens.len(), seats.len()));
    }
    let mut next = 0;
    let mut reference = || {
        next += 1;
        Ref::new(next)
    };
    let (catalog, tree, info) = (reference(), reference(), reference());
    let fonts = [(REGULAR, "Helvetica"), (BOLD, "Helvetica-Bold"), (MONO, "Courier")];
    let fonts = fonts.map(|(name, base)| (name, base, reference()));
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    for (_, base, id) in &fonts {
        let mut font = pdf.type1_font(*id);
        font.base_font(Name(base.as_bytes()));
        font.encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    let mut pages = Vec::with_capacity(seats.len());
    for (seat, token) in seats.iter().zip(tokens) {
        let (page_id, content_id) = (reference(), reference());
        let mut page = pdf.page(page_id);
        page.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1));
        page.parent(tree).contents(content_id);
        let mut resources = page.resources();
        let mut named = resources.fonts();
        for (name, _, id) in &fonts {
            named.pair(*name, *id);
        }
        named.finish();
        resources.finish();
        page.finish();
        let drawn = sheet(facts, seat.as_str(), token)?;
        pdf.stream(content_id, &drawn);
        pages.push(page_id);
    }
    pdf.pages(tree).count(pages.len() as i32).kids(pages);
    pdf.document_info(info).title(TextStr(&format!("Tickets: {}", attendee.reservation.movie_title)));
    Ok(pdf.finish())
}

fn sheet(facts: &Facts, seat: &str, token: &str) -> Result<Vec<u8>, String> {
    let reservation = &facts.attendee.as_ref().ok_or("the reservation is unknown")?.reservation;
    let showtime = facts.showtime.as_ref();
    let zone = showtime.map_or("UTC", |showtime| showtime.time_zone.as_str());
    let starts_at = showtime.map_or(reservation.starts_at, |showtime| showtime.starts_at);
    let mut sheet = Sheet { content: Content::new(), y: PAGE.1 };
    sheet.band();
    for line in wrap(&reservation.movie_title, 22.0, true, PAGE.0 - 2.0 * MARGIN, 2) {
        sheet.line(BOLD, 22.0, INK, &line);
    }
    sheet.y -= 4.0;
    sheet.line(REGULAR, 11.0, GREY, &encode(&format::date_time(starts_at, zone)));
    sheet.y -= 10.0;
    let hall = showtime.map_or_else(String::new, |showtime| showtime.auditorium_name.clone());
    sheet.columns(&[("SEAT", seat), ("HALL", &hall), ("ORDER", &short_code(reservation.reservation_id))]);
    sheet.code(token)?;
    let letters = token.as_bytes().chunks(88);
    for chunk in letters {
        sheet.y -= 7.0;
        let wide = 0.6 * 6.0 * chunk.len() as f32;
        sheet.text(MONO, 6.0, GREY, (PAGE.0 - wide) / 2.0, chunk);
    }
    let foot = encode("Valid once, for this seat. Please have the code ready at the door.");
    let at = (PAGE.0 - width(&foot, 8.0, false)) / 2.0;
    sheet.y = 22.0;
    sheet.text(REGULAR, 8.0, GREY, at, &foot);
    Ok(sheet.content.finish().into_vec())
}

/// A page that is drawn from its top to its bottom.
struct Sheet {
    content: Content,
    /// The baseline of what was drawn last.
    y: f32,
}

impl Sheet {
    fn band(&mut self) {
        self.fill(INK);
        self.content.rect(0.0, PAGE.1 - 44.0, PAGE.0, 44.0).fill_nonzero();
        self.y = PAGE.1 - 28.0;
        self.text(BOLD, 14.0, PAPER, MARGIN, b"MARQUEE");
        self.y = PAGE.1 - 54.0;
    }

    fn fill(&mut self, (red, green, blue): (f32, f32, f32)) {
        self.content.set_fill_rgb(red, green, blue);
    }

    fn line(&mut self, font: Name<'_>, size: f32, colour: (f32, f32, f32), text: &[u8]) {
        self.y -= size * 1.25;
        self.text(font, size, colour, MARGIN, text);
    }

    fn text(&mut self, font: Name<'_>, size: f32, colour: (f32, f32, f32), x: f32, text: &[u8]) {
        self.fill(colour);
        let y = self.y;
        self.content.begin_text().set_font(font, size).next_line(x, y).show(Str(text)).end_text();
    }

    fn columns(&mut self, columns: &[(&str, &str)]) {
        let each = (PAGE.0 - 2.0 * MARGIN) / columns.len() as f32;
        self.y -= 14.0;
        for (at, (label, _)) in columns.iter().enumerate() {
            self.text(REGULAR, 8.0, GREY, MARGIN + each * at as f32, label.as_bytes());
        }
        self.y -= 18.0;
        for (at, (_, value)) in columns.iter().enumerate() {
            let value = wrap(value, 14.0, true, each - 8.0, 1).pop().unwrap_or_default();
            self.text(BOLD, 14.0, INK, MARGIN + each * at as f32, &value);
        }
    }

    /// The QR code, a rectangle for each run of dark modules.
    fn code(&mut self, token: &str) -> Result<(), String> {
        let colours = modules_of(token).map_err(|e| e.to_string())?;
        let modules = colours.len().isqrt();
        let module = CODE / (modules as f32 + 2.0 * QUIET);
        let (left, top) = ((PAGE.0 - CODE) / 2.0 + QUIET * module, self.y - 14.0 - QUIET * module);
        self.fill((0.0, 0.0, 0.0));
        // From here a module is the unit: whole numbers are half as long as points, and quicker to write.
        self.content.save_state().transform([module, 0.0, 0.0, module, left, top]);
        for (row, colours) in colours.chunks(modules).enumerate() {
            let mut at = 0;
            while at < modules {
                let run = colours[at..].iter().take_while(|colour| **colour == Color::Dark).count();
                if run > 0 {
                    self.content.rect(at as f32, -(row as f32 + 1.0), run as f32, 1.0);
                }
                at += run.max(1);
            }
        }
        self.content.fill_nonzero().restore_state();
        self.y -= 14.0 + CODE;
        Ok(())
    }
}

/// The QR code's modules, row by row. `QrCode` itself tries all eight masks, which takes milliseconds, more than all the
/// rest of a mail. That is for data with patterns of their own; a signed token is as good as random under any mask.
fn modules_of(token: &str) -> QrResult<Vec<Color>> {
    const LEVEL: EcLevel = EcLevel::M;
    let bits = bits::encode_auto(token.as_bytes(), LEVEL)?;
    let version = bits.version();
    let (data, correction) = ec::construct_codewords(&bits.into_bytes(), version, LEVEL)?;
    let mut canvas = Canvas::new(version, LEVEL);
    canvas.draw_all_functional_patterns();
    canvas.draw_data(&data, &correction);
    canvas.apply_mask(MaskPattern::Checkerboard);
    Ok(canvas.into_colors())
}
