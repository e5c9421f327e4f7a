//! The commands of docs/operations.md: the lines of its fenced `sh` blocks that call `nats`, and all of *NATS by hand*.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::cases;

const DOCUMENT: &str = include_str!("../../../docs/operations.md");

/// The section whose every command has a test, those of `marquee` among them.
const SECTION: &str = "NATS by hand";

/// Every command that needs a test, without its comment. A line that begins with a space continues the command.
pub fn commands() -> &'static [String] {
    static COMMANDS: LazyLock<Vec<String>> = LazyLock::new(|| read(DOCUMENT));
    &COMMANDS
}

fn read(document: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let (mut section, mut block, mut is_wanted) = ("", None, false);
    for line in document.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(_), Some(_)) => block = None,
            (Some(language), None) => block = Some(language),
            (None, None) => section = line.strip_prefix("## ").unwrap_or(section),
            (None, Some("sh")) => {
                let line = line.split("  #").next().unwrap_or_default().trim_end();
                let is_assignment = line.split(' ').next().is_some_and(|word| word.contains('='));
                let goes_on = line.starts_with(' ');
                if !goes_on {
                    let is_command = !line.is_empty() && !is_assignment;
                    is_wanted = is_command && (line.starts_with("nats ") || section == SECTION);
                }
                match commands.last_mut() {
                    _ if !is_wanted => {}
                    Some(command) if goes_on => *command = format!("{command}\n{line}"),
                    _ => commands.push(line.to_owned()),
                }
            }
            (None, Some(_)) => {}
        }
    }
    commands
}

#[test]
fn commands_are_read_from_fenced_blocks_of_shell() {
    let document = "## NATS by hand\n`nats not` in a line\n```sh\nID=0199\nnats a --b  # why\nnats c |\n  grep x\n\nmarquee d\n```\n\
                    ```text\nnats printed\n```\n## Other\n```sh\nnats f\nmarquee e \\\n  --long\n```\n";
    assert_eq!(read(document), ["nats a --b", "nats c |\n  grep x", "marquee d", "nats f"]);
}

/// Needs no CLI, so that a command is not documented without a test on a machine without it.
#[test]
fn every_command_of_the_document_has_a_test() {
    let documented: BTreeSet<&str> = commands().iter().map(String::as_str).collect();
    let tested: BTreeSet<&str> = cases::all().collect();
    let untested: Vec<_> = documented.difference(&tested).collect();
    let gone: Vec<_> = tested.difference(&documented).collect();
    assert!(
        untested.is_empty() && gone.is_empty(),
        "not in tests/system/nats_cli/cases.rs: {untested:#?}; not in docs/operations.md: {gone:#?}"
    );
    assert!(documented.len() > 15, "only {documented:#?}");
}
