//! From a demo to a public deployment: `marquee up` and `marquee seed` with an https address.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marquee::local::Folder;
use serde_json::json;

use crate::cinema::{TestCinema, answer};

const KNOWN: &str = "popcorn-2026";
/// Part of the last line that `marquee up` prints once it is ready.
const LAST_LINE: &str = "README.md";
/// Servers, migrations and the demo take a while on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

fn up(data: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
    command.args(["up", "--data"]).arg(data).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("RUST_LOG", "warn").envs(settings.iter().copied());
    command
}

/// A running `marquee up` with its own servers, and what it printed until it was ready.
struct Up {
    child: Child,
    printed: String,
    url: String,
}

impl Up {
    fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        // For the requests of this test. Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = up(data, settings).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                // The test may have ended.
                let _ = sender.send(line.unwrap());
            }
        });
        let mut printed = String::new();
        while !printed.contains(LAST_LINE) {
            let line = lines.recv_timeout(START_MAX).unwrap_or_else(|error| {
                panic!("{error}; it ended with {:?} and printed {printed}", child.try_wait())
            });
            printed.push_str(&line);
            printed.push('\n');
        }
        let port = settings.iter().find(|(name, _)| *name == "HTTP_ADDR").unwrap().1;
        Self { child, printed, url: format!("http://{port}") }
    }

    /// Whether a login succeeds.
    async fn can_log_in(&self, email: &str, password: &str) -> bool {
        let body = json!({"email": email, "password": password});
        let request = reqwest::Client::new().post(format!("{}/v1/auth/login", self.url)).json(&body);
        match answer(request.send().await.unwrap()).await.unwrap().status.as_u16() {
            200 => true,
            401 => false,
            other => panic!("login answered {other}"),
        }
    }

    /// The password that was printed for an account.
    fn printed_password(&self, email: &str) -> Option<&str> {
        let line = self.printed.lines().find(|line| line.contains(email))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        words.windows(2).find(|pair| pair[1] == "(shown").map(|pair| pair[0])
    }

    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn free_addr() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

const ACCOUNTS: [&str; 3] = ["owner@marquee.example", "staff@marquee.example", "ada@marquee.example"];

#[test]
fn up_with_an_https_address_names_every_unsafe_setting_before_it_writes_anything() {
    let folder = Folder::temporary().unwrap();
    let data = folder.path().join("data");
    let settings = [
        ("PUBLIC_URL", "https://kino.example"),
        ("RATE_LIMIT_DISABLED", "true"),
        ("CORS_ORIGINS", "*"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("SUPER_ADMIN_EMAIL", "boss@kino.example"),
        ("SUPER_ADMIN_PASSWORD", KNOWN),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_change-me"),
        ("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"),
    ];
    let output = up(&data, &settings).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for name in settings[1..].iter().map(|(name, _)| *name).filter(|name| *name != "SUPER_ADMIN_EMAIL") {
        assert!(error.contains(&format!("  {name} ")), "{name}: {error}");
    }
    assert!(error.contains("PAYMENT_API_URL is not set"), "the sandbox charges nobody: {error}");
    assert!(!error.contains(KNOWN) && !error.contains("whsec_"), "{error}");
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_https_address_passwords_are_random_and_shown_once_and_the_page_says_that_nobody_is_charged()
{
    let folder = Folder::temporary().unwrap();
    let (data, addr) = (folder.path().join("data"), free_addr());
    let settings =
        [("PUBLIC_URL", "https://kino.example"), ("SANDBOX", "true"), ("HTTP_ADDR", addr.as_str())];
    let first = Up::start(&data, &settings);
    let mut passwords = Vec::new();
    for email in ACCOUNTS {
        let password =
            first.printed_password(email).unwrap_or_else(|| panic!("{email}: {}", first.printed)).to_owned();
        assert!(!first.can_log_in(email, KNOWN).await, "{email}");
        assert!(first.can_log_in(email, &password).await, "{email}");
        passwords.push(password);
    }
    let page = reqwest::get(&first.url).await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"<meta name="marquee-sandbox" content="true">"#), "{page}");
    for file in ["postgres/password", "nats/password", "redis/password"] {
        let secret = std::fs::read_to_string(data.join(file)).unwrap();
        assert!(!first.printed.contains(&secret), "the password in {file} is printed");
    }
    first.stop();

    let second = Up::start(&data, &settings);
    for (email, password) in ACCOUNTS.into_iter().zip(&passwords) {
        assert!(!second.printed.contains(password.as_str()), "printed again: {}", second.printed);
        assert!(second.can_log_in(email, password).await, "{email}");
    }
    second.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_has_the_readmes_password_and_does_not_print_a_configured_one() {
    let folder = Folder::temporary().unwrap();
    let addr = free_addr();
    let (email, own) = ("boss@kino.example", "a long one of my own");
    let settings =
        [("HTTP_ADDR", addr.as_str()), ("SUPER_ADMIN_EMAIL", email), ("SUPER_ADMIN_PASSWORD", own)];
    let demo = Up::start(&folder.path().join("data"), &settings);
    assert!(demo.printed.contains(KNOWN) && !demo.printed.contains(own), "{}", demo.printed);
    assert!(demo.can_log_in("ada@marquee.example", KNOWN).await && demo.can_log_in(email, own).await);
    let page = reqwest::get(&demo.url).await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"<meta name="marquee-sandbox" content="false">"#), "{page}");
    demo.stop();

    // With an https address the same data would leave that account open to everybody.
    let settings = [
        ("HTTP_ADDR", addr.as_str()),
        ("SUPER_ADMIN_EMAIL", email),
        ("SUPER_ADMIN_PASSWORD", own),
        ("PUBLIC_URL", "https://kino.example"),
        ("SANDBOX", "true"),
    ];
    let output = up(&folder.path().join("data"), &settings).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("ada@marquee.example, staff@marquee.example"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_sets_known_passwords_only_if_the_public_address_is_local() {
    for (public_url, is_demo) in
        [("http://127.0.0.1:8080", true), ("http://kino.example", false), ("https://kino.example", false)]
    {
        let cinema = TestCinema::open().await;
        let output = Command::new(env!("CARGO_BIN_EXE_marquee"))
            .arg("seed")
            .env("DATABASE_URL", cinema.database_url())
            .env("NATS_URL", cinema.nats.url())
            .env("NATS_PASSWORD", cinema.nats.password())
            .env("PUBLIC_URL", public_url)
            .env("RUST_LOG", "error")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed} {}", String::from_utf8_lossy(&output.stderr));
        for email in &ACCOUNTS[1..] {
            let log_in = async |password: &str| {
                let body = json!({"email": email, "password": password});
                cinema.call(reqwest::Method::POST, "/v1/auth/login", None, Some(body)).await.status.as_u16()
            };
            assert_eq!(log_in(KNOWN).await, if is_demo { 200 } else { 401 }, "{public_url} {email}");
            let line = printed.lines().find(|line| line.contains(email));
            assert_eq!(line.is_none(), is_demo, "{public_url}: {printed}");
            if let Some(line) = line {
                let password = line.split_whitespace().nth(2).unwrap();
                assert_eq!(log_in(password).await, 200, "{public_url} {line}");
            }
        }
        cinema.close().await;
    }
}
