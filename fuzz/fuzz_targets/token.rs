//! Coverage-guided: the key that an access token names. What must hold is in `actors/src/hostile.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| actors::hostile::token(bytes));
