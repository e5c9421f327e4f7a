//! What a source file contains: its description, no time zone in SQL, no rule kept by a debug assertion.

use super::{SOURCES, TESTS, offences, sources};

#[test]
fn every_file_says_what_it_is() {
    for folder in SOURCES.iter().chain(&TESTS) {
        let silent: Vec<_> =
            sources(folder).into_iter().filter(|(_, text)| !text.starts_with("//!")).collect();
        let silent: Vec<_> = silent.iter().map(|(path, _)| path.display()).collect();
        assert!(silent.is_empty(), "{silent:?} begin without //!");
    }
}

/// Postgres has rules of time zones of its own, which may be older than the program's: it reads no zone but UTC.
#[test]
fn no_sql_names_a_time_zone() {
    let reads = |line: &str| {
        let line = line.to_lowercase();
        let zoned = line.replace("at time zone 'utc'", "");
        zoned.contains("at time zone") || zoned.contains("timezone(") || zoned.contains("pg_timezone")
    };
    for folder in ["actors/src", "gateway/src", "src"] {
        let broken = offences(folder, |_| false, reads);
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

/// A release has no debug assertions, so none may keep a rule: of seats, money or rights least of all.
#[test]
fn nothing_rests_on_a_debug_assertion() {
    for folder in SOURCES {
        let broken = offences(
            folder,
            |_| false,
            |line| line.contains("debug_assert!") || line.contains("debug_assert_"),
        );
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
