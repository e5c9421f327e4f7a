//! Coverage-guided: an event's envelope and payload. What must hold is in `actors/src/hostile.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| actors::hostile::event(bytes));
