//! Coverage-guided: an order's seat ids. What must hold is in `actors/src/hostile.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| actors::hostile::seats(bytes));
