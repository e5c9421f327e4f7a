//! The settings of the hosts, read from the environment, typed and with bounds. Every default is the contract's.

use std::path::PathBuf;
use std::time::Duration;

use bus::address::Address;
use bus::config::{Environment, is_loopback};
use bus::contract::auth::{KeySet, Register};
use bus::contract::reservation::RefundPolicy;
use bus::contract::site::{Contact, Legal, SiteFields};
use bus::contract::{Fields, Request};

/// How `DATABASE_URL` may begin.
pub const DATABASE_SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// What every host needs.
#[derive(Clone)]
pub struct HostConfig {
    pub database_url: String,
    pub jwt_public_keys: KeySet,
}

impl HostConfig {
    pub fn read(environment: &mut Environment) -> Self {
        let database_url = database_url(environment);
        Self { database_url, jwt_public_keys: public_keys(environment) }
    }
}

/// `DATABASE_URL`, with the password in `DATABASE_PASSWORD` if the address has none.
pub fn database_url(environment: &mut Environment) -> String {
    let url = environment.required_url("DATABASE_URL", &DATABASE_SCHEMES);
    environment.check_password_in_url("DATABASE_URL", &url);
    // Read in any case, so that `marquee config` lists it.
    let has_password = environment.get("DATABASE_PASSWORD").is_some();
    match Address::parse(&url) {
        Ok(mut address) if has_password => {
            environment.add_password("DATABASE_URL", &mut address, "DATABASE_PASSWORD");
            address.canonical(&address.host)
        }
        _ => url,
    }
}

/// Keys that access tokens may be signed with, besides those that the auth host publishes.
pub fn public_keys(environment: &mut Environment) -> KeySet {
    let keys = environment.get("JWT_PUBLIC_KEYS");
    let keys = keys.as_deref().map(serde_json::from_str).transpose().unwrap_or_else(|_| {
        environment.problem("JWT_PUBLIC_KEYS", "must be a JSON Web Key Set");
        None
    });
    keys.unwrap_or_default()
}

/// `RETENTION_DAYS`, if it is set.
fn retention(environment: &mut Environment) -> Option<Duration> {
    let days = environment.get("RETENTION_DAYS")?;
    match days.trim().parse::<u64>() {
        Ok(days @ 1..=36_500) => Some(Duration::from_secs(days * 24 * 60 * 60)),
        _ => {
            environment.problem("RETENTION_DAYS", "must be a number from 1 to 36500");
            None
        }
    }
}

/// The rules of holding and cancelling.
#[derive(Debug, Clone)]
pub struct ReservationSettings {
    pub hold: Duration,
    /// The longest a hold may last, with the extension when paying begins.
    pub hold_max: Duration,
    /// How long, after the hold, the provider is asked about a begun payment before the seats are released.
    pub grace: Duration,
    pub seats_per_order_max: usize,
    pub open_holds_max: usize,
    /// Until how long before the show a confirmed reservation may be cancelled for its money.
    pub refund_until: Duration,
    /// How much of what was paid that gives back.
    pub refund_percent: u8,
    /// How long before the show guests can buy no more.
    pub sales_end: Duration,
    /// `None` limits unpaid seats by `open_holds_max` orders only.
    pub limits: Option<HoldLimits>,
    /// How long an order keeps its address after its show. `None`: until its customer is erased.
    pub retention: Option<Duration>,
}

/// Limits on unpaid seats, so that nobody keeps a hall empty by holding it.
#[derive(Debug, Clone)]
pub struct HoldLimits {
    /// Unpaid seats of one account in one showtime.
    pub seats_per_showtime_max: usize,
    /// After two unpaid holds. Zero: no waiting.
    pub cooldown: Duration,
    /// Open holds of one network.
    pub holds_per_network_max: usize,
    /// How much of a showtime's seats several accounts of one network may hold.
    pub network_percent: u8,
    /// Free orders need a proven e-mail address, since no payment proves that there is a customer.
    pub free_needs_proof: bool,
}

impl HoldLimits {
    fn read(environment: &mut Environment, seats_per_order_max: usize) -> Option<Self> {
        // The default never refuses a single order that is otherwise allowed.
        let seats =
            environment.number("HOLD_SEATS_PER_SHOWTIME_MAX", seats_per_order_max.max(10), 1..=10_000);
        if seats < seats_per_order_max {
            environment.problem("HOLD_SEATS_PER_SHOWTIME_MAX", "must not be less than SEATS_PER_ORDER_MAX");
        }
        let limits = Self {
            seats_per_showtime_max: seats,
            cooldown: Duration::from_secs(environment.number("HOLD_COOLDOWN_SECONDS", 120, 0..=86_400)),
            holds_per_network_max: environment.number("HOLDS_PER_NETWORK_MAX", 100, 1..=1_000_000),
            network_percent: environment.number("HOLDS_PER_NETWORK_PERCENT", 50, 1..=100),
            free_needs_proof: environment.flag("FREE_NEEDS_PROVEN_EMAIL", true),
        };
        (!environment.limits_disabled()).then_some(limits)
    }
}

