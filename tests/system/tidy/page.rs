//! The web page's files: the server's clock, lists that are read whole, a sentence for every field error, words for every
//! line of an order's history, and nothing that older browsers lack.

use std::path::Path;

use bus::contract::Rule;

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
    const LISTS: [&str; 13] = [
        "movies",
        "genres",
        "auditoriums",
        "ticket-types",
        "price-cards",
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
        // The latest records of the audit are all that is shown, under that title.
        reads && !whole && name != "staff/audited.js"
    });
    assert!(broken.is_empty(), "use all() or everything(): {broken:#?}");
}

/// Visitors have phones of some years ago: the page uses nothing that is newer than Safari 16.4.
#[test]
fn the_page_uses_nothing_that_is_too_new_for_its_visitors_browsers() {
    const FUNCTIONS: [&str; 20] = [
        "Map.groupBy(",
        "Object.groupBy(",
        "fromAsync(",
        "withResolvers(",
        "Promise.try(",
        "AbortSignal.any(",
        "canParse(",
        "URL.parse(",
        "RegExp.escape(",
        "DurationFormat",
        ".isSubsetOf(",
        ".isSupersetOf(",
        ".symmetricDifference(",
        ".values().map(",
        ".values().filter(",
        ".keys().map(",
        ".keys().filter(",
        ".entries().map(",
        "requestIdleCallback(",
        "showPopover(",
    ];
    const STYLES: [&str; 9] = [
        "light-dark(",
        "@starting-style",
        "@scope",
        "@property",
        "field-sizing",
        "anchor-name",
        "text-wrap-style",
        "interpolate-size",
        "contrast-color(",
    ];
    let mut broken = page_offences(|_, line| FUNCTIONS.iter().any(|name| line.contains(name)));
    let styles = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/web/style");
    for entry in std::fs::read_dir(styles).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let found = STYLES.iter().filter(|name| text.contains(**name));
        broken.extend(found.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(broken.is_empty(), "too new for Safari 16.4: {broken:#?}");
}

/// The page makes a sentence from the code of a field's error; the contract's own messages are never shown.
#[test]
fn every_code_of_a_field_error_has_a_sentence_in_every_language() {
    let scripts = scripts();
    for language in ["en", "de"] {
        let name = format!("text/wrong-{language}.js");
        let (_, text) = scripts.iter().find(|(script, _)| *script == name).unwrap();
        let keys: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(key, _)| key.trim().trim_matches('"'))
            .collect();
        let codes = Rule::codes();
        let missing: Vec<&String> = codes.iter().filter(|code| !keys.contains(&code.as_str())).collect();
        assert!(missing.is_empty() && codes.len() > 40, "{name} lacks {missing:?}");
    }
}

/// The texts in double quotes in a part of a text, from one mark to the next.
fn quoted_between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split(to).next().unwrap_or_default().split('"').skip(1).step_by(2).collect()
}

/// The keys of a group of the page's texts.
fn keys<'a>(texts: &'a str, group: &str) -> Vec<&'a str> {
    let (_, rest) = texts.split_once(&format!("\n    {group}: {{")).unwrap_or_else(|| panic!("no {group}"));
    let pairs = rest.split('}').next().unwrap_or_default().split(": \"");
    let last_word = |before: &'a str| match before.strip_suffix('"') {
        Some(quoted) => quoted.rsplit('"').next().unwrap_or_default(),
        None => before.rsplit([' ', '\n', ',']).next().unwrap_or_default(),
    };
    pairs.map(last_word).collect()
}

/// Staff read an order's history in words: every step and state of its saga, every line of its payment's log, and every cause of
/// a cancellation has some in each language.
#[test]
fn every_line_of_an_orders_history_has_words_in_every_language() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (input, store) =
        (source("actors/src/reservation/saga/input.rs"), source("actors/src/reservation/store.rs"));
    let mut steps = quoted_between(&input, "pub fn name(", "\n    }\n");
    for input_with_address in ["READDRESS", "SET_CUSTOMER", "MERGE"] {
        steps.extend(quoted_between(&input, &format!("pub const {input_with_address}"), ";"));
    }
    steps.extend(quoted_between(&store, "let log = Logged {", ",\n"));
    let staff = source("bus/src/contract/reservation/staff.rs");
    let states = quoted_between(&staff, "impl SagaState", "\n    }\n");
    let reservation = source("bus/src/contract/reservation.rs");
    let reasons = quoted_between(&reservation, "impl CancelReason", "\n    }\n");
    let mut entries = vec!["exchange".to_owned(), "cancellation".to_owned(), "provider event".to_owned()];
    for name in ["attempt", "machine", "credit", "refund", "dispute"] {
        let text = source(&format!("actors/src/payment/{name}.rs"));
        entries.extend(
            text.split(".log(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
        );
    }
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    assert!(steps.len() > 18 && states.len() == 9 && reasons.len() == 6 && entries.len() > 20);
    for language in ["en", "de"] {
        let texts = source(&format!("gateway/web/text/staff-{language}.js"));
        let groups =
            [("step", &steps), ("saga", &states), ("reason", &reasons), ("\"payment-step\"", &entries)];
        for (group, names) in groups {
            let known = keys(&texts, group);
            let missing: Vec<_> = names.iter().filter(|name| !known.contains(name)).collect();
            assert!(missing.is_empty(), "{language}: {group} lacks {missing:?}");
        }
    }
}
