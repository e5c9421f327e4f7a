//! Mails as other programs read them: Python's parsers, icalendar, poppler and zbar (`read_mail.py`).

use std::path::{Path, PathBuf};
use std::process::Command;

use marquee::local::Folder;
use serde_json::Value;

use crate::cinema::TestCinema;

impl TestCinema {
    /// What other programs read in the sent mail of this kind about the reservation.
    pub async fn read_mail(&self, reservation: &str, kind: &str) -> Value {
        let sent = self.until_mail(reservation, kind, "SENT").await;
        let id = sent["id"].as_str().unwrap();
        let files = std::fs::read_dir(self.mail_dir()).unwrap().map(|entry| entry.unwrap().path());
        let is_mail = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(id);
        let path = files.into_iter().find(is_mail).unwrap_or_else(|| panic!("no file of {sent}"));
        read_file(&path)
    }
}

pub fn read_file(path: &Path) -> Value {
    let read = read(path);
    assert_eq!(read["defects"], serde_json::json!([]), "{}", path.display());
    read
}

/// What other programs read in a PDF.
pub fn read_pdf(content: &[u8]) -> Value {
    let folder = Folder::temporary().unwrap();
    let path = folder.path().join("read.pdf");
    std::fs::write(&path, content).unwrap();
    read(&path)
}

fn read(path: &Path) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join(".tools/smtp/bin/python"))
        .arg(root.join("tests/system/mail/read_mail.py"))
        .arg(path)
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run `make install`"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", path.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The texts of a list.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap_or_else(|| panic!("no list: {list}"))
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}
