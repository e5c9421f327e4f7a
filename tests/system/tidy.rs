//! Rules of the sources that no compiler keeps. `circles`: modules that import each other. `deploy`: whether the files of
//! `deploy/` agree with the code. `imports`: who imports whom, and where SQL and the environment may be.
//! `layout`: what files contain. `page`: the web page's scripts. `release`: one version everywhere. `words`: the language of comments, names and documents.

mod circles;
mod deploy;
mod imports;
mod layout;
mod page;
mod release;
mod words;

use std::path::{Path, PathBuf};

/// The folders of the workspace's own production code.
pub const SOURCES: [&str; 6] = ["bus/src", "bridge/src", "actors/src", "gateway/src", "sandbox/src", "src"];
/// The folders of the tests that start the whole system.
const TESTS: [&str; 2] = ["tests/system", "tests/browser"];

/// Every Rust source below `folder`, as its path from the root and its text.
pub fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Every line that breaks a rule, as `path:line: text`.
fn offences(folder: &str, allowed: impl Fn(&str) -> bool, forbidden: impl Fn(&str) -> bool) -> Vec<String> {
    let mut offences = Vec::new();
    for (path, text) in sources(folder) {
        let name = path.to_string_lossy().into_owned();
        if allowed(&name) {
            continue;
        }
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//") && forbidden(line));
        offences.extend(lines.map(|(at, line)| format!("{name}:{}: {}", at + 1, line.trim())));
    }
    offences
}