impl ReservationSettings {
    pub fn read(environment: &mut Environment) -> Self {
        let seconds = |environment: &mut Environment, name: &str, default: u64| {
            Duration::from_secs(environment.number(name, default, 1..=86_400))
        };
        let hold = seconds(environment, "HOLD_SECONDS", 600);
        let hold_max = seconds(environment, "HOLD_SECONDS_MAX", 1200);
        if hold_max < hold {
            environment.problem("HOLD_SECONDS_MAX", "must not be less than HOLD_SECONDS");
        }
        let seats_per_order_max = environment.number("SEATS_PER_ORDER_MAX", 10, 1..=100);
        let refunds = refund_policy(environment);
        Self {
            hold,
            hold_max,
            grace: seconds(environment, "HOLD_GRACE_SECONDS", 60),
            seats_per_order_max,
            open_holds_max: environment.number("OPEN_HOLDS_MAX", 4, 1..=1_000_000),
            refund_until: Duration::from_secs(60 * refunds.until_minutes),
            refund_percent: refunds.percent,
            // Only a site has another: there is no setting for it.
            sales_end: Duration::ZERO,
            limits: HoldLimits::read(environment, seats_per_order_max),
            retention: retention(environment),
        }
    }
}

/// How much a cancellation gives back, and until when, where no site says otherwise.
fn refund_policy(environment: &mut Environment) -> RefundPolicy {
    RefundPolicy {
        until_minutes: environment.number("REFUND_UNTIL_MINUTES", 120, 0..=525_600),
        percent: environment.number("REFUND_PERCENT", 100, 0..=100),
    }
}

/// The rules of scheduling, and the site as long as staff have not saved it.
#[derive(Debug, Clone)]
pub struct MovieSettings {
    /// How long an auditorium is cleaned before the next showtime may begin.
    pub cleaning: Duration,
    pub site: SiteFields,
}

impl Default for MovieSettings {
    fn default() -> Self {
        Self { cleaning: Duration::from_secs(15 * 60), site: SiteFields::named(CINEMA_NAME) }
    }
}

impl MovieSettings {
    pub fn read(environment: &mut Environment) -> Self {
        Self {
            cleaning: Duration::from_secs(60 * environment.number("CLEANING_MINUTES", 15, 0..=1_440)),
            site: site(environment),
        }
    }
}

/// The site that the settings describe.
fn site(environment: &mut Environment) -> SiteFields {
    let SellerSettings { name, address, tax_id, zone } = SellerSettings::read(environment);
    SiteFields {
        legal: Legal { address, vat_id: tax_id, ..Legal::default() },
        time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        currency: environment.currency(),
        contact: Contact { email: contact(environment).map(|address| address.to_string()), phone: None },
        refund_policy: refund_policy(environment),
        ..SiteFields::named(&name)
    }
}

/// How access tokens are signed, and who the first SUPER_ADMIN is.
#[derive(Clone)]
pub struct AuthSettings {
    /// PKCS#8 PEM of an Ed25519 key.
    pub jwt_private_key: String,
    pub super_admin: Option<(String, String)>,
    /// `iss` and `aud` of the tokens: the instance's public address.
    pub issuer: String,
    /// A login is over after this, however often it is refreshed.
    pub login_max: Duration,
    /// `None` does not limit how fast passwords are guessed.
    pub throttle: Option<ThrottleSettings>,
    /// Other machines reach the deployment: then no account may have a password that the repository publishes.
    pub is_shared: bool,
    /// Which sources of `movie.created` make the creator an ADMIN.
    pub promotes: Promotes,
    /// How long after their last show guests are erased. `None`: never.
    pub retention: Option<Duration>,
}

/// How many wrong passwords are free before each further one has to wait.
#[derive(Debug, Clone)]
pub struct ThrottleSettings {
    /// Of an account from one network.
    pub free_tries_account: u32,
    /// Of an account from anywhere: far above, since an attacker who reaches it delays the owner too.
    pub free_tries_account_all: u32,
    /// More than of an account: whole offices and mobile networks have one address.
    pub free_tries_ip: u32,
    /// Where all hosts count together; without it each counts alone.
    pub redis_url: Option<String>,
}

