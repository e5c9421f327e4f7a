//! NATS: its version, the operator's rights, the streams' room, the running hosts and their versions, lag, dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::Bus;
use bus::inspection::{self, ConsumerState, LEAST_VERSION, RunningProcess, StreamState};
use bus::topology::{DLQ, EVENTS};

use super::report::{Check, Report, Verdict, bytes, counted};
use super::{Deployment, within};
use crate::hosts;

/// A host answers within milliseconds; one on a busy machine within a second.
const PING_MAX: Duration = Duration::from_secs(2);
const REQUEST_MAX: Duration = Duration::from_secs(2);

/// Above it a stream is about to discard events.
const FULL_WARN_PERCENT: u64 = 75;
const FULL_FAIL_PERCENT: u64 = 90;

/// Events are handled within milliseconds; after an outage within seconds.
const LAG_WARN: Duration = Duration::from_secs(10);
const LAG_FAIL: Duration = Duration::from_secs(60);

/// Checks all; returns the running processes if they could be asked.
pub async fn check(bus: &Bus, deployment: &Deployment, report: &mut Report) -> Option<Vec<RunningProcess>> {
    report.add(version(bus));
    report.add(within("nats-rights", rights(bus)).await);
    report.add(within("nats-storage", storage(bus)).await);
    report.add(within("stream-room", room(bus)).await);
    let expected = expected(deployment);
    let asked = tokio::time::timeout(super::CHECK_MAX, inspection::running(bus, &expected, PING_MAX)).await;
    let processes = match asked {
        Ok(Ok(processes)) => {
            report.add(running(&expected, &processes));
            report.add(versions(&processes));
            Some(processes)
        }
        Ok(Err(error)) => {
            report.add(Check::not_done("hosts", &format!("{error:#}")));
            None
        }
        Err(_) => {
            report.add(Check::not_done("hosts", "NATS does not reply"));
            None
        }
    };
    report.add(within("lag", async { Ok(lag(&inspection::consumers(bus).await?)) }).await);
    report.add(within("dead-letters", dead_letters(bus)).await);
    processes
}

/// Every host, and the gateway; the bridge where there is a RabbitMQ.
fn expected(deployment: &Deployment) -> BTreeSet<&'static str> {
    let is_expected = |name: &&str| *name != hosts::BRIDGE || deployment.has_bridge;
    hosts::all().filter(is_expected).chain(["gateway"]).collect()
}

fn version(bus: &Bus) -> Check {
    let version = inspection::server_version(bus);
    if inspection::is_new_enough(bus) {
        return Check::ok("nats", format!("NATS {version} answers, and the login as operator is accepted"));
    }
    let (major, minor) = LEAST_VERSION;
    let text = format!("NATS {version} is too old");
    Check::new("nats", Verdict::Fail, text).remedy(format!("install NATS {major}.{minor} or newer"))
}

async fn rights(bus: &Bus) -> anyhow::Result<Check> {
    let requests = inspection::requests_of_operator();
    let mut refused = Vec::new();
    for subject in &requests {
        if !inspection::may_request(bus, subject, REQUEST_MAX).await? {
            refused.push(subject.as_str());
        }
    }
    if refused.is_empty() {
        return Ok(Check::ok("nats-rights", "this user may send the requests of doctor and dead-letters"));
    }
    let text = format!("this user may not send {}", refused.join(", "));
    let remedy = "log in as the user `operator` of nats.conf: NATS_USER and NATS_PASSWORD";
    Ok(Check::new("nats-rights", Verdict::Fail, text).remedy(remedy))
}

async fn storage(bus: &Bus) -> anyhow::Result<Check> {
    let storage = inspection::storage(bus).await?;
    let used = bytes(storage.used);
    let Some(max) = storage.max.filter(|max| *max > 0) else {
        let text = format!(
            "JetStream stores {used}; the account has no limit, so max_file_store and the disk count"
        );
        return Ok(Check::ok("nats-storage", text));
    };
    let percent = storage.used.saturating_mul(100) / max;
    let text = format!("JetStream stores {used}, {percent} % of the account's {}", bytes(max));
    let verdict = full(percent);
    Ok(Check::new("nats-storage", verdict, text).remedy("give the account more storage"))
}

