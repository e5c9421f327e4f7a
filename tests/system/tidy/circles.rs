//! No modules of a crate import each other in a circle: then each can be read, tested and moved without the others.
//!
//! Imports are read from the source: every `crate::…` and `super::…`, in a `use` or in an expression, and through what the
//! parent module re-exports. Unit tests may import anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::sources;

/// The modules directly in a folder, and for each the modules that it imports, each with one place as `file: path`.
type Imports = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let circles: Vec<String> =
        folders().iter().flat_map(|(root, folder)| circles(&imports(root, folder), folder)).collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// The source folder of each crate, and in actors and gateway each folder directly in it, with its crate's.
fn folders() -> Vec<(String, String)> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = Vec::new();
    for root in super::SOURCES {
        folders.push((root.to_owned(), root.to_owned()));
        if ["actors/src", "gateway/src"].contains(&root) {
            let inside = std::fs::read_dir(workspace.join(root)).unwrap().map(|entry| entry.unwrap());
            let names = inside
                .filter(|entry| {
                    entry.path().is_dir() && !["tests", "snapshots"].iter().any(|n| *n == entry.file_name())
                })
                .map(|entry| entry.file_name().to_string_lossy().into_owned());
            folders.extend(names.map(|name| (root.to_owned(), format!("{root}/{name}"))));
        }
    }
    folders
}

/// Who imports whom among the modules directly in `folder`.
fn imports(root: &str, folder: &str) -> Imports {
    let prefix: Vec<String> =
        folder[root.len()..].split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
    let files: Vec<(Vec<String>, String)> = sources(root)
        .into_iter()
        .map(|(path, text)| (module(root, &path), text))
        .filter(|(module, _)| !module.iter().any(|name| name == "tests"))
        .filter_map(|(module, text)| {
            text.split("#[cfg(test)]\nmod ").next().map(|text| (module, text.to_owned()))
        })
        .collect();
    let inside = |path: &[String]| path.strip_prefix(prefix.as_slice())?.first().cloned();
    let modules: BTreeSet<String> = files.iter().filter_map(|(module, _)| inside(module)).collect();
    // What the parent re-exports belongs to the module that it comes from.
    let parent =
        files.iter().find(|(module, _)| *module == prefix).map(|(_, text)| text.as_str()).unwrap_or_default();
    let mut exported: BTreeMap<String, String> = BTreeMap::new();
    for path in modules.iter().flat_map(|module| paths(parent, &format!("use {module}::"), 4)) {
        if let [module, .., name] = path.as_slice() {
            exported.insert(name.clone(), module.clone());
        }
    }
    let mut imports = Imports::new();
    for (file, text) in &files {
        let Some(from) = inside(file) else { continue };
        for path in ["crate::", "super::"].iter().flat_map(|start| paths(text, start, 0)) {
            let Some(target) = inside(&resolve(file, &path)) else { continue };
            let target = exported.get(&target).cloned().unwrap_or(target);
            if modules.contains(&target) && target != from {
                let place = format!("{root}/{}: {}", file.join("/"), path.join("::"));
                imports.entry(from.clone()).or_default().entry(target).or_insert(place);
            }
        }
    }
    imports
}

/// The module of a file: `actors/src/payment/store.rs` is `payment::store`.
fn module(root: &str, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let mut module: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        module.pop();
    }
    module
}

/// A path from `crate` or `super` in a module, as a path from the crate's root.
fn resolve(module: &[String], path: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let base = if supers == 0 { &[] } else { &module[..module.len().saturating_sub(supers)] };
    base.iter().chain(&path[supers.max(1)..]).cloned().collect()
}

/// Every path in `text` that begins with `start`, groups in braces expanded. The first `skip` bytes are no part of it.
fn paths(text: &str, start: &str, skip: usize) -> Vec<Vec<String>> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let is_start = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start).filter(|(at, _)| is_start(*at)) {
        expand(&code[at + skip..], &mut Vec::new(), &mut found);
    }
    found
}

/// Reads one path or group, adds the paths in it to `found`, and returns what follows it.
fn expand<'a>(text: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = text.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        rest = group.trim_start();
        while !rest.starts_with('}') && !rest.is_empty() {
            let next = expand(rest, prefix, found).trim_start().trim_start_matches(',').trim_start();
            // Nothing was read: it is no path.
            if next.len() == rest.len() {
                return next;
            }
            rest = next;
        }
        return rest.strip_prefix('}').unwrap_or(rest);
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if end == 0 {
        return rest;
    }
    prefix.push(rest[..end].to_owned());
    rest = &rest[end..];
    if let Some(more) = rest.strip_prefix("::") {
        rest = expand(more, prefix, found);
    } else {
        found.push(prefix.clone());
        if let Some(renamed) = rest.trim_start().strip_prefix("as ") {
            rest = renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        }
    }
    prefix.pop();
    rest
}

/// Each circle once: the modules that reach one another, and the imports between them.
fn circles(imports: &Imports, folder: &str) -> Vec<String> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|module| (module, reachable(imports, module))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (module, targets) in &reached {
        if !targets.contains(module) || seen.contains(module) {
            continue;
        }
        let circle: BTreeSet<&String> = targets
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(module)))
            .collect();
        seen.extend(circle.iter().copied());
        let mut text = format!("circle in {folder}:");
        for (from, to, place) in
            circle.iter().flat_map(|from| imports[*from].iter().map(move |(to, place)| (from, to, place)))
        {
            if circle.contains(to) {
                text += &format!("\n  {from} -> {to} ({place})");
            }
        }
        circles.push(text);
    }
    circles
}

fn reachable<'a>(imports: &'a Imports, module: &'a String) -> BTreeSet<&'a String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![module]);
    while let Some(module) = open.pop() {
        let targets = imports.get(module).into_iter().flat_map(BTreeMap::keys);
        open.extend(targets.filter(|target| reached.insert(*target)));
    }
    reached
}

#[test]
fn a_circle_is_found_through_groups_re_exports_and_parents() {
    let found = |text: &str| paths(text, "crate::", 0).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(
        found("use crate::a::{B as C, d::{E, f}, self};\n// crate::no\nlet x = crate::g::h(1);"),
        ["crate::a::B", "crate::a::d::E", "crate::a::d::f", "crate::a::self", "crate::g::h"]
    );
    let strings = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(resolve(&strings("a::b"), &strings("super::super::c::D")), strings("c::D"));
    assert_eq!(resolve(&strings("a::b"), &strings("crate::c")), strings("c"));
    let edge = |to: &str| BTreeMap::from([(to.to_owned(), String::new())]);
    let imports = Imports::from([("a".into(), edge("b")), ("b".into(), edge("c")), ("c".into(), edge("b"))]);
    let circles = circles(&imports, "x");
    assert!(
        circles.len() == 1 && circles[0].contains("b -> c") && !circles[0].contains("a -> b"),
        "{circles:?}"
    );
}
