//! The house rules that no compiler keeps: who imports whom, where SQL and the environment may be, what may not be said.

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
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

#[test]
fn a_domain_never_imports_another() {
    let domains = ["auth", "movie", "notification", "payment", "reservation", "scheduler"];
    for domain in domains {
        let others: Vec<String> =
            domains.iter().filter(|d| **d != domain).map(|d| format!("crate::{d}::")).collect();
        let folder = format!("actors/src/{domain}");
        let broken =
            offences(&folder, |_| false, |line| others.iter().any(|other| line.contains(other.as_str())));
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

#[test]
fn the_bus_knows_no_sql_no_http_server_no_rabbitmq_and_no_actors() {
    let foreign = ["sqlx", "poem", "lapin", "ractor", "actors::", "gateway::", "bridge::"];
    let broken = offences("bus/src", |_| false, |line| foreign.iter().any(|name| line.contains(name)));
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_bridge_and_the_sandbox_import_only_the_bus() {
    let foreign = ["sqlx", "actors::", "gateway::", "marquee::", "bridge::", "sandbox::"];
    for folder in ["bridge/src", "sandbox/src"] {
        let broken = offences(folder, |_| false, |line| foreign.iter().any(|name| line.contains(name)));
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

#[test]
fn gateway_and_actors_never_see_each_other() {
    let broken =
        offences("gateway/src", |_| false, |line| line.contains("actors::") || line.contains("sqlx"));
    assert!(broken.is_empty(), "{broken:#?}");
    let broken =
        offences("actors/src", |_| false, |line| line.contains("gateway::") || line.contains("poem"));
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_stores_and_delivery_speak_sql() {
    let speaks = |line: &str| line.contains("sqlx::query");
    let allowed = |path: &str| path.contains("/delivery/") || path.contains("store");
    let broken = offences("actors/src", allowed, speaks);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_config_files_read_the_environment() {
    let reads = |line: &str| line.contains("env::var") || line.contains("Environment::of_process");
    // Where a program is found is no setting.
    // A test may be told to write what it compares.
    let allowed =
        |path: &str| ["config.rs", "local/binary.rs", "tests.rs"].iter().any(|end| path.ends_with(end));
    for folder in ["bus/src", "bridge/src", "actors/src", "gateway/src", "sandbox/src", "src"] {
        let broken = offences(folder, allowed, reads);
        assert!(broken.is_empty(), "{broken:#?}");
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

/// The page's own scripts, without what others wrote.
fn scripts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/web");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "vendor") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "js") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 40, "the page has no scripts");
    found
}

/// Every line of the page's scripts that breaks a rule.
fn page_offences(forbidden: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let scripts = scripts();
    let lines = scripts.iter().flat_map(|(name, text)| text.lines().map(move |line| (name, line)));
    let code = lines.filter(|(_, line)| !line.trim_start().starts_with(['/', '*']));
    code.filter(|(name, line)| forbidden(name, line))
        .map(|(name, line)| format!("{name}: {}", line.trim()))
        .collect()
}

/// A visitor's clock may be wrong: what is on sale, held or over is so by the server's.
#[test]
fn the_page_asks_no_clock_but_the_servers() {
    let broken = page_offences(|name, line| {
        name != "lib/clock.js" && (line.contains("Date.now()") || line.contains("new Date()"))
    });
    assert!(broken.is_empty(), "use lib/clock.js: {broken:#?}");
}

/// One page of a list is not the list: the page reads all of it (`all`, `everything`), or shows a way to the other pages
/// (`pager`), or asks only for the total or the first.
#[test]
fn the_page_takes_no_first_page_for_the_whole_list() {
    const LISTS: [&str; 11] = [
        "movies",
        "genres",
        "auditoriums",
        "showtimes",
        "reservations",
        "payments",
        "users",
        "notifications",
        "admin/sagas",
        "admin/dead-letters",
        "admin/audit",
    ];
    let broken = page_offences(|name, line| {
        let reads = LISTS
            .iter()
            .any(|list| ["get", "fresh"].iter().any(|read| line.contains(&format!("{read}(\"/v1/{list}\""))));
        let whole = line.contains("page: query.page") || line.contains("pageSize: 1 ");
        // The last changes of roles are all that is shown, under that title.
        reads && !whole && name != "staff/people.js"
    });
    assert!(broken.is_empty(), "use all() or everything(): {broken:#?}");
}

/// A release has no debug assertions, so none may keep a rule: of seats, money or rights least of all.
#[test]
fn nothing_rests_on_a_debug_assertion() {
    for folder in ["bus/src", "bridge/src", "actors/src", "gateway/src", "sandbox/src", "src"] {
        let broken = offences(
            folder,
            |_| false,
            |line| line.contains("debug_assert!") || line.contains("debug_assert_"),
        );
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

#[test]
fn every_file_says_what_it_is() {
    for folder in [
        "bus/src",
        "bridge/src",
        "actors/src",
        "gateway/src",
        "sandbox/src",
        "src",
        "tests/system",
        "tests/browser",
    ] {
        let silent: Vec<_> =
            sources(folder).into_iter().filter(|(_, text)| !text.starts_with("//!")).collect();
        let silent: Vec<_> = silent.iter().map(|(path, _)| path.display()).collect();
        assert!(silent.is_empty(), "{silent:?} begin without //!");
    }
}

/// Texts in backticks, line by line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn what_the_specifications_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/specification.md")).unwrap();
    let folders = [
        "bus/src",
        "bridge/src",
        "actors/src",
        "gateway/src",
        "sandbox/src",
        "src",
        "tests/system",
        "tests/browser",
    ];
    let code: String = folders.iter().flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
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
