//! The mail server of the tests: aiosmtpd in a process of its own, on a port that stays the same over restarts.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::received_mail::{ReceivedMail, read_folder};

pub struct SmtpServer {
    folder: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl SmtpServer {
    /// Starts a server that stores its mails in `folder`.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        // Below the ports of outgoing connections, one of which could take the port while the server is stopped.
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = std::iter::repeat_with(|| rand::random_range(20_000..32_000)).find(is_free).unwrap();
        let mut server = Self { folder: folder.to_owned(), port, running: None };
        server.start_again();
        server
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Sets what the server does with the next mails; the modes are in `smtp_server.py`.
    pub fn set_mode(&self, mode: &str) {
        std::fs::write(self.folder.join("mode"), mode).unwrap();
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn start_again(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".tools/smtp/bin/python");
        let mut child = Command::new(&python)
            .arg(root.join("tests/system/mail/smtp_server.py"))
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

    /// Every mail that it accepted, in order.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        read_folder(&self.folder)
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.stop();
    }
}
