//! The tests' mail server: aiosmtpd as a process of its own, on a port that stays the same when it goes away and comes back.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::letters::{Letter, read_folder};

pub struct Sink {
    folder: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Sink {
    /// Keeps its mails in `folder`.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        // Below the ports of outgoing connections, one of which could take it while the server is away.
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = std::iter::repeat_with(|| rand::random_range(20_000..32_000)).find(is_free).unwrap();
        let mut sink = Self { folder: folder.to_owned(), port, running: None };
        sink.come_back();
        sink
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// What to do with the mails to come: take, refuse, defer or hold.
    pub fn is_to(&self, mode: &str) {
        std::fs::write(self.folder.join("mode"), mode).unwrap();
    }

    pub fn go_away(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn come_back(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".tools/smtp/bin/python");
        let mut child = Command::new(&python)
            .arg(root.join("tests/system/smtp_sink.py"))
            .arg(&self.folder)
            .arg(self.port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make install`", python.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the mail server did not start");
        self.running = Some(child);
    }

    /// Every mail that it took, in order.
    pub fn letters(&self) -> Vec<Letter> {
        read_folder(&self.folder)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.go_away();
    }
}
