//! Tickets as a PDF: a code for each seat, the cinema's logo, and a bound of their bytes.

use std::io::Cursor;

use bus::contract::notification::TICKET_FILE_BYTES_MAX;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;
use crate::config::{CinemaSettings, Logo};
use crate::notification::look::Look;

/// Numbers that look random and are the same in each run.
fn noise() -> impl FnMut() -> u8 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }
}

fn logo(picture: &DynamicImage, format: ImageFormat) -> Logo {
    let mut content = Cursor::new(Vec::new());
    picture.write_to(&mut content, format).unwrap();
    let kind = if format == ImageFormat::Png { "image/png" } else { "image/jpeg" };
    Logo { kind, content: content.into_inner() }
}

fn printed(facts: &Facts, logo: Option<Logo>) -> Vec<u8> {
    let cinema = CinemaSettings { logo, ..settings().cinema };
    let tokens: Vec<String> =
        facts.attendee.iter().flat_map(|a| &a.reservation.seats).map(|seat| format!("a.{seat}.c")).collect();
    Printer::new(&cinema, Look::default()).pdf(facts, &tokens, Locale::En).unwrap()
}

fn images(pdf: &[u8]) -> usize {
    pdf.windows(14).filter(|part| part == b"/Subtype /Imag").count()
}

#[test]
fn every_seat_needs_a_code() {
    let facts = facts(ReservationStatus::Confirmed, "Amélie (千)");
    let printer = Printer::new(&settings().cinema, Look::default());
    let tokens = ["x".repeat(340), "y".repeat(340)];
    assert!(printer.pdf(&facts, &tokens, Locale::En).unwrap().starts_with(b"%PDF-"));
    assert!(printer.pdf(&facts, &tokens[..1], Locale::En).is_err(), "a seat without a code");
}

#[test]
fn a_logo_is_in_the_file_once_and_one_that_cannot_be_read_is_left_out() {
    let facts = facts(ReservationStatus::Confirmed, "Heat");
    let opaque = DynamicImage::from(RgbImage::from_pixel(40, 20, Rgb([200, 0, 0])));
    let clear = DynamicImage::from(RgbaImage::from_pixel(900, 900, Rgba([200, 0, 0, 40])));
    assert_eq!(images(&printed(&facts, None)), 0);
    assert_eq!(images(&printed(&facts, Some(logo(&opaque, ImageFormat::Png)))), 1);
    assert_eq!(images(&printed(&facts, Some(logo(&opaque, ImageFormat::Jpeg)))), 1);
    assert_eq!(
        images(&printed(&facts, Some(logo(&clear, ImageFormat::Png)))),
        2,
        "its opacities are an image"
    );
    let mut broken = logo(&opaque, ImageFormat::Jpeg);
    broken.content.truncate(40);
    let without = printed(&facts, Some(broken));
    assert_eq!((images(&without), without.len()), (0, printed(&facts, None).len()));
}

/// The most seats that a setting allows, each of the longest names in a script of thousands of glyphs, and a logo that cannot
/// be compressed.
#[test]
fn the_tickets_of_the_largest_order_fit_into_a_message() {
    let han = |from: u32, count: u32| -> String { (from..from + count).filter_map(char::from_u32).collect() };
    let mut facts = facts(ReservationStatus::Confirmed, &han(0x4e00, 200));
    facts.showtime.as_mut().unwrap().auditorium_name = han(0x6000, 80);
    let seats = (1..=100).map(|number| SeatId::new("AA", number)).collect();
    facts.attendee.as_mut().unwrap().reservation.seats = seats;
    let (mut byte, mut letter) = (noise(), noise());
    let mut pixel = |_, _| Rgb([byte(), byte(), byte()]);
    let logo = logo(&DynamicImage::from(RgbImage::from_fn(480, 120, &mut pixel)), ImageFormat::Jpeg);
    let cinema = CinemaSettings { logo: Some(logo), address: Some(han(0x7000, 200)), ..settings().cinema };
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = || (0..340).map(|_| char::from(LETTERS[usize::from(letter() % 64)])).collect::<String>();
    let tokens: Vec<String> = (0..100).map(|_| token()).collect();
    let pdf = Printer::new(&cinema, Look::default()).pdf(&facts, &tokens, Locale::De).unwrap();
    assert!(pdf.len() <= TICKET_FILE_BYTES_MAX, "{} bytes", pdf.len());
}
