//! Where files are and what they contain: the same files in every domain, a description in each file, no time zone in SQL,
//! no rule kept by a debug assertion.

use std::path::Path;

use actors::DOMAINS;

use super::{SOURCES, TESTS, offences, sources};

/// A newcomer who knows one domain finds the way in every other.
#[test]
fn every_domain_has_the_same_files() {
    const STATELESS: [&str; 1] = ["mod"];
    const STATEFUL: [&str; 6] = ["mod", "model", "endpoints", "consumer", "store", "tests"];
    // Former names, each of which meant something else in every domain.
    const FORMER: [&str; 5] = ["hear", "desk", "endpoint", "letter", "telling"];
    // Checked from when they have endpoints.rs; then remove them here.
    const NOT_YET: [&str; 2] = ["reservation", "payment"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src");
    let mut broken = Vec::new();
    for domain in &DOMAINS {
        let folder = root.join(domain.name);
        let has = |name: &str| {
            folder.join(format!("{name}.rs")).is_file() || folder.join(name).join("mod.rs").is_file()
        };
        if NOT_YET.contains(&domain.name) && !has("endpoints") {
            continue;
        }
        let required = if domain.migrations.is_some() { &STATEFUL[..] } else { &STATELESS[..] };
        broken.extend(
            required.iter().filter(|name| !has(name)).map(|name| format!("{} lacks {name}", domain.name)),
        );
        broken
            .extend(FORMER.iter().filter(|name| has(name)).map(|name| format!("{} has {name}", domain.name)));
        let entity = std::fs::read_to_string(folder.join("actor.rs")).unwrap_or_default();
        let actors = ["impl Entity for", "impl Actor for", "impl Hosted for"];
        if has("actor") && !actors.iter().any(|actor| entity.contains(actor)) {
            broken.push(format!("{}/actor.rs has no actor", domain.name));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The registration is the only list: no other source names all domains.
#[test]
fn no_other_list_names_every_domain() {
    let names: Vec<String> = DOMAINS.iter().map(|domain| format!("\"{}\"", domain.name)).collect();
    for folder in SOURCES {
        let broken: Vec<String> = sources(folder)
            .into_iter()
            // A test may compare the list with what it expects.
            .filter(|(path, _)| !path.ends_with("tests.rs"))
            .filter(|(_, text)| names.iter().all(|name| text.contains(name.as_str())))
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert!(broken.is_empty(), "use actors::DOMAINS: {broken:?}");
    }
}

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

#[test]
fn no_test_cuts_the_date_out_of_an_instant() {
    for folder in TESTS {
        // Near midnight an instant has another date in UTC than in the auditorium.
        let found =
            offences(folder, |name| name.ends_with("tidy/layout.rs"), |line| line.contains("()[..10]"));
        assert!(found.is_empty(), "use driver::day_of: {found:#?}");
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
