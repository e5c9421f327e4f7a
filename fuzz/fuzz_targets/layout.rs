//! Coverage-guided: an auditorium's layout, and what is sold by it. What must hold is in `actors/src/hostile.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| actors::hostile::layout(bytes));
