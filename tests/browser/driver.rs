//! A real headless Chromium, driven by WebDriver (W3C) through Debian's chromedriver.
//!
//! The protocol is a dozen JSON requests; a client crate would add some twenty crates of old versions, so the requests are made
//! here. Every wait is for a condition on the page, is bounded, and reports what the page showed instead.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The longest wait: more than any page needs on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// Between two polls of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(40);
/// The key of an element's id in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const RIGHT: &str = "\u{e014}";
pub const DOWN: &str = "\u{e015}";

/// Limits the tests that run at once: each has a cinema and up to two browsers.
static SLOTS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));

/// Waits for a free slot.
pub async fn slot() -> SemaphorePermit<'static> {
    SLOTS.acquire().await.unwrap()
}

/// The size of the screen and the colour scheme.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

pub const DESKTOP: Screen = Screen { width: 1280, height: 900, dark: false };
pub const PHONE: Screen = Screen { width: 390, height: 844, dark: true };

/// How often chromedriver is started before a test gives up.
const DRIVER_STARTS: usize = 5;

/// Starts chromedriver; returns it and its port.
///
/// With port 0 it takes any free port for IPv4 and then needs the same number for IPv6. If a connection
/// of another test has that number, it ends with "Address already in use", so it is started again.
async fn start_driver() -> (Child, String) {
    for _ in 0..DRIVER_STARTS {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .expect("chromedriver: scripts/install-browser.sh installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = tokio::time::timeout(WAIT_MAX, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return Some(port.trim_end_matches('.').to_owned());
                }
            }
            None
        });
        if let Some(port) = port.await.expect("chromedriver did not start in time") {
            return (driver, port);
        }
    }
    panic!("chromedriver ended {DRIVER_STARTS} times before it was ready")
}

/// One browser with its driver; both end when it is dropped.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    origin: String,
    driver: Child,
}

