//! Holds `config/*.env.example` against what the code really reads: every name and no other, each explained, each
//! default true; and that a bad start tells all that is wrong at once.

use std::collections::BTreeMap;

use bus::config::Environment;
use bus::connection::Credentials;

use super::{GatewayProcess, HostProcess};
use crate::hosts;

/// Reads all that a part reads, as its process does at its start.
fn read(part: &str, environment: &mut Environment) {
    match part {
        "gateway" => drop(GatewayProcess::read(environment)),
        host => drop(HostProcess::read(host, environment).unwrap()),
    }
}

fn parts() -> impl Iterator<Item = &'static str> {
    hosts::all().chain(["gateway"])
}

fn example(part: &str) -> String {
    let path = format!("{}/config/{part}.env.example", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names with their values: `NAME=value` must be set, `#NAME=value` shows the default.
fn settings(example: &str) -> BTreeMap<&str, (bool, &str)> {
    let line = |line| {
        let (required, line) = match str::strip_prefix(line, "#") {
            Some(line) if !line.starts_with(' ') => (false, line),
            Some(_) => return None,
            None => (true, line),
        };
        line.split_once('=').map(|(name, value)| (name, (required, value)))
    };
    example.lines().filter_map(line).collect()
}

#[test]
fn every_env_example_names_what_is_read_and_nothing_else() {
    let mut wrong = Vec::new();
    for part in parts() {
        let mut environment = Environment::default();
        read(part, &mut environment);
        let example = example(part);
        let shown = settings(&example);
        for (name, default) in environment.asked() {
            match (shown.get(&*name), default) {
                (None, default) => wrong.push(format!("{part}: {name} (default {default:?}) is missing")),
                (Some((_, shown)), Some(default)) if *shown != default => {
                    wrong.push(format!("{part}: {name}'s default is {default}, not {shown}"));
                }
                _ => {}
            }
        }
        let asked = environment.asked();
        let unknown = shown.keys().filter(|name| !asked.contains_key(**name));
        wrong.extend(unknown.map(|name| format!("{part}: nobody reads {name}")));
    }
    assert!(wrong.is_empty(), "config/*.env.example:\n{}", wrong.join("\n"));
}

#[test]
fn every_setting_in_an_example_is_explained() {
    for part in parts() {
        let example = example(part);
        let lines: Vec<_> = example.lines().collect();
        for pair in lines.windows(2) {
            let is_setting = |line: &str| !line.is_empty() && !line.starts_with("# ") && line.contains('=');
            assert!(!is_setting(pair[1]) || !pair[0].is_empty(), "{part}: {} is not explained", pair[1]);
        }
    }
}

/// The part's example with every line in force, but for those that name a file, which is an operator's to make.
fn example_in_force(part: &str) -> Environment {
    let example = example(part);
    let mut environment = Environment::default();
    for (name, (_, value)) in settings(&example) {
        match name {
            "JWT_PRIVATE_KEY" => environment.set(name, actors::auth::token::generate_pem()),
            "CA_CERT_FILE" | "NATS_CREDS" | "NATS_NKEY" | "CINEMA_LOGO" => {}
            _ => environment.set(name, value),
        }
    }
    environment
}

#[test]
fn every_example_starts_its_part() {
    for part in parts() {
        let mut environment = example_in_force(part);
        read(part, &mut environment);
        environment.check().unwrap_or_else(|error| panic!("{part}: {error}"));
    }
}

#[test]
fn a_start_without_settings_lists_every_required_name_at_once() {
    for part in parts() {
        let mut environment = Environment::default();
        read(part, &mut environment);
        let message = environment.check().unwrap_err().to_string();
        let example = example(part);
        for (name, (required, _)) in settings(&example) {
            assert_eq!(message.contains(&format!("{name} is not set")), required, "{part} {name}: {message}");
        }
    }
}

#[test]
fn a_bad_start_names_every_bad_value_and_shows_none() {
    // Any text is a name, a secret or a folder.
    let free_text = [
        "NATS_USER",
        "NATS_PASSWORD",
        "DATABASE_PASSWORD",
        "AMQP_PASSWORD",
        "PAYMENT_API_KEY",
        "PAYMENT_WEBHOOK_SECRET",
        "SUPER_ADMIN_PASSWORD",
        "TOKEN_ISSUER",
        "MEDIA_DIR",
        "MAIL_DIR",
        "CINEMA_NAME",
        "CINEMA_ADDRESS",
        "CINEMA_TAX_ID",
    ];
    for part in parts() {
        let asked = {
            let mut environment = Environment::default();
            read(part, &mut environment);
            environment.asked()
        };
        let mut environment = Environment::default();
        for name in asked.keys() {
            environment.set(name, "=s3cret=");
        }
        read(part, &mut environment);
        let message = environment.check().unwrap_err().to_string();
        for name in asked.keys().filter(|name| !free_text.contains(&name.as_str())) {
            assert!(message.contains(&**name), "{part} takes any {name}: {message}");
        }
        assert!(!message.contains("s3cret"), "{part}: {message}");
    }
}

#[test]
fn docker_compose_starts_every_host_with_what_it_needs() {
    let compose = include_str!("../../docker-compose.yml");
    for part in hosts::all() {
        assert!(
            compose.contains(&format!("command: host {part}\n")),
            "docker-compose.yml lacks the {part} host"
        );
        let example = example(part);
        let required = settings(&example).into_iter().filter(|(_, (required, _))| *required);
        for (name, _) in required {
            assert!(compose.contains(&format!("{name}: ")), "docker-compose.yml never sets {name} of {part}");
        }
    }
}

/// The settings and password with which a process logs in to NATS.
fn nats(settings: &[(&str, &str)]) -> (bus::Config, Option<String>) {
    let mut environment = Environment::default().or("NATS_URL", "nats://in,address:s3,cret@a:4222,nats://b");
    for (name, value) in settings {
        environment.set(name, *value);
    }
    let config = super::nats(&mut environment, "movie");
    (config, environment.check().err().map(|error| error.to_string()))
}

#[test]
fn a_login_at_nats_is_a_password_an_nkey_or_a_creds_file() {
    let (config, problem) = nats(&[]);
    assert_eq!((problem, config.urls.len(), config.user.as_str()), (None, 2, "in,address"));
    assert!(matches!(config.credentials, Credentials::Password(password) if password == "s3,cret"));
    let (config, _) = nats(&[("NATS_USER", "auth"), ("NATS_PASSWORD", "other")]);
    assert_eq!(config.user, "auth");
    assert!(matches!(config.credentials, Credentials::Password(password) if password == "other"));

    let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
    let folder = crate::local::Folder::temporary().unwrap();
    let (nkey, creds) = (folder.path().join("nkey"), folder.path().join("creds"));
    std::fs::write(&nkey, format!("{seed}\n")).unwrap();
    std::fs::write(&creds, "-----BEGIN NATS USER JWT-----\n…\n-----BEGIN USER NKEY SEED-----\n").unwrap();
    let (nkey, creds) = (nkey.display().to_string(), creds.display().to_string());
    for given in [seed, &nkey] {
        let (config, problem) = nats(&[("NATS_NKEY", given)]);
        assert!(matches!(config.credentials, Credentials::Nkey(found) if found == seed), "{problem:?}");
    }
    let (config, problem) = nats(&[("NATS_CREDS", &creds)]);
    assert!(matches!(config.credentials, Credentials::Creds(text) if text.contains("JWT")), "{problem:?}");

    for bad in [
        vec![("NATS_NKEY", "SUs3cret")],
        vec![("NATS_CREDS", &*nkey)],
        vec![("NATS_CREDS", &*creds), ("NATS_NKEY", seed)],
    ] {
        let problem = nats(&bad).1.unwrap();
        assert!(problem.contains(bad[0].0) && !problem.contains("s3cret"), "{problem}");
    }
}

/// Every password and key that a file of the repository publishes, with its setting.
fn published() -> Vec<(String, String)> {
    let in_urls = |name: &str, value: &str| {
        let (_, place) = value.split_once("://")?;
        let (_, password) = place.rsplit_once('@')?.0.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    };
    let is_secret =
        |name: &str| ["PASSWORD", "SECRET", "API_KEY", "DEFAULT_PASS"].iter().any(|word| name.contains(word));
    let mut found = Vec::new();
    for part in parts() {
        for (name, (_, value)) in settings(&example(part)) {
            found.extend(in_urls(name, value));
            found.extend(is_secret(name).then(|| (name.to_owned(), value.to_owned())));
        }
    }
    let compose = include_str!("../../docker-compose.yml");
    let defaults = compose.match_indices("${").filter_map(|(at, _)| {
        let (name, value) = compose[at + 2..].split_once('}')?.0.split_once(":-")?;
        is_secret(name).then(|| (name.to_owned(), value.to_owned()))
    });
    found.extend(defaults);
    // A folder of pictures, not of money: Cloudinary's own placeholder.
    found.retain(|(name, secret)| name != "CLOUDINARY_URL" && !secret.is_empty());
    assert!(found.len() > 20, "{found:?}");
    found
}

#[test]
fn what_the_repository_publishes_is_known_as_published() {
    let unknown: Vec<_> =
        published().into_iter().filter(|(_, secret)| !bus::config::is_published(secret)).collect();
    assert!(unknown.is_empty(), "beside https these would be let pass: {unknown:?}");
}

#[test]
fn no_example_starts_its_part_beside_https_and_one_message_says_why() {
    for (part, wanted) in [
        ("auth", &["DATABASE_URL", "NATS_PASSWORD", "SUPER_ADMIN_PASSWORD", "RATE_LIMIT_DISABLED"][..]),
        ("movie", &["DATABASE_URL", "NATS_PASSWORD"]),
        ("reservation", &["DATABASE_URL", "NATS_PASSWORD", "RATE_LIMIT_DISABLED"]),
        (
            "payment",
            &[
                "DATABASE_URL",
                "NATS_PASSWORD",
                "PAYMENT_API_KEY",
                "PAYMENT_API_URL",
                "PAYMENT_WEBHOOK_SECRET",
                "RATE_LIMIT_DISABLED",
            ],
        ),
        ("notification", &["DATABASE_URL", "NATS_PASSWORD", "RATE_LIMIT_DISABLED"]),
        ("scheduler", &["NATS_PASSWORD"]),
        ("bridge", &["NATS_PASSWORD", "AMQP_URL"]),
        ("gateway", &["NATS_PASSWORD", "RATE_LIMIT_DISABLED", "CORS_ORIGINS", "TRUSTED_PROXIES"]),
    ] {
        let mut environment = example_in_force(part);
        environment.set("RATE_LIMIT_DISABLED", "true");
        environment.set("CORS_ORIGINS", "https://kino.example,*");
        environment.set("TRUSTED_PROXIES", "10.0.0.0/8,::/0");
        let read_at = |url: &str, environment: &Environment| {
            let mut environment = environment.clone();
            environment.set("PUBLIC_URL", url);
            read(part, &mut environment);
            environment.check().map_err(|error| error.to_string())
        };
        read_at("http://127.0.0.1:8080", &environment).unwrap_or_else(|error| panic!("{part}: {error}"));
        let message = read_at("https://kino.example", &environment).unwrap_err();
        let named: Vec<&str> =
            message.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        for name in wanted {
            assert!(named.contains(name), "{part} {name}: {message}");
        }
        assert!(named.iter().all(|name| wanted.contains(name)), "{part}: {message}");
    }
}

#[test]
fn a_test_provider_is_let_pass_beside_https_only_as_a_sandbox() {
    let settings = [
        ("PUBLIC_URL", "https://kino.example"),
        ("DATABASE_URL", "postgres://db/marquee"),
        ("NATS_URL", "nats://nats"),
        ("NATS_PASSWORD", "a password of our own"),
        ("PAYMENT_API_URL", "https://localhost:12111"),
        ("PAYMENT_API_KEY", "sk_test_of_our_own_account"),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_of_our_own_account"),
    ];
    let checked = |sandbox: &str| {
        let mut environment = Environment::default().or("SANDBOX", sandbox);
        settings.iter().for_each(|(name, value)| environment.set(name, *value));
        read("payment", &mut environment);
        environment.check().map_err(|error| error.to_string())
    };
    let message = checked("false").unwrap_err();
    assert!(message.contains("PAYMENT_API_KEY must not be a test key"), "{message}");
    assert!(message.contains("PAYMENT_API_URL must be an https address of another machine"), "{message}");
    checked("true").unwrap();
}

#[test]
fn compose_gives_each_host_a_role_of_its_own_that_migrate_makes() {
    let compose = include_str!("../../docker-compose.yml");
    for domain in actors::migrations::schemas().map(|domain| domain.name) {
        let upper = domain.to_uppercase();
        let password = format!("${{POSTGRES_PASSWORD_{upper}:-marquee}}");
        assert!(compose.contains(&format!("DATABASE_PASSWORD_{upper}: {password}\n")), "{domain}");
        let url = format!("DATABASE_URL: postgres://marquee_{domain}@postgres:5432/marquee\n");
        let (_, host) = compose.split_once(&format!("command: host {domain}\n")).unwrap();
        let host = &host[..400.min(host.len())];
        assert!(
            host.contains(&url) && host.contains(&format!("DATABASE_PASSWORD: {password}\n")),
            "{domain}"
        );
    }
}

#[test]
fn every_secret_that_a_part_reads_can_be_given_as_a_file() {
    for part in parts() {
        let mut environment = Environment::default();
        read(part, &mut environment);
        // The issuer is a name.
        let hidden = environment.asked().into_keys().filter(|name| super::shown::is_hidden(name));
        let unlisted: Vec<_> =
            hidden.filter(|name| name != "TOKEN_ISSUER" && !bus::config::is_secret(name)).collect();
        assert!(unlisted.is_empty(), "{part}: bus/src/config/secret.rs lacks {unlisted:?}");
    }
}

#[test]
fn the_password_of_the_database_may_stand_beside_its_address() {
    let password = "p@ss/w#rd 1";
    let read = |settings: &[(&str, &str)], domain: &str| {
        let mut environment = Environment::default();
        settings.iter().for_each(|(name, value)| environment.set(name, *value));
        super::database_among_others(&mut environment, domain);
        let url = actors::config::database_url(&mut environment);
        environment.check().unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        bus::address::Address::parse(&url).ok().and_then(|address| address.password)
    };
    let owner = [("DATABASE_URL", "postgres://kino@db/kino"), ("DATABASE_PASSWORD", password)];
    assert_eq!(read(&owner, "auth").as_deref(), Some(password));
    let by_socket = [("DATABASE_URL", "postgres://kino@/kino?host=/run/postgresql"), owner[1]];
    assert_eq!(read(&by_socket, "auth").as_deref(), Some(password));
    // A role of its own has neither the owner's password nor, where its address has one, that of `migrate`.
    let role = ("DATABASE_URL_AUTH", "postgres://kino_auth@db/kino");
    assert_eq!(read(&[owner[0], owner[1], role, ("DATABASE_PASSWORD_AUTH", "own")], "auth").unwrap(), "own");
    let whole = ("DATABASE_URL_AUTH", "postgres://kino_auth:inside@db/kino");
    assert_eq!(
        read(&[owner[0], owner[1], whole, ("DATABASE_PASSWORD_AUTH", "x")], "auth").unwrap(),
        "inside"
    );
    assert_eq!(read(&[owner[0], owner[1], role], "movie").as_deref(), Some(password));
}