fn full(percent: u64) -> Verdict {
    match percent {
        FULL_FAIL_PERCENT.. => Verdict::Fail,
        FULL_WARN_PERCENT.. => Verdict::Warn,
        _ => Verdict::Ok,
    }
}

async fn room(bus: &Bus) -> anyhow::Result<Check> {
    let (events, dead_letters) =
        (inspection::stream(bus, EVENTS).await?, inspection::stream(bus, DLQ).await?);
    let (Some(events), Some(dead_letters)) = (events, dead_letters) else {
        let text = format!("the stream {EVENTS} or {DLQ} does not exist");
        let remedy = "start a host, which creates missing streams, or run `marquee migrate` with NATS_URL";
        return Ok(Check::new("stream-room", Verdict::Fail, text).remedy(remedy));
    };
    let described = |name: &str, stream: &StreamState| {
        let StreamState { messages, bytes: used, bytes_max, replicas } = stream;
        let max = bytes_max.map_or("no limit".to_owned(), bytes);
        let copies = counted(*replicas, "replica");
        format!(
            "{name} has {messages} messages, {} of {max} ({} %), {copies}",
            bytes(*used),
            stream.full_percent()
        )
    };
    let text = format!("{}; {}", described(EVENTS, &events), described(DLQ, &dead_letters));
    let verdict = full(events.full_percent().max(dead_letters.full_percent()));
    let remedy =
        "raise NATS_EVENTS_MAX_BYTES or NATS_DLQ_MAX_BYTES for every host, then run `marquee migrate`";
    Ok(Check::new("stream-room", verdict, text).remedy(remedy))
}

fn running(expected: &BTreeSet<&str>, processes: &[RunningProcess]) -> Check {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    processes.iter().for_each(|process| *counts.entry(process.name.as_str()).or_default() += 1);
    let described: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let missing: Vec<&str> = expected.iter().filter(|name| !counts.contains_key(**name)).copied().collect();
    if missing.is_empty() {
        return Check::ok("hosts", format!("every domain has a host: {}", described.join(", ")));
    }
    let running = if described.is_empty() { "none".to_owned() } else { described.join(", ") };
    let text = format!("no process answers for {}; running: {running}", missing.join(", "));
    let remedy =
        "start it and read its log; after an upgrade reload nats.conf, which lets each answer $SRV.*";
    Check::new("hosts", Verdict::Fail, text).remedy(remedy)
}

fn versions(processes: &[RunningProcess]) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    let mut by_version: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for process in processes {
        by_version.entry(process.version.as_str()).or_default().insert(process.name.as_str());
    }
    let described = |(version, names): (&&str, &BTreeSet<&str>)| {
        format!("{version} ({})", names.iter().copied().collect::<Vec<_>>().join(", "))
    };
    match by_version.len() {
        0 => Check::not_done("versions", "no process answers"),
        1 if by_version.contains_key(own) => {
            Check::ok("versions", format!("every process runs version {own}, as this command does"))
        }
        1 => {
            let text = format!(
                "the processes run {}, and this command is {own}",
                by_version.iter().map(described).collect::<String>()
            );
            Check::new("versions", Verdict::Warn, text)
                .remedy("run the command of the version that is deployed")
        }
        _ => {
            let all: Vec<String> = by_version.iter().map(described).collect();
            let text = format!("versions are mixed: {}", all.join(", "));
            Check::new("versions", Verdict::Warn, text)
                .remedy("finish the upgrade: replace the hosts of the older version")
        }
    }
}