/// Ends Chromium also where its test has failed: a killed chromedriver would leave it running, and its pages would go on drawing.
impl Drop for Browser {
    fn drop(&mut self) {
        self.end_session();
        // With every process that chromedriver has started.
        if let Some(group) = self.driver.id() {
            let group = nix::unistd::Pid::from_raw(group.cast_signed());
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Browser {
    /// Asks chromedriver to end the browser, as after the last command of a test.
    fn end_session(&self) {
        let Some((address, path)) = self.session.trim_start_matches("http://").split_once('/') else {
            return;
        };
        let Ok(mut driver) = std::net::TcpStream::connect(address) else { return };
        let _ = driver.set_read_timeout(Some(Duration::from_secs(5)));
        let request = format!("DELETE /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        // The answer comes when the browser has ended. A closed session is an error, which changes nothing.
        let _ = driver.write_all(request.as_bytes()).and_then(|()| driver.read(&mut [0; 64]));
    }

    /// Opens a new browser without history for the page of a gateway.
    pub async fn open(origin: &str, screen: Screen) -> Self {
        Self::open_with(origin, screen, &[]).await
    }

    /// The same, with a video file (`.y4m`) in a loop as its camera.
    pub async fn open_with_camera(origin: &str, screen: Screen, film: &std::path::Path) -> Self {
        let film = format!("--use-file-for-fake-video-capture={}", film.display());
        let camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", &film];
        Self::open_with(origin, screen, &camera).await
    }

    async fn open_with(origin: &str, screen: Screen, more: &[&str]) -> Self {
        let (driver, port) = start_driver().await;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        // Chromium's sandbox does not work for root in a container; the pages are our own.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let arguments = [&arguments, more].concat();
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "prefs": {"intl.accept_languages": "en-GB"}},
        }}});
        let created: Value = http
            .post(format!("http://127.0.0.1:{port}/session"))
            .json(&capabilities)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let id = created["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {created}"));
        let session = format!("http://127.0.0.1:{port}/session/{id}");
        let browser = Self { http, session, origin: origin.to_owned(), driver };
        browser.set_screen(screen).await;
        browser
    }

    async fn request(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let url = format!("{}{path}", self.session);
        let request = self.http.request(method.clone(), url);
        let request = if method == Method::POST { request.json(&body) } else { request };
        let response = request.send().await.unwrap();
        let is_success = response.status().is_success();
        let mut body: Value = response.json().await.unwrap();
        let value = body["value"].take();
        if is_success { Ok(value) } else { Err(value) }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.request(Method::POST, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of the Chrome DevTools Protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    pub async fn set_screen(&self, Screen { width, height, dark }: Screen) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", screen).await;
        let theme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": theme},
                              {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Goes to a path of the page, or to a whole address.
    pub async fn go(&self, to: &str) {
        let url = if to.starts_with('/') { format!("{}{to}", self.origin) } else { to.to_owned() };
        self.post("/url", json!({"url": url})).await;
    }

    pub async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    /// Closes another tab and stays in this one.
    pub async fn close_other_tab(&self, tab: &str) {
        let here = self.tab().await;
        self.show_tab(tab).await;
        self.request(Method::DELETE, "/window", Value::Null).await.unwrap();
        self.show_tab(&here).await;
    }

    /// Closes this tab; an empty one stays open.
    pub async fn close_tab(&self) {
        let other = self.post("/window/new", json!({"type": "tab"})).await["handle"].take();
        self.request(Method::DELETE, "/window", Value::Null).await.unwrap();
        self.post("/window", json!({"handle": other})).await;
    }

    /// The handle of the current tab.
    pub async fn tab(&self) -> String {
        self.request(Method::GET, "/window", Value::Null).await.unwrap().as_str().unwrap().to_owned()
    }

    /// Opens a new tab and shows it, which hides the others; returns its handle.
    pub async fn open_tab(&self, screen: Screen) -> String {
        let tab = self.post("/window/new", json!({"type": "tab"})).await["handle"].take();
        let tab = tab.as_str().unwrap().to_owned();
        self.show_tab(&tab).await;
        self.set_screen(screen).await;
        tab
    }

    /// Shows a tab.
    pub async fn show_tab(&self, tab: &str) {
        self.post("/window", json!({"handle": tab})).await;
    }

    /// Cuts this tab's connection, or restores it.
    pub async fn cut(&self, offline: bool) {
        self.devtools("Network.enable", json!({})).await;
        let line =
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.devtools("Network.emulateNetworkConditions", line).await;
    }

    /// Empties the browser's own cache, so that only what the page's worker has stored is left.
    pub async fn forget_files(&self) {
        self.devtools("Network.clearBrowserCache", json!({})).await;
    }

    pub async fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Like [`Self::script`]; the script calls its last argument with the result.
    pub async fn script_later(&self, script: &str) -> Value {
        self.post("/execute/async", json!({"script": script, "args": []})).await
    }

    /// Waits for a condition in JavaScript.
    pub async fn until(&self, condition: &str) {
        let began = Instant::now();
        // Fails while the page is being replaced.
        let script = json!({"script": format!("return Boolean({condition})"), "args": []});
        while self.request(Method::POST, "/execute/sync", script.clone()).await != Ok(Value::Bool(true)) {
            if began.elapsed() > WAIT_MAX {
                let seen = self.script("return location.href + '\\n' + document.body.innerText").await;
                panic!(
                    "not within {WAIT_MAX:?}: {condition}\nthe page: {}",
                    seen.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until [`Self::script_later`] gives this.
    pub async fn until_later(&self, script: &str, wanted: &Value) {
        let began = Instant::now();
        loop {
            let given = self.script_later(script).await;
            if given == *wanted {
                return;
            }
            assert!(began.elapsed() < WAIT_MAX, "{given} instead of {wanted}: {script}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until the page contains this text.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await;
    }

    /// Waits for an element.
    pub async fn find(&self, css: &str) -> String {
        self.until(&format!("document.querySelector({})", json!(css))).await;
        let found = self.post("/element", json!({"using": "css selector", "value": css})).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks an element with the mouse; waits while something covers it.
    pub async fn click(&self, css: &str) {
        let began = Instant::now();
        loop {
            let element = self.find(css).await;
            match self.request(Method::POST, &format!("/element/{element}/click"), json!({})).await {
                Ok(_) => return,
                Err(error) if began.elapsed() > WAIT_MAX => panic!("cannot click {css}: {error}"),
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Clicks the button or link with this text.
    pub async fn press(&self, text: &str) {
        let mark = format!(
            "(() => {{ const all = [...document.querySelectorAll('button, a')]; \
             const element = all.findLast((e) => e.innerText.trim() === {0} && e.checkVisibility()); \
             document.querySelector('[data-pressed]')?.removeAttribute('data-pressed'); \
             element?.setAttribute('data-pressed', ''); return element; }})()",
            json!(text)
        );
        self.until(&mark).await;
        self.click("[data-pressed]").await;
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/clear"), json!({})).await;
        self.post(&format!("/element/{element}/value"), json!({"text": text})).await;
    }

    /// Chooses a local file.
    pub async fn attach(&self, css: &str, file: &std::path::Path) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/value"), json!({"text": file.display().to_string()})).await;
    }

    /// Presses keys at the focused element.
    pub async fn keys(&self, keys: &[&str]) {
        let strokes = keys.iter().flat_map(|key| key.chars()).flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let strokes: Vec<Value> = strokes.collect();
        let keyboard = json!([{"type": "key", "id": "keyboard", "actions": strokes}]);
        self.post("/actions", json!({"actions": keyboard})).await;
    }

    /// The accessible name of the focused element, as a screen reader announces it.
    pub async fn focus(&self) -> String {
        let found = self.request(Method::GET, "/element/active", Value::Null).await.unwrap();
        let element = found[ELEMENT].as_str().unwrap();
        let label =
            self.request(Method::GET, &format!("/element/{element}/computedlabel"), Value::Null).await;
        label.unwrap().as_str().unwrap().to_owned()
    }

    /// Presses Tab, at most 60 times, until the focused element's name begins with `label`.
    pub async fn tab_to(&self, label: &str) {
        let mut seen = Vec::new();
        for _ in 0..60 {
            self.keys(&[TAB]).await;
            let focus = self.focus().await;
            if focus.starts_with(label) {
                return;
            }
            seen.push(focus);
        }
        panic!("Tab did not reach {label}, but {seen:#?}");
    }

    pub async fn address(&self) -> String {
        self.script("return location.pathname").await.as_str().unwrap().to_owned()
    }

    /// Ends the browser.
    pub async fn close(self) {
        drop(self);
    }
}

/// The date on which a showtime begins, by the clock of its auditorium, as the page and `?date=` count days.
pub fn day_of(showtime: &Value) -> String {
    let starts: jiff::Timestamp = showtime["startsAt"].as_str().unwrap().parse().unwrap();
    starts.in_tz(showtime["timeZone"].as_str().unwrap()).unwrap().date().to_string()
}