impl ThrottleSettings {
    fn read(environment: &mut Environment) -> Option<Self> {
        let settings = Self {
            free_tries_account: environment.number("LOGIN_TRIES_ACCOUNT", 5, 1..=1_000),
            free_tries_account_all: environment.number("LOGIN_TRIES_ACCOUNT_ALL", 100, 1..=1_000_000),
            free_tries_ip: environment.number("LOGIN_TRIES_IP", 100, 1..=1_000_000),
            redis_url: environment.url("REDIS_URL", &bus::redis::SCHEMES),
        };
        (!environment.limits_disabled()).then_some(settings)
    }
}

impl AuthSettings {
    pub fn read(environment: &mut Environment) -> Self {
        let key = environment.required("JWT_PRIVATE_KEY");
        let jwt_private_key = if key.is_empty() || key.contains("BEGIN") {
            key
        } else {
            std::fs::read_to_string(&key).unwrap_or_else(|_| {
                environment
                    .problem("JWT_PRIVATE_KEY", "must be a PEM text or the path of a readable PEM file");
                String::new()
            })
        };
        let super_admin =
            match (environment.get("SUPER_ADMIN_EMAIL"), environment.get("SUPER_ADMIN_PASSWORD")) {
                (Some(email), Some(password)) => {
                    first_account(&email, &password, environment);
                    Some((email, password))
                }
                (None, None) => None,
                _ => {
                    environment.problem("SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD", "must be set together");
                    None
                }
            };
        let public_url = environment.public_url();
        let issuer = environment.get("TOKEN_ISSUER").or(public_url);
        let issuer = issuer.unwrap_or_else(|| bus::token::ISSUER.to_owned());
        let days = environment.number("LOGIN_DAYS_MAX", 90, 1..=3_650);
        Self {
            jwt_private_key,
            super_admin,
            issuer,
            login_max: Duration::from_secs(days * 24 * 60 * 60),
            throttle: ThrottleSettings::read(environment),
            is_shared: environment.is_shared(),
            promotes: Promotes::read(environment),
            retention: retention(environment),
        }
    }
}

/// Which sources of `movie.created` make the creator an ADMIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotes {
    /// `PROMOTE_MOVIE_CREATORS=false`
    Nobody,
    /// Not set: the movie host. Over REST only an ADMIN makes movies.
    Movie,
    /// `PROMOTE_MOVIE_CREATORS=true`: the bridge too, and so everybody who may publish on RabbitMQ.
    MovieAndBridge,
}

impl Promotes {
    fn read(environment: &mut Environment) -> Self {
        // Not by `flag`: unset means neither of the two.
        match environment.get("PROMOTE_MOVIE_CREATORS").as_deref() {
            None => Self::Movie,
            Some("true" | "1") => Self::MovieAndBridge,
            Some("false" | "0") => Self::Nobody,
            Some(_) => {
                environment.problem("PROMOTE_MOVIE_CREATORS", "must be true or false");
                Self::Nobody
            }
        }
    }
}

/// The first account has to satisfy the rules of every other.
fn first_account(email: &str, password: &str, environment: &mut Environment) {
    environment.check_password("SUPER_ADMIN_PASSWORD", password);
    let account =
        Register { email: email.into(), password: password.into(), name: "Owner".into(), order_token: None };
    let mut fields = Fields::default();
    account.validate(&mut fields);
    for wrong in fields.into_result().err().into_iter().flat_map(|problem| problem.errors) {
        environment.problem(&format!("SUPER_ADMIN_{}", wrong.field.to_uppercase()), &wrong.message);
    }
}

/// Where the payment provider is.
#[derive(Clone)]
pub struct PaymentSettings {
    pub api_url: String,
    pub api_key: String,
    pub webhook_secret: String,
    /// Where the provider's page sends the moviegoer back to. No slash at its end.
    pub public_url: String,
    /// How often the provider's list of events is read for webhooks that never came.
    pub reconcile: Duration,
    /// `SANDBOX`: nobody is charged.
    pub is_sandbox: bool,
    pub seller: SellerSettings,
    /// `None` does not limit the number of cards that are tried.
    pub declines: Option<DeclineLimits>,
    /// How long an order keeps its address after its show. `None`: until its customer is erased.
    pub retention: Option<Duration>,
    /// How many years, after the one of its last receipt, an invoice keeps its buyer.
    pub records_years: i32,
}

/// How many direct charges may be declined before only the provider's hosted page is left, which has checks of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclineLimits {
    pub per_order_max: usize,
    /// In 24 hours.
    pub per_account_day_max: usize,
}