fn lag(consumers: &[ConsumerState]) -> Check {
    if consumers.is_empty() {
        let text = format!("{EVENTS} has no consumer");
        return Check::new("lag", Verdict::Warn, text)
            .remedy("start the hosts, which create their consumers");
    }
    let described: Vec<String> = consumers
        .iter()
        .filter(|consumer| consumer.pending + consumer.in_hand > 0)
        .map(|consumer| {
            let age = consumer
                .oldest
                .map_or(String::new(), |oldest| format!(", the oldest {} s old", oldest.as_secs()));
            format!("{} {} waiting and {} in work{age}", consumer.name, consumer.pending, consumer.in_hand)
        })
        .collect();
    let text = match &described[..] {
        [] => format!("no event waits at any of {}", counted(consumers.len(), "consumer")),
        behind => behind.join("; "),
    };
    let oldest = consumers.iter().filter_map(|consumer| consumer.oldest).max().unwrap_or_default();
    let verdict = match oldest {
        _ if oldest >= LAG_FAIL => Verdict::Fail,
        _ if oldest >= LAG_WARN => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let remedy = "start a host of that domain, or read its log; `nats consumer report EVENTS` shows how the lag changes";
    Check::new("lag", verdict, text).remedy(remedy)
}

async fn dead_letters(bus: &Bus) -> anyhow::Result<Check> {
    let messages = inspection::stream(bus, DLQ).await?.map_or(0, |stream| stream.messages);
    let text = match messages {
        1 => "1 message waits for a person".to_owned(),
        messages => format!("{messages} messages wait for a person"),
    };
    let verdict = if messages == 0 { Verdict::Ok } else { Verdict::Warn };
    Ok(Check::new("dead-letters", verdict, text)
        .remedy("`marquee dead-letters list`, then replay or drop each"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, version: &str) -> RunningProcess {
        RunningProcess { name: name.into(), version: version.into(), id: format!("{name}{version}") }
    }

    #[test]
    fn a_missing_host_fails_and_several_hosts_are_counted() {
        let expected = BTreeSet::from(["auth", "movie"]);
        let both = [process("auth", "1"), process("movie", "1"), process("movie", "2")];
        let check = running(&expected, &both);
        assert_eq!(
            (check.verdict, check.text),
            (Verdict::Ok, "every domain has a host: auth 1, movie 2".into())
        );
        let check = running(&expected, &both[..1]);
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.text, "no process answers for movie; running: auth 1");
    }

    #[test]
    fn a_mix_of_versions_is_a_warning() {
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(versions(&[process("auth", own), process("movie", own)]).verdict, Verdict::Ok);
        assert_eq!(versions(&[process("auth", "9.9.9")]).verdict, Verdict::Warn);
        let mixed = versions(&[process("auth", own), process("movie", "9.9.9")]);
        assert_eq!(mixed.verdict, Verdict::Warn);
        assert!(mixed.text.contains("9.9.9 (movie)"), "{}", mixed.text);
        assert_eq!(versions(&[]).verdict, Verdict::Warn);
    }

    #[test]
    fn lag_is_judged_by_the_age_of_the_oldest_event() {
        let consumer = |pending, seconds: Option<u64>| ConsumerState {
            name: "payment".into(),
            pending,
            in_hand: 0,
            oldest: seconds.map(Duration::from_secs),
        };
        assert_eq!(lag(&[consumer(0, None)]).text, "no event waits at any of 1 consumer");
        assert_eq!(lag(&[consumer(5000, Some(2))]).verdict, Verdict::Ok);
        assert_eq!(lag(&[consumer(1, Some(10))]).verdict, Verdict::Warn);
        let behind = lag(&[consumer(3, Some(75))]);
        assert_eq!(behind.verdict, Verdict::Fail);
        assert_eq!(behind.text, "payment 3 waiting and 0 in work, the oldest 75 s old");
    }

    #[test]
    fn a_stream_is_full_at_ninety_percent() {
        assert_eq!(
            [74, 75, 89, 90, 100].map(full),
            [Verdict::Ok, Verdict::Warn, Verdict::Warn, Verdict::Fail, Verdict::Fail]
        );
    }
}
