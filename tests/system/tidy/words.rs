//! The language of the sources and documents, and what the documents name.

use std::path::Path;

use super::page::scripts;
use super::{SOURCES, TESTS, sources};

/// Words of everyday language with a better technical word: published or replied, received, the caller, the process or the
/// deployment, the endpoints.
const BANNED: [&str; 6] = ["told", "hear", "heard", "whoever", "house", "desk"];

/// Lines in which such a word is the right one, by a part of the line.
const ALLOWED: [&str; 3] = ["heard_at", "told the truth", "const FORMER: "];

/// The words of a text in lower case; `HouseKeeper` and `house_keeper` are two words each.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut was_lower = false;
    for letter in text.chars() {
        if letter.is_uppercase() && was_lower {
            spaced.push(' ');
        }
        was_lower = letter.is_lowercase();
        spaced.extend(letter.to_lowercase());
    }
    let words = spaced.split(|letter: char| !letter.is_alphabetic()).map(str::to_owned);
    words.collect::<Vec<_>>().into_iter()
}

fn has_banned_word(line: &str) -> bool {
    words(line).any(|word| BANNED.contains(&word.as_str())) && !ALLOWED.iter().any(|text| line.contains(text))
}

/// Every line of a text with a banned word, as `name:line: text`.
fn banned_lines(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| has_banned_word(line));
    lines.map(|(at, line)| format!("{name}:{}: {}", at + 1, line.trim())).collect()
}

#[test]
fn words_are_found_in_comments_and_names() {
    for line in ["// Whoever asks", "struct HouseKeeper;", "let was_told = 1;", "fn on_heard() {}"] {
        assert!(has_banned_word(line), "{line}");
    }
    for line in ["// 20 households", "let hearing = 1;", "// on a desktop"] {
        assert!(!has_banned_word(line), "{line}");
    }
}

#[test]
fn rust_sources_use_the_technical_word() {
    let folders = SOURCES.iter().chain(&TESTS).chain(&["bench/src", "chaos/src", "fuzz/fuzz_targets"]);
    let files = folders.flat_map(|folder| sources(folder));
    let files = files.map(|(path, text)| (path.to_string_lossy().into_owned(), text));
    // This file names the words.
    let files = files.filter(|(name, _)| name != "tests/system/tidy/words.rs");
    let broken: Vec<String> = files.flat_map(|(name, text)| banned_lines(&name, &text)).collect();
    assert!(broken.is_empty(), "see docs/glossary.md: {broken:#?}");
}

#[test]
fn scripts_and_documents_use_the_technical_word() {
    let mut files = documents();
    let names = ["Makefile", "nats.conf", "docker-compose.yml", "docker-compose.secrets.yml", "Dockerfile"];
    files.extend(names.map(|name| (name.to_owned(), document(name))));
    for folder in ["scripts", "config"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            if [".sh", ".example"].iter().any(|end| name.ends_with(end)) {
                files.push((name.clone(), document(&name)));
            }
        }
    }
    files.extend(super::deploy::files());
    // The texts that people read are in `text/`.
    files.extend(scripts().into_iter().filter(|(name, _)| !name.starts_with("text/")));
    // Names in backticks are those of the sources.
    let plain = |text: &str| text.lines().map(unquoted).collect::<Vec<_>>().join("\n");
    let broken: Vec<String> =
        files.iter().flat_map(|(name, text)| banned_lines(name, &plain(text))).collect();
    assert!(broken.is_empty(), "see docs/glossary.md: {broken:#?}");
}

/// In a German cinema, "reservieren" means paying at the box office.
#[test]
fn german_texts_do_not_say_reserve() {
    let text = document("gateway/web/text/de.js").to_lowercase();
    let broken: Vec<_> = text.lines().filter(|line| line.contains("reservier")).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

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

/// A line without its texts in backticks.
fn unquoted(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Texts in backticks, line by line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The documents for people, with their texts.
fn documents() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names =
        names.map(|name| format!("docs/{}", name.to_string_lossy())).filter(|name| name.ends_with(".md"));
    let names = names.chain(["README.md".to_owned(), "CHANGELOG.md".to_owned()]);
    names.map(|name| (name.clone(), document(&name))).collect()
}

#[test]
fn files_that_the_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_ours = |name: &str| {
        let folder = name.split('/').next().unwrap_or_default();
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
        let is_built = folder.is_empty() || folder.starts_with('.') || folder == "target";
        name.contains('/') && is_plain && !is_built && root.join(folder).is_dir()
    };
    // The page of the web page names files relative to its folder.
    let exists = |name: &str| root.join(name).exists() || root.join("gateway/web").join(name).exists();
    let missing: Vec<String> = documents()
        .iter()
        .flat_map(|(page, text)| quoted(text).map(move |name| (page, name)))
        .filter(|(_, name)| is_ours(name) && !exists(name))
        .map(|(page, name)| format!("{page}: {name}"))
        .collect();
    assert!(missing.is_empty(), "these files do not exist: {missing:#?}");
}

#[test]
fn tests_that_the_specification_names_exist() {
    let page = document("docs/specification.md");
    let folders = SOURCES.iter().chain(&TESTS);
    let code: String = folders.flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
    let is_test = |name: &str| {
        name.matches('_').count() >= 3 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let missing: Vec<&str> =
        quoted(&page).filter(|name| is_test(name) && !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "docs/specification.md names tests that do not exist: {missing:#?}");
}