impl DeclineLimits {
    fn read(environment: &mut Environment) -> Option<Self> {
        let limits = Self {
            per_order_max: environment.number("DECLINES_PER_ORDER_MAX", 5, 1..=1_000),
            per_account_day_max: environment.number("DECLINES_PER_ACCOUNT_DAY_MAX", 10, 1..=10_000),
        };
        (!environment.limits_disabled()).then_some(limits)
    }
}

impl PaymentSettings {
    pub fn read(environment: &mut Environment) -> Self {
        let api_url = environment.required_url("PAYMENT_API_URL", &["https://", "http://"]);
        let api_key = environment.required("PAYMENT_API_KEY");
        let webhook_secret = environment.required("PAYMENT_WEBHOOK_SECRET");
        environment.check_secret("PAYMENT_API_KEY", &api_key);
        environment.check_secret("PAYMENT_WEBHOOK_SECRET", &webhook_secret);
        let is_sandbox = environment.is_sandbox();
        if !is_sandbox && environment.is_public() {
            charges(&api_url, &api_key, environment);
        }
        Self {
            api_url: api_url.trim_end_matches('/').to_owned(),
            api_key,
            webhook_secret,
            is_sandbox,
            seller: SellerSettings::read(environment),
            public_url: environment.public_url().unwrap_or_else(|| "http://127.0.0.1:8080".into()),
            reconcile: Duration::from_secs(environment.number("RECONCILE_SECONDS", 60, 1..=86_400)),
            declines: DeclineLimits::read(environment),
            retention: retention(environment),
            records_years: environment.number("RECORDS_YEARS", 10, 1..=100),
        }
    }
}

/// The cinema on receipts.
#[derive(Debug, Clone)]
pub struct SellerSettings {
    pub name: String,
    /// One line.
    pub address: Option<String>,
    pub tax_id: Option<String>,
    /// In which a year of receipts begins.
    pub zone: jiff::tz::TimeZone,
}

impl SellerSettings {
    pub fn read(environment: &mut Environment) -> Self {
        let name = environment.get("CINEMA_TIME_ZONE").unwrap_or_else(|| "UTC".into());
        let zone = crate::zone::named(&name).unwrap_or_else(|| {
            environment.problem("CINEMA_TIME_ZONE", "must be an IANA time zone such as Europe/Berlin");
            jiff::tz::TimeZone::UTC
        });
        Self {
            name: cinema_name(environment),
            address: environment.get("CINEMA_ADDRESS"),
            tax_id: environment.get("CINEMA_TAX_ID"),
            zone,
        }
    }
}

/// Notes a provider that cannot be the real one, where tickets are.
fn charges(api_url: &str, api_key: &str, environment: &mut Environment) {
    const UNLESS: &str = "beside an https PUBLIC_URL, unless SANDBOX=true says that nobody is charged";
    if ["sk_test", "rk_test"].iter().any(|test| api_key.starts_with(test)) {
        environment.problem("PAYMENT_API_KEY", &format!("must not be a test key {UNLESS}"));
    }
    if api_url.starts_with("http://") || is_loopback(api_url) {
        let wanted = format!("must be an https address of another machine {UNLESS}");
        environment.problem("PAYMENT_API_URL", &wanted);
    }
}

/// How mails leave, and how fast.
#[derive(Clone)]
pub struct NotificationSettings {
    /// With user and password in it, so it is never shown.
    pub smtp_url: Option<String>,
    /// The folder of mails as `.eml` files, without an SMTP server.
    pub mail_dir: PathBuf,
    pub mail_from: String,
    /// Where links in mails lead. No slash at its end.
    pub public_url: String,
    pub cinema: CinemaSettings,
    pub mails_per_second: u32,
    /// To one address within an hour, of all mails that strangers can cause. `None`: no limit.
    pub mails_per_recipient_hour: Option<u32>,
    /// How long a host may take to send a mail that it has claimed; after that another host sends it.
    pub claim: Duration,
    /// How long the mail about a hold waits: a customer who has paid by then gets none.
    pub hold_mail_after: Duration,
    /// How long an order keeps its address after its show. `None`: until its customer is erased.
    pub retention: Option<Duration>,
}

