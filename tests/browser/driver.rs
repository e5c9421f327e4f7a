//! A real headless Chromium, driven by WebDriver (W3C) through Debian's chromedriver.
//!
//! The protocol is a dozen JSON requests; the client for it brings some twenty crates of old versions, so these are spoken
//! here. Every wait is for something on the page, has a bound, and tells what was there instead.

use std::process::Stdio;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Longer than any page takes on a busy machine; a failing test should still end soon.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(40);
/// The name of an element's id in WebDriver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const RIGHT: &str = "\u{e014}";
pub const DOWN: &str = "\u{e015}";

/// Each test has a cinema and up to two browsers, on few cores.
static SLOTS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));

/// Waits until it is this test's turn.
pub async fn turn() -> SemaphorePermit<'static> {
    SLOTS.acquire().await.unwrap()
}

/// How a browser looks at the page.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

pub const DESK: Look = Look { width: 1280, height: 900, dark: false };
pub const PHONE: Look = Look { width: 390, height: 844, dark: true };

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
            .spawn()
            .expect("chromedriver: scripts/install-browser.sh installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = tokio::time::timeout(PATIENCE, async {
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

/// One browser with its driver; both end with it.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    origin: String,
    _driver: Child,
}

impl Browser {
    /// Opens a browser of its own, without any history, for the page of a gateway.
    pub async fn open(origin: &str, look: Look) -> Self {
        Self::open_with(origin, look, &[]).await
    }

    /// The same whose camera sees a film (`.y4m`), over and over.
    pub async fn open_with_camera(origin: &str, look: Look, film: &std::path::Path) -> Self {
        let film = format!("--use-file-for-fake-video-capture={}", film.display());
        let camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", &film];
        Self::open_with(origin, look, &camera).await
    }

    async fn open_with(origin: &str, look: Look, more: &[&str]) -> Self {
        let (driver, port) = start_driver().await;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        // A container's root has no sandbox; the pages are our own.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let arguments = [&arguments, more].concat();
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "prefs": {"intl.accept_languages": "en-GB"}},
        }}});
        let begun: Value = http
            .post(format!("http://127.0.0.1:{port}/session"))
            .json(&capabilities)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let id = begun["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {begun}"));
        let session = format!("http://127.0.0.1:{port}/session/{id}");
        let browser = Self { http, session, origin: origin.to_owned(), _driver: driver };
        browser.look(look).await;
        browser
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let url = format!("{}{path}", self.session);
        let request = self.http.request(method.clone(), url);
        let request = if method == Method::POST { request.json(&body) } else { request };
        let answer = request.send().await.unwrap();
        let is_success = answer.status().is_success();
        let mut body: Value = answer.json().await.unwrap();
        let value = body["value"].take();
        if is_success { Ok(value) } else { Err(value) }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of the Chrome DevTools Protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    pub async fn look(&self, Look { width, height, dark }: Look) {
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

    /// Closes the page as somebody who goes away does.
    pub async fn leave(&self) {
        self.post("/url", json!({"url": "about:blank"})).await;
    }

    /// Closes this tab; another one, empty, stays.
    pub async fn close_tab(&self) {
        let other = self.post("/window/new", json!({"type": "tab"})).await["handle"].take();
        self.ask(Method::DELETE, "/window", Value::Null).await.unwrap();
        self.post("/window", json!({"handle": other})).await;
    }

    pub async fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// As [`Self::script`]; the script's last argument is a function that it calls with its result.
    pub async fn script_later(&self, script: &str) -> Value {
        self.post("/execute/async", json!({"script": script, "args": []})).await
    }

    /// Waits for a condition, as JavaScript.
    pub async fn until(&self, condition: &str) {
        let began = Instant::now();
        // A page that is just going away cannot be asked.
        let script = json!({"script": format!("return Boolean({condition})"), "args": []});
        while self.ask(Method::POST, "/execute/sync", script.clone()).await != Ok(Value::Bool(true)) {
            if began.elapsed() > PATIENCE {
                let seen = self.script("return location.href + '\\n' + document.body.innerText").await;
                panic!("never: {condition}\nthere was: {}", seen.as_str().unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the page says this.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await;
    }

    /// Waits for an element.
    pub async fn find(&self, css: &str) -> String {
        self.until(&format!("document.querySelector({})", json!(css))).await;
        let found = self.post("/element", json!({"using": "css selector", "value": css})).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks with the mouse, where the element is; waits while something covers it.
    pub async fn click(&self, css: &str) {
        let began = Instant::now();
        loop {
            let element = self.find(css).await;
            match self.ask(Method::POST, &format!("/element/{element}/click"), json!({})).await {
                Ok(_) => return,
                Err(error) if began.elapsed() > PATIENCE => panic!("cannot click {css}: {error}"),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Clicks the button or link with this text.
    pub async fn press(&self, text: &str) {
        let mark = format!(
            "(() => {{ const all = [...document.querySelectorAll('button, a')]; \
             const one = all.findLast((e) => e.innerText.trim() === {0} && e.checkVisibility()); \
             document.querySelector('[data-pressed]')?.removeAttribute('data-pressed'); \
             one?.setAttribute('data-pressed', ''); return one; }})()",
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

    /// Chooses a file of this machine.
    pub async fn attach(&self, css: &str, file: &std::path::Path) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/value"), json!({"text": file.display().to_string()})).await;
    }

    /// Presses keys, wherever the focus is.
    pub async fn keys(&self, keys: &[&str]) {
        let strokes = keys.iter().flat_map(|key| key.chars()).flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let strokes: Vec<Value> = strokes.collect();
        let keyboard = json!([{"type": "key", "id": "keyboard", "actions": strokes}]);
        self.post("/actions", json!({"actions": keyboard})).await;
    }

    /// What has the focus, by its accessible name: what a screen reader says.
    pub async fn focus(&self) -> String {
        let found = self.ask(Method::GET, "/element/active", Value::Null).await.unwrap();
        let element = found[ELEMENT].as_str().unwrap();
        let label = self.ask(Method::GET, &format!("/element/{element}/computedlabel"), Value::Null).await;
        label.unwrap().as_str().unwrap().to_owned()
    }

    /// Goes on with Tab until the focus is on what begins so; nobody presses it more often.
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
        panic!("Tab never comes to {label}, but to {seen:#?}");
    }

    pub async fn address(&self) -> String {
        self.script("return location.pathname").await.as_str().unwrap().to_owned()
    }

    pub async fn close(self) {
        let _ = self.ask(Method::DELETE, "", Value::Null).await;
    }
}
