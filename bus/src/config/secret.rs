//! Secrets in the environment: which settings are secrets, their values from files, and the password of an address in a
//! setting of its own.
//!
//! A secret setting `X` may be given as `X_FILE`, the path of a file whose content, without its last line end, is the value:
//! so the orchestrators of containers hand over secrets. A file that cannot be read is a problem, never a default value.

use std::collections::HashMap;

use super::Environment;
use crate::address::Address;

/// The settings that may be given as a file. A test compares them with the names that the parts read.
const SECRETS: [&str; 15] = [
    "AMQP_PASSWORD",
    "AMQP_URL",
    "CLOUDINARY_URL",
    "DATABASE_PASSWORD",
    "DATABASE_URL",
    "JWT_PRIVATE_KEY",
    "METRICS_TOKEN",
    "NATS_NKEY",
    "NATS_PASSWORD",
    "NATS_URL",
    "PAYMENT_API_KEY",
    "PAYMENT_WEBHOOK_SECRET",
    "REDIS_URL",
    "SMTP_URL",
    "SUPER_ADMIN_PASSWORD",
];
/// These end with the name of a host, such as `NATS_PASSWORD_AUTH`.
const SECRETS_BY_HOST: [&str; 3] = ["DATABASE_PASSWORD_", "DATABASE_URL_", "NATS_PASSWORD_"];

const FILE: &str = "_FILE";

/// Whether the setting is, or may contain, a secret. An unrelated variable, such as another program's `…_TOKEN_FILE`, is
/// none.
pub fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
        || SECRETS_BY_HOST.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with(FILE)
}

/// Sets each secret `X` of which `values` has `X_FILE` to the content of that file. Returns what is wrong, by name and never
/// with a value. `is_set` names settings that need no file, since they are set elsewhere.
pub(super) fn read_files(
    values: &mut HashMap<String, String>,
    is_set: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let is_given = |value: &&String| !value.trim().is_empty();
    let name_of = |file_setting: &str| {
        let name = file_setting.strip_suffix(FILE).filter(|name| is_secret(name) && !is_set(name))?;
        Some((name.to_owned(), file_setting.to_owned()))
    };
    let mut settings: Vec<_> = values.keys().filter_map(|name| name_of(name)).collect();
    settings.sort_unstable();
    let mut problems = Vec::new();
    for (name, file_setting) in settings {
        let Some(path) = values.get(&file_setting).filter(is_given) else { continue };
        if values.get(&name).filter(is_given).is_some() {
            let problem = "must not be set together";
            problems.push((format!("{name} and {file_setting}"), problem.to_owned()));
            continue;
        }
        match content(path.trim()) {
            Ok(value) => drop(values.insert(name, value)),
            Err(problem) => problems.push((file_setting, problem)),
        }
    }
    problems
}

/// The text of a file without its last line end. The error says what is wrong with the file.
fn content(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("names {path}: {error}"))?;
    let value = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if value.trim().is_empty() { Err(format!("names {path}, which is empty")) } else { Ok(value.to_owned()) }
}

