//! The services in `examples/nest/`, as a developer finds them: compiled by TypeScript and started beside a whole cinema, on
//! Nest 11 and 12. Each receives the events of a sale, gets an answer from Marquee, and emits an event that Marquee stores.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use marquee::local::{Folder, shared_rabbitmq};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::nest::node;
use super::nest_services::until_bound;
use crate::cinema::{Plan, TestCinema};
use crate::harness::events_of;

/// Three compilers run at the same time, and the machine may be busy.
const MAX_WAIT: Duration = Duration::from_secs(180);

/// An example with the version of Nest that it runs on.
#[derive(Debug, Clone, Copy)]
struct Example {
    folder: &'static str,
    nest: u32,
    /// Its queue, where the bridge has to bind it.
    queue: &'static str,
}

const DEFAULT: &str = "default-queue";
const EXAMPLES: [Example; 5] = [
    Example { folder: DEFAULT, nest: 11, queue: "default_11" },
    Example { folder: DEFAULT, nest: 12, queue: "default_12" },
    Example { folder: "topic-exchange", nest: 11, queue: "topic_11" },
    Example { folder: "topic-exchange", nest: 12, queue: "topic_12" },
    // It does not support Nest 12 yet.
    Example { folder: "golevelup", nest: 11, queue: "golevelup_11" },
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies an example next to the packages of its version of Nest, as `npm install` would put them.
fn copy(example: Example, into: &Path) -> PathBuf {
    let nest = into.join(format!("nest{}", example.nest));
    let project = nest.join(example.folder);
    std::fs::create_dir_all(project.join("src")).unwrap();
    let examples = repository().join("examples/nest");
    std::fs::copy(examples.join("events.d.ts"), nest.join("events.d.ts")).unwrap();
    for file in ["package.json", "tsconfig.json"] {
        std::fs::copy(examples.join(example.folder).join(file), project.join(file)).unwrap();
    }
    for file in std::fs::read_dir(examples.join(example.folder).join("src")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), project.join("src").join(file.file_name())).unwrap();
    }
    let packages = repository().join(if example.nest == 12 { "tests/nest/nest12" } else { "tests/nest" });
    std::os::unix::fs::symlink(packages.join("node_modules"), project.join("node_modules")).unwrap();
    project
}

async fn compile(project: &Path) {
    let compiler = repository().join("tests/nest/node_modules/typescript/lib/tsc.js");
    let compiling = Command::new(node()).arg(compiler).current_dir(project).output();
    let compiled = compiling.await.expect("node runs; scripts/install-tests.sh installs it");
    let said = String::from_utf8_lossy(&compiled.stdout).into_owned();
    assert!(compiled.status.success(), "{}: {said}", project.display());
}

/// A running example.
struct Running {
    example: Example,
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Running {
    async fn start(example: Example, folder: &Path, url: &str) -> Self {
        let project = copy(example, folder);
        compile(&project).await;
        let mut process = Command::new(node())
            .arg("dist/main.js")
            .current_dir(&project)
            .env("AMQP_URL", url)
            .env("QUEUE", example.queue)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        for mut from in [
            BufReader::new(Box::new(out) as Box<dyn tokio::io::AsyncRead + Send + Unpin>).lines(),
            BufReader::new(Box::new(err) as Box<dyn tokio::io::AsyncRead + Send + Unpin>).lines(),
        ] {
            let lines = lines.clone();
            tokio::spawn(async move {
                while let Ok(Some(line)) = from.next_line().await {
                    lines.lock().unwrap().push(line);
                }
            });
        }
        let running = Self { example, process, lines };
        running.until("ready").await;
        running
    }

    /// Waits for a line that begins with this, and returns the rest of it.
    async fn until(&self, beginning: &str) -> String {
        let began = Instant::now();
        loop {
            let lines = self.lines.lock().unwrap().clone();
            if let Some(rest) = lines.iter().find_map(|line| line.strip_prefix(beginning)) {
                return rest.to_owned();
            }
            let log = lines.join("\n");
            assert!(began.elapsed() < MAX_WAIT, "{:?}: no line {beginning:?} in:\n{log}", self.example);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// It still runs, and ends in order when it is stopped.
    async fn finish(mut self) {
        let log = self.lines.lock().unwrap().join("\n");
        assert!(self.process.try_wait().unwrap().is_none(), "{:?} has ended:\n{log}", self.example);
        assert!(!log.contains("failed") && !log.contains("PRECONDITION"), "{:?}:\n{log}", self.example);
        self.process.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_receives_a_sale_gets_an_answer_and_emits_an_event() {
    let broker = shared_rabbitmq().await.unwrap();
    let url = broker.create_virtual_host().await.unwrap();
    let bound: Vec<&str> =
        EXAMPLES.iter().filter(|example| example.folder == DEFAULT).map(|example| example.queue).collect();
    let events = ["reservation.created", "reservation.confirmed"];
    let queues: Vec<Value> = bound.iter().map(|queue| json!({"name": queue, "events": events})).collect();
    let plan =
        Plan::default().with("AMQP_URL", &url).with("AMQP_SERVICE_QUEUES", Value::from(queues).to_string());
    let cinema = TestCinema::open_with(plan).await;
    let folder = Folder::temporary().unwrap();
    let starting = EXAMPLES.map(|example| Running::start(example, folder.path(), &url));
    let running = futures::future::join_all(starting).await;
    let queues: Vec<String> = bound.iter().map(|queue| (*queue).to_owned()).collect();
    until_bound(broker, &url, &queues, events.len()).await;

    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    let mut movies = Vec::new();
    for example in &running {
        let held = example.until("1 seats held for ").await;
        assert!(held.ends_with("1 showtimes are on sale"), "the answer to send(): {held}");
        let confirmed = example.until(&format!("confirmed {reservation} as ")).await;
        let (message_id, seats) = confirmed.split_once(": ").unwrap();
        assert_eq!(seats, "A1");
        let stored = events_of(&cinema.cinema().bus, "reservation.confirmed").await;
        assert!(stored.iter().any(|event| event.id == message_id), "{message_id} is the id of the event");
        movies.push(example.until("emitted movie ").await);
    }
    let began = Instant::now();
    for movie in &movies {
        while !events_of(&cinema.cinema().bus, "movie.created")
            .await
            .iter()
            .any(|event| event.payload["movieId"] == json!(movie))
        {
            assert!(began.elapsed() < MAX_WAIT, "the event of an example is not stored");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for example in running {
        example.finish().await;
    }
    cinema.close().await;
}
