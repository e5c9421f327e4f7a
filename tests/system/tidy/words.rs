//! The documents: what they name exists, and the short ones stay short.

use std::path::Path;

use super::{SOURCES, TESTS, sources};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The tour is for a newcomer; an invariant belongs to the head comment of the file that keeps it.
#[test]
fn the_architecture_is_a_tour_of_at_most_two_thousand_words() {
    let words = document("docs/architecture.md").split_whitespace().count();
    assert!(words <= 2_000, "docs/architecture.md has {words} words");
}

#[test]
fn the_glossary_has_at_most_forty_entries() {
    let glossary = document("docs/glossary.md");
    let entries = glossary.lines().filter(|line| line.starts_with("| **")).count();
    assert!((20..=40).contains(&entries), "docs/glossary.md has {entries} entries");
}

/// Texts in backticks, line by line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn what_the_specifications_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/specification.md")).unwrap();
    let folders = SOURCES.iter().chain(&TESTS);
    let code: String = folders.flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
    let is_path = |name: &str| name.contains('/') && !name.contains(' ') && !name.starts_with('/');
    let is_test = |name: &str| {
        name.matches('_').count() >= 3 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let missing: Vec<&str> = quoted(&page)
        .filter(|name| match (is_path(name), is_test(name)) {
            (true, _) => !root.join(name).exists(),
            (_, true) => !code.contains(&format!("fn {name}(")),
            _ => false,
        })
        .collect();
    assert!(missing.is_empty(), "docs/specification.md names what is not there: {missing:#?}");
}
