//! The results of the checks, and how they are printed.

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// Look at it today.
    Warn,
    /// Something does not work, or soon will not.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Short and stable, for scripts.
    pub name: &'static str,
    pub verdict: Verdict,
    /// One sentence, with figures.
    pub text: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Check {
    pub fn new(name: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { name, verdict, text: text.into(), remedy: None }
    }

    pub fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, text)
    }

    /// A check that could not be done.
    pub fn not_done(name: &'static str, why: &str) -> Self {
        Self::new(name, Verdict::Warn, format!("not checked: {why}"))
    }

    /// What to do; printed unless the check is ok.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    fn lines(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let mut lines = format!("{verdict} {:<20} {}\n", self.name, self.text);
        if let Some(remedy) = self.remedy.as_deref().filter(|_| self.verdict != Verdict::Ok) {
            lines.push_str(&format!("     {:<20} → {remedy}\n", ""));
        }
        lines
    }
}

/// All checks so far.
#[derive(Debug, Default)]
pub struct Report(Vec<Check>);

impl Report {
    pub fn add(&mut self, check: Check) {
        self.0.push(check);
    }

    pub fn failed(&self) -> Vec<&'static str> {
        self.0.iter().filter(|check| check.verdict == Verdict::Fail).map(|check| check.name).collect()
    }

    pub fn print(&self) {
        self.0.iter().for_each(|check| print!("{}", check.lines()));
        let count = |verdict| self.0.iter().filter(|check| check.verdict == verdict).count();
        let (warnings, failures) = (count(Verdict::Warn), count(Verdict::Fail));
        println!("{} checks, {warnings} warnings, {failures} failures", self.0.len());
    }
}

/// `1 host`, `2 hosts`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in the largest unit of which there is at least one.
pub fn bytes(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_printed_with_its_remedy_unless_it_is_ok() {
        let check = Check::ok("dead-letters", "0 dead letters").remedy("marquee dead-letters list");
        assert_eq!(check.lines(), "ok   dead-letters         0 dead letters\n");
        let check = Check { verdict: Verdict::Warn, ..check };
        assert!(check.lines().ends_with("→ marquee dead-letters list\n"), "{}", check.lines());
    }

    #[test]
    fn only_failures_fail_the_command() {
        let mut report = Report::default();
        report.add(Check::not_done("clocks", "Postgres does not answer"));
        assert!(report.failed().is_empty());
        report.add(Check::new("postgres", Verdict::Fail, "away"));
        assert_eq!(report.failed(), ["postgres"]);
    }

    #[test]
    fn sizes_have_the_unit_that_people_read() {
        assert_eq!(
            (bytes(8 << 30), bytes(1536), bytes(7)),
            ("8.0 GiB".into(), "1.5 KiB".into(), "7 bytes".into())
        );
        assert_eq!((counted(1, "host"), counted(0, "host")), ("1 host".into(), "0 hosts".into()));
    }
}
