//! QR codes as scanners read them: by zbar, from pictures of the screen and of pages of a PDF, which poppler draws.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marquee::local::Folder;
use serde_json::{Value, json};

use crate::driver::Browser;

/// Runs a program in a folder; returns what it prints. `zbarimg` ends with 4 where it finds nothing.
fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let ran = Command::new(program).args(arguments).current_dir(folder).output();
    let ran = ran.unwrap_or_else(|e| panic!("{program}: scripts/install-browser.sh installs it: {e}"));
    let is_fine = ran.status.success() || (program == "zbarimg" && ran.status.code() == Some(4));
    assert!(is_fine, "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn decoded(data: &Value) -> Vec<u8> {
    STANDARD.decode(data.as_str().expect("base64")).unwrap()
}

/// The codes in a picture, as base64 of a PNG.
pub fn codes_of(picture: &Value) -> Vec<String> {
    let folder = Folder::temporary().unwrap();
    std::fs::write(folder.path().join("picture.png"), decoded(picture)).unwrap();
    codes(folder.path(), "picture.png")
}

fn codes(folder: &Path, file: &str) -> Vec<String> {
    run("zbarimg", &["-q", "--raw", "-Sdisable", "-Sqrcode.enable", file], folder)
        .lines()
        .map(str::to_owned)
        .collect()
}

impl Browser {
    /// The codes on the screen.
    pub async fn codes_on_screen(&self) -> Vec<String> {
        let picture = self.devtools("Page.captureScreenshot", json!({"format": "png"})).await;
        codes_of(&picture["data"])
    }

    /// Prints the page: the codes of each sheet, and all of its text.
    pub async fn print(&self) -> (Vec<Vec<String>>, String) {
        let printed = self.devtools("Page.printToPDF", json!({"printBackground": false})).await;
        read_pdf(&decoded(&printed["data"]))
    }
}

/// The codes of each page of a PDF, and its text.
pub fn read_pdf(content: &[u8]) -> (Vec<Vec<String>>, String) {
    let folder = Folder::temporary().unwrap();
    let path = folder.path();
    std::fs::write(path.join("read.pdf"), content).unwrap();
    run("pdftoppm", &["-r", "110", "-png", "read.pdf", "page"], path);
    let mut pages: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("page"))
        .collect();
    pages.sort();
    let text = run("pdftotext", &["-layout", "read.pdf", "-"], path);
    (pages.iter().map(|page| codes(path, page)).collect(), text)
}
