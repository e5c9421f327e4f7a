//! Finds the servers' programs: the project's own `.tools/bin` first, then PATH, then Debian's folders of Postgres.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// The first folder that has all of these programs.
pub(super) fn folder_of(programs: &[&str]) -> Option<PathBuf> {
    folders().find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}

/// The path of one program, or an error that says how to get it.
pub(super) fn find(program: &str) -> Result<PathBuf> {
    folder_of(&[program]).map(|folder| folder.join(program)).ok_or_else(|| missing(program))
}

pub(super) fn missing(program: &str) -> anyhow::Error {
    anyhow!(
        "{program} is not installed; run `make install` (or scripts/install.sh), which installs what is missing"
    )
}

fn folders() -> impl Iterator<Item = PathBuf> {
    // Also the source folder that this was built from, so that the program works from any directory.
    let tools =
        [Path::new(".tools/bin").to_owned(), Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin")];
    // PATH is not one of Marquee's settings, so no config.rs reads it.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let absolute = tools.into_iter().filter_map(|folder| std::path::absolute(folder).ok());
    absolute.chain(path).chain(postgres_folders())
}

/// Debian's folders, newest version first.
fn postgres_folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(postgres_folder).collect()
}

/// Debian's folder of this major version.
pub(super) fn postgres_folder(version: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))
}
