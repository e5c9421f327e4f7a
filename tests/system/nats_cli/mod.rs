//! *NATS by hand* of docs/operations.md with the CLI `nats` itself, logged in as the user `operator` of `nats.conf`, on a real
//! deployment: every command of the document runs in the situation that the document describes, and shows what it says.
//!
//! The commands are read from the document. `scripts/install-nats-cli.sh` builds the CLI where there is Go; without the CLI each
//! test prints that it did not run.

mod cases;
mod document;
mod healthy;
mod permissions;
mod trouble;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::cinema::TestCinema;
use cases::Case;

/// Longest run of one command, on a busy machine.
const RUN_MAX: Duration = Duration::from_secs(60);

/// The CLI in `.tools/bin`; `None` where it is not built. Another version on the PATH may print something else.
fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats");
    program.is_file().then_some(program)
}

/// Whether the CLI is there; prints that the test did not run if it is not, past the test's captured output.
fn is_built(test: &str) -> bool {
    let built = program().is_some();
    if !built {
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: {test}: there is no .tools/bin/nats (scripts/install-nats-cli.sh)"
        );
    }
    built
}

/// Opens a deployment, and the CLI with a context for it; `None`, after it has said so, where there is no CLI.
macro_rules! open {
    ($test:expr) => {
        open!($test, $crate::cinema::Plan::default())
    };
    ($test:expr, $plan:expr) => {{
        if !$crate::nats_cli::is_built($test) {
            return;
        }
        let cinema = $crate::cinema::TestCinema::open_with($plan).await;
        let cli = $crate::nats_cli::Cli::open(&cinema).await;
        (cinema, cli)
    }};
}
pub(crate) use open;

/// What a command has printed.
struct Printed {
    command: String,
    /// Its standard output and its standard error.
    text: String,
    success: bool,
}

impl Printed {
    #[track_caller]
    fn shows(&self, wanted: &str) -> &Self {
        assert!(self.text.contains(wanted), "`{}` does not show {wanted:?}:\n{}", self.command, self.text);
        self
    }

    #[track_caller]
    fn hides(&self, unwanted: &str) -> &Self {
        assert!(!self.text.contains(unwanted), "`{}` shows {unwanted:?}:\n{}", self.command, self.text);
        self
    }

    /// The first line with all of these texts.
    fn line(&self, texts: &[&str]) -> Option<&str> {
        self.text.lines().find(|line| texts.iter().all(|text| line.contains(text)))
    }

    /// The cell of a table in the row that has a cell `row`, below the heading `column`.
    #[track_caller]
    fn cell(&self, row: &str, column: &str) -> &str {
        let tables = self.text.lines().map(|line| line.split('│').map(str::trim).collect::<Vec<_>>());
        let tables: Vec<Vec<&str>> = tables.collect();
        let place = tables.iter().find_map(|cells| cells.iter().position(|cell| *cell == column));
        let named = tables.iter().find(|cells| cells.contains(&row));
        match (place, named) {
            (Some(place), Some(cells)) => cells[place],
            _ => panic!("`{}` has no row {row} with {column}:\n{}", self.command, self.text),
        }
    }
}

/// The CLI with a folder of its own for its contexts, and the settings of one deployment in its environment.
struct Cli {
    environment: Vec<(String, String)>,
}

impl Cli {
    /// Makes the context, by the first command of the document.
    async fn open(cinema: &TestCinema) -> Self {
        let home = cinema.folder.path().join("nats-cli");
        std::fs::create_dir_all(&home).unwrap();
        let home = home.display().to_string();
        let program = program().unwrap();
        let folders = [program.parent().unwrap(), Path::new(env!("CARGO_BIN_EXE_marquee")).parent().unwrap()];
        let path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
        let path = std::env::join_paths(folders.map(Path::to_owned).into_iter().chain(path)).unwrap();
        let environment = [
            ("PATH", path.to_string_lossy().into_owned()),
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", home),
            ("DATABASE_URL", cinema.database.connect_options().to_url_lossy().to_string()),
            ("NATS_URL", cinema.nats.url()),
            ("NATS_PASSWORD", cinema.nats.password().to_owned()),
            ("RUST_LOG", "error".to_owned()),
        ];
        let cli = Self { environment: environment.map(|(name, value)| (name.to_owned(), value)).into() };
        cli.run(cases::CONTEXT).await.shows("marquee");
        cli
    }

    /// Sets a variable that commands of the document name, such as `RESERVATION`.
    fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn command(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        // Killed as a whole with everything in its pipeline.
        shell.arg("-c").arg(command).env_clear().envs(self.environment.iter().cloned()).process_group(0);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        shell
    }

    /// Runs a command as it is in the document.
    async fn run(&self, command: &str) -> Printed {
        assert!(
            document::commands().iter().any(|documented| documented == command),
            "docs/operations.md has no command `{command}`"
        );
        self.run_any(command).await
    }

    /// Runs a command that the document need not have.
    async fn run_any(&self, command: &str) -> Printed {
        let child = self.command(command).spawn().unwrap();
        let group = child.id().unwrap().cast_signed();
        let Ok(output) = tokio::time::timeout(RUN_MAX, child.wait_with_output()).await else {
            kill(group);
            panic!("`{command}` did not end within {RUN_MAX:?}");
        };
        let output = output.unwrap();
        Printed {
            command: command.to_owned(),
            text: [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat(),
            success: output.status.success(),
        }
    }

    /// Runs commands of the document until each shows what it should: what they report may lag behind by a moment.
    async fn check(&self, cases: &[Case]) {
        for case in cases {
            let began = Instant::now();
            loop {
                let printed = self.run(case.command).await;
                let is_shown = case.shows.iter().all(|text| printed.text.contains(text));
                if is_shown && printed.success || began.elapsed() > RUN_MAX {
                    assert!(printed.success, "`{}` failed:\n{}", case.command, printed.text);
                    for text in case.shows {
                        printed.shows(text);
                    }
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Starts a command of the document that prints messages until it is ended, and waits until it has subscribed.
    async fn follow(&self, command: &str) -> Following {
        assert!(document::commands().iter().any(|documented| documented == command), "{command}");
        let mut child = self.command(command).spawn().unwrap();
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        let forward = |stream: Box<dyn tokio::io::AsyncRead + Send + Unpin>| {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut read = BufReader::new(stream).lines();
                while let Ok(Some(line)) = read.next_line().await {
                    let _ = sender.send(line);
                }
            });
        };
        forward(Box::new(child.stdout.take().unwrap()));
        forward(Box::new(child.stderr.take().unwrap()));
        let mut following = Following { command: command.to_owned(), child, lines, seen: String::new() };
        let is_started = following.has_printed("Subscribing on", RUN_MAX).await;
        assert!(is_started, "`{command}`:\n{}", following.seen);
        following
    }
}

/// A command that prints messages as they come; it is killed when this is dropped.
struct Following {
    command: String,
    child: Child,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
    seen: String,
}

impl Following {
    /// Waits until it has printed a line with this text; false when it has not within this time.
    async fn has_printed(&mut self, wanted: &str, within: Duration) -> bool {
        let printed = async {
            while let Some(line) = self.lines.recv().await {
                self.seen.push_str(&line);
                self.seen.push('\n');
                if line.contains(wanted) {
                    return true;
                }
            }
            false
        };
        tokio::time::timeout(within, printed).await.unwrap_or(false)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(group) = self.child.id() {
            kill(group.cast_signed());
        }
    }
}

/// Kills a shell and what it started.
fn kill(group: i32) {
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
}
