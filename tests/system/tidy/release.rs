//! The version: the workspace, the lock file, the changelog and the Debian package name the same one, and each release names its
//! date and its commit (`docs/releasing.md`).

use std::path::Path;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A heading of `CHANGELOG.md` with what follows it.
struct Release {
    version: String,
    date: String,
    text: String,
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The releases of the changelog, newest first, without what is unreleased.
fn releases() -> Vec<Release> {
    let changelog = document("CHANGELOG.md");
    let mut sections = changelog.split("\n## ").skip(1);
    let unreleased = sections.next().unwrap_or_default();
    assert!(unreleased.starts_with("[Unreleased]\n"), "CHANGELOG.md begins with [Unreleased]");
    let release = |section: &str| {
        let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
        let (version, date) = heading.split_once(" - ").unwrap_or((heading, ""));
        let version = version.trim_start_matches('[').trim_end_matches(']').to_owned();
        Release { version, date: date.to_owned(), text: text.to_owned() }
    };
    sections.map(release).collect()
}

/// Major, minor and patch of `1.2.3` or `1.2.3-dev`.
fn numbers(version: &str) -> [u32; 3] {
    let plain = version.split('-').next().unwrap_or_default();
    let parts: Vec<u32> = plain.split('.').map(|part| part.parse().expect("a number")).collect();
    parts.try_into().unwrap_or_else(|parts| panic!("{version} has {parts:?}"))
}

#[test]
fn a_release_names_its_version_its_date_and_its_commit() {
    let releases = releases();
    let is_this = |release: &Release| release.version == VERSION;
    for release in &releases {
        assert!(!release.version.contains('-'), "{} is no version of a release", release.version);
        let is_date = release.date.len() == 10 && release.date.split('-').count() == 3;
        assert!(is_date, "{} has the date {:?}, which is not YYYY-MM-DD", release.version, release.date);
        let commit = release.text.split("commit `").nth(1).and_then(|text| text.split('`').next());
        let is_commit = commit.is_some_and(|commit| {
            (7..=40).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit())
        });
        // The commit of a release cannot contain its own name; the next commit adds it.
        assert!(is_commit || is_this(release), "{} does not name its commit", release.version);
    }
    let is_in_order = |pair: &[Release]| {
        numbers(&pair[0].version) > numbers(&pair[1].version) && pair[0].date >= pair[1].date
    };
    assert!(releases.windows(2).all(is_in_order), "releases are listed newest first");
}

#[test]
fn the_version_is_that_of_the_newest_release_or_one_in_development_after_it() {
    let newest = releases().into_iter().next().expect("there is a release");
    match VERSION.split_once('-') {
        None => assert_eq!(VERSION, newest.version, "Cargo.toml has a release that CHANGELOG.md does not"),
        Some((_, suffix)) => {
            assert_eq!(suffix, "dev", "{VERSION} is neither a release nor one in development");
            assert!(numbers(VERSION) > numbers(&newest.version), "{VERSION} is before {}", newest.version);
        }
    }
}

/// `cargo --locked`, which images and packages are built with, refuses a lock file of another version.
#[test]
fn every_crate_of_the_workspace_and_the_lock_files_have_the_version() {
    for (lock, names) in [
        ("Cargo.lock", &["actors", "bench", "bridge", "bus", "chaos", "gateway", "marquee", "sandbox"][..]),
        ("fuzz/Cargo.lock", &["actors", "bus"]),
    ] {
        let text = document(lock);
        for name in names {
            let package = format!("[[package]]\nname = \"{name}\"\nversion = \"{VERSION}\"\n");
            assert!(text.contains(&package), "{lock} has another version of {name}; run cargo check");
        }
    }
    for folder in ["actors", "bench", "bridge", "bus", "chaos", "gateway", "sandbox"] {
        let manifest = document(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains("\nversion.workspace = true\n"), "{folder} has a version of its own");
    }
}

/// Debian sorts `~` before nothing, so that a release is newer than what was in development before it.
#[test]
fn the_debian_package_has_the_version() {
    let wanted = format!("marquee ({}-1) ", VERSION.replace('-', "~"));
    let changelog = document("packaging/deb/changelog");
    assert!(changelog.starts_with(&wanted), "packaging/deb/changelog does not begin with {wanted:?}");
}

/// `docs/operations.md` names the scripts in the package; backup and restore read the third one from their own folder.
#[test]
fn the_debian_package_has_the_scripts_of_backup_and_restore() {
    let manifest = document("Cargo.toml");
    for name in ["backup", "restore", "database"] {
        let asset = format!("[\"scripts/{name}.sh\", \"usr/share/marquee/scripts/\", \"755\"]");
        assert!(manifest.contains(&asset), "the package lacks scripts/{name}.sh");
    }
    assert!(document("docs/operations.md").contains("/usr/share/marquee/scripts/"));
}

/// A host without its file of settings would not start.
#[test]
fn the_debian_package_has_the_settings_of_every_part() {
    let (manifest, script) = (document("Cargo.toml"), document("scripts/build-deb.sh"));
    for part in marquee::hosts::all().chain(["gateway"]) {
        assert!(manifest.contains(&format!("\"/etc/marquee/{part}.env\"")), "conf-files lack {part}");
        let is_written = script
            .lines()
            .any(|line| line.starts_with("for part in ") && line.split([' ', ';']).any(|word| word == part));
        assert!(is_written, "scripts/build-deb.sh does not write {part}.env");
    }
}
