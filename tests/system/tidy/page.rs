//! The web page's scripts: the server's clock, and lists that are read whole.

use std::path::Path;

/// The page's own scripts, without what others wrote.
pub fn scripts() -> Vec<(String, String)> {
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
