//! Coverage-guided: the provider's webhook, head and body. What must hold is in `actors/src/hostile.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| actors::hostile::webhook(bytes));
