//! Each target with the kept corpus and thousands of seeded mutations of it, on any toolchain, with every test run.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::hostile;

/// Mutants of a target: some seconds in a dev build.
const TRIES: u64 = 20_000;
/// Longer inputs teach nothing new.
const BYTES_MAX: usize = 4_096;
const SEED: u64 = 0x5EA7;

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
    run("webhook", hostile::webhook);
}

#[test]
fn no_token_breaks_the_reader() {
    run("token", hostile::token);
}

#[test]
fn no_event_breaks_the_reader_and_what_is_read_can_be_written() {
    run("event", hostile::event);
}

#[test]
fn no_seat_ids_break_the_reader() {
    run("seats", hostile::seats);
}

#[test]
fn no_layout_breaks_the_reader_and_what_is_valid_can_be_sold() {
    run("layout", hostile::layout);
}
