//! What parses bytes from outside, fed with a kept corpus and with seeded mutations of it: webhook, access token, event,
//! seat ids, layouts.
//!
//! Invariant: whatever the bytes are, they are read or refused; nothing panics, and nothing that was not signed is believed.
//! The targets are plain functions, so that a fuzzer may drive them too; here each gets a bounded number of tries.

use std::path::Path;

use bus::contract::movie::{CreateAuditorium, ShowtimeScheduled};
use bus::contract::payment::{
    PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::{
    CreateReservation, RefundRequested, ReservationCancelled, ReservationConfirmed, ReservationCreated,
};
use bus::contract::{Fields, Request};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::payment::webhook;
use crate::reservation::seat_map::SeatMap;

/// Mutants of a target: some seconds in a dev build.
const TRIES: u64 = 20_000;
/// Longer inputs teach nothing new.
const BYTES_MAX: usize = 4_096;
const SEED: u64 = 0x5EA7;

/// The first line is the header, the rest the body.
fn target_webhook(bytes: &[u8]) {
    let (header, body) = head_and_body(bytes);
    let now = 1_700_000_000;
    assert!(webhook::verify("whsec_of_nobody_else", &header, body, now).is_err(), "believed: {header}");
    let _ = webhook::parse(body);
}

fn target_token(bytes: &[u8]) {
    let _ = bus::token::key_id(&String::from_utf8_lossy(bytes));
}

/// The first line is the `traceparent`, the rest the payload.
fn target_event(bytes: &[u8]) {
    let (header, body) = head_and_body(bytes);
    let _ = bus::Context::from_parts(Some(&header), Some(&header));
    fn read<E: serde::de::DeserializeOwned + serde::Serialize>(body: &[u8]) {
        if let Ok(event) = serde_json::from_slice::<E>(body) {
            let again = serde_json::to_vec(&event).expect("what was read can be written");
            serde_json::from_slice::<E>(&again).expect("what was written can be read");
        }
    }
    read::<ReservationCreated>(body);
    read::<ReservationConfirmed>(body);
    read::<ReservationCancelled>(body);
    read::<PaymentInitiated>(body);
    read::<PaymentSuccess>(body);
    read::<PaymentFailed>(body);
    read::<RefundRequested>(body);
    read::<RefundCompleted>(body);
    read::<RefundFailed>(body);
    read::<ShowtimeScheduled>(body);
}

fn target_seats(bytes: &[u8]) {
    if let Ok(order) = serde_json::from_slice::<CreateReservation>(bytes) {
        order.validate(&mut Fields::default());
    }
}

/// What is valid can be sold.
fn target_layout(bytes: &[u8]) {
    let Ok(hall) = serde_json::from_slice::<CreateAuditorium>(bytes) else { return };
    let mut fields = Fields::default();
    hall.validate(&mut fields);
    if fields.into_result().is_ok() {
        SeatMap::new(&hall.rows, &Default::default(), 1);
    }
}

fn head_and_body(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes.get(end + 1..).unwrap_or_default())
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// What often breaks parsers, besides single bytes.
const TOKENS: [&[u8]; 16] = [
    b"\"",
    b"\\u0000",
    b"\xff\xfe",
    b"{",
    b"]",
    b"null",
    b"-1",
    b"1e999",
    b"9223372036854775808",
    b"\r\n",
    b",v1=",
    b"t=",
    b".",
    b"\xc3\x9f",
    b"=",
    b"[[[[[[[[",
];

fn mutate(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, random.random()),
            3 => drop(bytes.splice(at..at, TOKENS[random.random_range(0..TOKENS.len())].iter().copied())),
            4 => bytes.truncate(at),
            _ => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn run(target: &str, does: fn(&[u8])) {
    let seeds = corpus(target);
    let mut random = StdRng::seed_from_u64(SEED);
    let mutants = (0..TRIES).map(|_| mutate(&mut random, &seeds));
    for bytes in seeds.iter().cloned().chain(mutants) {
        let held = std::panic::catch_unwind(|| does(&bytes));
        assert!(
            held.is_ok(),
            "{target} broke on {:?}; keep it in the corpus",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn no_webhook_breaks_the_reader_or_is_believed_without_a_signature() {
    run("webhook", target_webhook);
}

#[test]
fn no_token_breaks_the_reader() {
    run("token", target_token);
}

#[test]
fn no_event_breaks_the_reader_and_what_is_read_can_be_written() {
    run("event", target_event);
}

#[test]
fn no_seat_ids_break_the_reader() {
    run("seats", target_seats);
}

#[test]
fn no_layout_breaks_the_reader_and_what_is_valid_can_be_sold() {
    run("layout", target_layout);
}