impl NotificationSettings {
    pub fn read(environment: &mut Environment) -> Self {
        let cinema = CinemaSettings::read(environment);
        let mail_from = environment.get("MAIL_FROM").unwrap_or_else(|| {
            let address = "tickets@marquee.example".parse().expect("it is an address");
            lettre::message::Mailbox::new(Some(cinema.name.clone()), address).to_string()
        });
        if mail_from.parse::<lettre::message::Mailbox>().is_err() {
            environment.problem("MAIL_FROM", "must be an address such as Kino <tickets@kino.example>");
        }
        let most = environment.number("MAILS_PER_RECIPIENT_HOUR", 20, 1..=1_000_000);
        let mails_per_recipient_hour = (!environment.limits_disabled()).then_some(most);
        Self {
            smtp_url: environment.url("SMTP_URL", &["smtp://", "smtps://"]),
            mail_dir: environment.get("MAIL_DIR").unwrap_or_else(|| ".data/mail".into()).into(),
            mail_from,
            public_url: environment.public_url().unwrap_or_else(|| "http://127.0.0.1:8080".into()),
            cinema,
            mails_per_recipient_hour,
            mails_per_second: environment.number("MAILS_PER_SECOND", 50, 1..=1_000),
            claim: Duration::from_secs(environment.number("MAIL_CLAIM_SECONDS", 120, 1..=3_600)),
            hold_mail_after: Duration::from_secs(environment.number(
                "HOLD_MAIL_AFTER_SECONDS",
                180,
                0..=3_600,
            )),
            retention: retention(environment),
        }
    }
}

/// The cinema's own name and face, in mails and tickets.
#[derive(Debug, Clone)]
pub struct CinemaSettings {
    pub name: String,
    /// One line.
    pub address: Option<String>,
    /// Where replies to mails go, also shown to readers.
    pub contact: Option<lettre::Address>,
    pub logo: Option<Logo>,
    /// The company behind the cinema, where that has another name. This and the addresses below are a site's: there are no settings
    /// for them.
    pub company: Option<String>,
    /// The logo's address, for mails that carry none.
    pub logo_url: Option<String>,
    pub imprint_url: Option<String>,
    pub terms_url: Option<String>,
    pub privacy_url: Option<String>,
}

/// A picture that mails carry.
#[derive(Debug, Clone)]
pub struct Logo {
    /// Its media type.
    pub kind: &'static str,
    pub content: Vec<u8>,
}

/// Every mail carries the logo.
const LOGO_BYTES_MAX: usize = 100 * 1024;

impl CinemaSettings {
    pub fn has_links(&self) -> bool {
        [&self.imprint_url, &self.terms_url, &self.privacy_url].into_iter().any(Option::is_some)
    }

    pub fn read(environment: &mut Environment) -> Self {
        let contact = contact(environment);
        let logo = environment.get("CINEMA_LOGO").and_then(|path| {
            let logo = std::fs::read(path).ok().and_then(Logo::of);
            if logo.is_none() {
                environment.problem("CINEMA_LOGO", "must name a PNG or JPEG file of at most 100 KiB");
            }
            logo
        });
        let address = environment.get("CINEMA_ADDRESS");
        Self {
            name: cinema_name(environment),
            address,
            contact,
            logo,
            company: None,
            logo_url: None,
            imprint_url: None,
            terms_url: None,
            privacy_url: None,
        }
    }
}

/// Where replies to mails go.
fn contact(environment: &mut Environment) -> Option<lettre::Address> {
    environment.get("CINEMA_CONTACT").and_then(|contact| {
        let address = contact.parse();
        if address.is_err() {
            environment.problem("CINEMA_CONTACT", "must be an e-mail address");
        }
        address.ok()
    })
}

/// The name of a cinema that has not given its own.
const CINEMA_NAME: &str = "Marquee";

fn cinema_name(environment: &mut Environment) -> String {
    environment.get("CINEMA_NAME").unwrap_or_else(|| CINEMA_NAME.into())
}

impl Logo {
    fn of(content: Vec<u8>) -> Option<Self> {
        let kind = match content.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            _ => return None,
        };
        (content.len() <= LOGO_BYTES_MAX).then_some(Self { kind, content })
    }
}

/// When to look for showtimes that start soon, and how soon that is.
#[derive(Debug, Clone)]
pub struct SchedulerSettings {
    /// With seconds: `second minute hour day month weekday`, in UTC.
    pub cron: String,
    pub within_minutes: u32,
}

impl SchedulerSettings {
    pub fn read(environment: &mut Environment) -> Self {
        let cron = environment.get("REMINDER_CRON").unwrap_or_else(|| "0 * * * * *".into());
        if tokio_cron_scheduler::Job::new(cron.as_str(), |_, _| {}).is_err() {
            environment.problem("REMINDER_CRON", "must be a cron line with seconds such as 0 * * * * *");
        }
        Self { cron, within_minutes: environment.number("REMINDER_MINUTES", 60, 1..=10_080) }
    }
}