impl Environment {
    /// Adds the password in `password_name` to the address in `name`. There it needs no percent-encoding, so it may have any
    /// character. Records a problem if both have one, if the address has no user, or if the password is published.
    pub fn add_password(&mut self, name: &str, address: &mut Address, password_name: &str) {
        let Some(password) = self.get(password_name) else { return };
        if address.password.is_some() {
            let both = format!("{name} and {password_name}");
            self.problem(&both, "must not both have a password");
        } else if address.user.is_none() {
            self.problem(name, &format!("names no user, though {password_name} is set"));
        }
        self.check_published(password_name, &password);
        address.password = Some(password);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is deleted at the end of the test.
    struct Secret(std::path::PathBuf);

    impl Secret {
        fn new(content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("marquee-{}.secret", uuid::Uuid::now_v7()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }

        fn path(&self) -> String {
            self.0.display().to_string()
        }
    }

    impl Drop for Secret {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn given(values: &[(&str, &str)]) -> Environment {
        Environment::of(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn problems(environment: &Environment) -> String {
        environment.check().unwrap_err().to_string()
    }

    #[test]
    fn a_secret_in_a_file_is_its_content_without_the_last_line_end() {
        for (content, value) in [
            ("p@ss/w#rd$1", "p@ss/w#rd$1"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("two\nlines\n\n", "two\nlines\n"),
            (" 'spaces' \n", " 'spaces' "),
        ] {
            let file = Secret::new(content.as_bytes());
            let environment = given(&[("NATS_PASSWORD_FILE", &file.path()), ("NATS_PASSWORD", " ")]);
            assert_eq!(environment.get("NATS_PASSWORD").as_deref(), Some(value), "{content:?}");
            environment.check().unwrap();
        }
        let file = Secret::new(b"s3cret");
        let of_host = given(&[("DATABASE_PASSWORD_AUTH_FILE", &file.path()), ("METRICS_TOKEN_FILE", "")]);
        assert_eq!(of_host.get("DATABASE_PASSWORD_AUTH").as_deref(), Some("s3cret"));
        assert_eq!(of_host.get("METRICS_TOKEN"), None);
        of_host.check().unwrap();
    }

    #[test]
    fn a_secret_that_is_set_twice_or_whose_file_is_unusable_is_a_problem_that_names_it() {
        let (file, empty, binary) = (Secret::new(b"s3cret"), Secret::new(b"\n"), Secret::new(b"\xff\xfe"));
        let both = given(&[("PAYMENT_API_KEY", "s3cret"), ("PAYMENT_API_KEY_FILE", &file.path())]);
        let message = problems(&both);
        assert!(message.contains("PAYMENT_API_KEY and PAYMENT_API_KEY_FILE must not"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");

        let message = problems(&given(&[("DATABASE_URL_FILE", "/nowhere/database-url")]));
        assert!(message.contains("DATABASE_URL_FILE names /nowhere/database-url: No such file"), "{message}");
        let message = problems(&given(&[("AMQP_URL_FILE", &empty.path())]));
        assert!(message.contains("AMQP_URL_FILE names") && message.contains("empty"), "{message}");
        assert!(problems(&given(&[("AMQP_URL_FILE", &binary.path())])).contains("AMQP_URL_FILE names"));
        assert!(problems(&given(&[("AMQP_URL_FILE", "/")])).contains("AMQP_URL_FILE names"));
    }

    #[test]
    fn a_file_variable_of_another_program_or_of_no_secret_is_not_read() {
        let environment = given(&[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"),
            ("CA_CERT_FILE", "/nowhere"),
            ("SSL_CERT_FILE", "/nowhere"),
            ("HOLD_SECONDS_FILE", "/nowhere"),
        ]);
        environment.check().unwrap();
        assert!(!is_secret("DATABASE_PASSWORD_FILE") && !is_secret("NATS_PASSWORD_AUTH_FILE"));
    }

    #[test]
    fn the_environment_wins_over_a_settings_file_also_where_one_of_them_names_a_secret_file() {
        let (file, other) = (Secret::new(b"in the file"), Secret::new(b"other"));
        let settings =
            Secret::new(format!("NATS_PASSWORD=plain\nPAYMENT_API_KEY_FILE={}\n", other.path()).as_bytes());
        let environment = given(&[("NATS_PASSWORD_FILE", &file.path())]).or_file(&settings.0);
        assert_eq!(environment.get("NATS_PASSWORD").as_deref(), Some("in the file"));
        assert_eq!(environment.get("PAYMENT_API_KEY").as_deref(), Some("other"));
        environment.check().unwrap();
        let missing = Secret::new(b"NATS_PASSWORD_FILE=/nowhere\n");
        let environment = given(&[("NATS_PASSWORD", "set")]).or_file(&missing.0);
        assert_eq!(environment.get("NATS_PASSWORD").as_deref(), Some("set"));
        environment.check().unwrap();
    }

    #[test]
    fn a_password_beside_its_address_may_have_any_character() {
        let read = |url: &str, password: &str| {
            let mut environment = given(&[("AMQP_PASSWORD", password)]);
            let mut address = Address::parse(url).unwrap();
            environment.add_password("AMQP_URL", &mut address, "AMQP_PASSWORD");
            (address.canonical(&address.host), environment.check().map_err(|error| error.to_string()))
        };
        let password = r#"p@ss/w#rd:?[]{}%41 "'\$é"#;
        let (url, checked) = read("amqp://marquee@rabbitmq:5672/%2f", password);
        checked.unwrap();
        assert_eq!(Address::parse(&url).unwrap().password.as_deref(), Some(password));
        assert_eq!(read("amqp://m:own@rabbitmq", "").0, "amqp://m:own@rabbitmq");
        let message = read("amqp://m:own@rabbitmq", "s3cret").1.unwrap_err();
        assert!(message.contains("AMQP_URL and AMQP_PASSWORD must not both"), "{message}");
        let message = read("amqp://rabbitmq", "s3cret").1.unwrap_err();
        assert!(message.contains("AMQP_URL names no user") && !message.contains("s3cret"), "{message}");
    }
}
