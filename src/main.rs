//! The `marquee` program: one binary for everything, so that one image is shipped.

use clap::{Parser, Subcommand};
use marquee::command;
use marquee::operate::{self, DeadLetters, Events};
use marquee::signals::Signals;

/// A busy process spent a quarter of its CPU time in glibc's allocator, whose arenas are slow when one thread allocates and
/// another frees (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "marquee", version, about = "Sells cinema seats", long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The whole cinema in one process, on local servers that it starts itself (this is the default)
    Up {
        /// The folder for the data of local servers and for media
        #[arg(long, default_value = ".data")]
        data: std::path::PathBuf,
    },
    /// One actor host, as in production
    Host {
        /// auth, movie, reservation, payment, notification, scheduler or bridge
        domain: String,
    },
    /// The REST gateway
    Gateway,
    /// Bring the database's schemas up to date
    Migrate,
    /// Check whether a host, gateway or sandbox of this machine is ready; for the health checks of containers
    Ready {
        /// Its HEALTH_ADDR, HTTP_ADDR or --addr
        addr: std::net::SocketAddr,
    },
    /// Create the key that signs access tokens, unless the file exists
    Key { file: std::path::PathBuf },
    /// Add the demo cinema to the database, or what is missing of it
    Seed,
    /// Show the settings of a host or of the gateway, with secrets hidden, or everything that is wrong with them
    Config {
        /// gateway, or a host's name
        part: String,
    },
    /// Check seats, money, sagas and outboxes in the live database; exit code 1 when something is wrong
    Fsck,
    /// A first look at a deployment: settings, servers, rights, room, clocks, hosts, lag; exit code 1 when something fails
    Doctor,
    /// Messages that their consumer could not handle
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Events of the stream
    #[command(subcommand)]
    Events(Events),
    /// Print a document that is generated from the contract
    #[command(hide = true)]
    Document { document: Document },
    /// The sandbox payment provider, speaking Stripe's API
    Sandbox {
        #[arg(long, default_value = "127.0.0.1:12111")]
        addr: std::net::SocketAddr,
        /// The log file: every call is written to it before it is answered
        #[arg(long, default_value = ".data/sandbox.jsonl")]
        log: std::path::PathBuf,
        /// The URL to which webhooks are sent
        #[arg(long)]
        webhook_url: Option<String>,
        /// The address at which browsers reach the payment page, if it is not `addr`
        #[arg(long)]
        public_url: Option<String>,
    },
}

#[derive(Clone, clap::ValueEnum)]
enum Document {
    Openapi,
    Asyncapi,
    Postman,
}

impl Document {
    fn text(&self) -> String {
        match self {
            Self::Openapi => format!("{:#}\n", gateway::openapi()),
            Self::Asyncapi => marquee::document::asyncapi(),
            Self::Postman => marquee::document::postman(),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Host { domain }) => marquee::config::this_is(domain),
        Some(Command::Gateway) => marquee::config::this_is("gateway"),
        Some(Command::Config { part }) => marquee::config::this_is(part),
        _ => {}
    }
    let descriptors = marquee::descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let traces = marquee::telemetry::install(runtime.handle())?;
    marquee::descriptors::warn_if_few(descriptors);
    let done = runtime.block_on(async {
        let signals = Signals::install()?;
        run(arguments.command.unwrap_or(Command::Up { data: ".data".into() }), signals).await
    });
    traces.finish();
    // Blocking threads (a password being hashed) must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

/// Commands that serve until a signal shut down gracefully; the others are aborted by a signal.
async fn run(command: Command, signals: Signals) -> anyhow::Result<()> {
    let once = signals.clone();
    match command {
        Command::Up { data } => command::up(&data, signals).await,
        Command::Host { domain } => command::host(&domain, signals).await,
        Command::Gateway => command::gateway(signals).await,
        Command::Sandbox { addr, log, webhook_url, public_url } => {
            let urls = command::SandboxUrls { webhook_url, public_url };
            command::sandbox(addr, log, urls, signals).await
        }
        Command::Migrate => once.or_stopped(command::migrate()).await,
        Command::Seed => once.or_stopped(command::seed()).await,
        Command::Ready { addr } => once.or_stopped(command::ready(addr)).await,
        Command::Fsck => once.or_stopped(marquee::fsck::run(marquee::config::environment())).await,
        Command::Doctor => once.or_stopped(marquee::doctor::run(marquee::config::environment())).await,
        Command::DeadLetters(command) => once.or_stopped(operate::dead_letters(command)).await,
        Command::Events(command) => once.or_stopped(operate::events(command)).await,
        Command::Key { file } => marquee::config::signing_key(&file).map(drop),
        Command::Config { part } => command::config(&part),
        Command::Document { document } => {
            print!("{}", document.text());
            Ok(())
        }
    }
}
