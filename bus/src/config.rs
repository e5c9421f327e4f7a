//! Settings from the environment: every `config.rs` reads through this, so that a start with bad values stops with
//! one message that lists them all, and never shows a value.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

/// The environment and what was found wrong with it so far.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    values: HashMap<String, String>,
    problems: Vec<String>,
}

impl Environment {
    /// This process's environment. Empty values count as absent.
    pub fn of_process() -> Self {
        Self { values: std::env::vars().collect(), problems: Vec::new() }
    }

    /// Fills in what is not set.
    pub fn or(mut self, name: &str, value: impl Into<String>) -> Self {
        if self.get(name).is_none() {
            self.set(name, value);
        }
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).filter(|value| !value.trim().is_empty()).cloned()
    }

    /// The value, or a problem and an empty text.
    pub fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problem(name, "is not set");
            String::new()
        })
    }

    /// The value read as `T` within `bounds`, or the default when it is not set.
    pub fn number<T>(&mut self, name: &str, default: T, bounds: std::ops::RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.get(name) else { return default };
        match text.trim().parse::<T>() {
            Ok(value) if bounds.contains(&value) => value,
            _ => {
                self.problem(name, &format!("must be a number from {} to {}", bounds.start(), bounds.end()));
                default
            }
        }
    }

    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.get(name).as_deref() {
            None => default,
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(_) => {
                self.problem(name, "must be true or false");
                default
            }
        }
    }

    pub fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name} {what}"));
    }

    /// All problems in one message.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        anyhow::bail!("the configuration is not usable:\n  {}", self.problems.join("\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_lists_every_problem_and_no_value() {
        let mut environment = Environment::default();
        environment.set("HOLD_SECONDS", "s3cret");
        environment.required("DATABASE_URL");
        environment.number("HOLD_SECONDS", 600u64, 10..=3600);
        let message = environment.check().unwrap_err().to_string();
        assert!(message.contains("DATABASE_URL is not set"), "{message}");
        assert!(message.contains("HOLD_SECONDS must be a number from 10 to 3600"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
