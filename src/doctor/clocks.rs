//! The clocks of this machine, of Postgres and of NATS. Deadlines are counted by Postgres; tokens, mails and log lines by the
//! machine of each host; the age of events by NATS.

use std::time::{Duration, Instant};

use bus::Bus;
use time::OffsetDateTime;

use super::Deployment;
use super::report::{Check, Verdict};

const WARN_ABOVE: Duration = Duration::from_secs(1);
const FAIL_ABOVE: Duration = Duration::from_secs(5);

/// A clock, as it was read: how many seconds it is ahead of this machine's, and how exactly that is known.
struct Clock {
    name: &'static str,
    ahead: f64,
    error: f64,
}

impl Clock {
    /// `read` asks a server. It read its clock at some time between request and reply.
    async fn read<T>(
        name: &'static str,
        read: impl Future<Output = anyhow::Result<T>>,
        time: impl Fn(&T) -> Option<OffsetDateTime>,
    ) -> anyhow::Result<Option<Self>> {
        let (before, began) = (OffsetDateTime::now_utc(), Instant::now());
        let answer = read.await?;
        let half = began.elapsed().as_secs_f64() / 2.0;
        let ahead = time(&answer).map(|time| (time - before).as_seconds_f64() - half);
        Ok(ahead.map(|ahead| Self { name, ahead, error: half }))
    }
}

/// Compares each with each.
pub async fn check(deployment: &Deployment, bus: Option<&Bus>) -> anyhow::Result<Check> {
    let mut clocks = vec![Clock { name: "this machine", ahead: 0.0, error: 0.0 }];
    let mut away = Vec::new();
    match actors::inspection::open(&deployment.database_url).await {
        Ok(mut db) => {
            let server = actors::inspection::server(&mut db);
            clocks.extend(Clock::read("Postgres", server, |server| Some(server.now)).await?);
        }
        Err(_) => away.push("Postgres"),
    }
    match bus {
        Some(bus) => {
            let time = bus::inspection::server_time(bus);
            clocks.extend(Clock::read("NATS", time, |time| *time).await?);
        }
        None => away.push("NATS"),
    }
    Ok(compared(&clocks, &away))
}

fn compared(clocks: &[Clock], away: &[&str]) -> Check {
    let without = match away {
        [] => String::new(),
        away => format!(" (without {})", away.join(" and ")),
    };
    if clocks.len() < 2 {
        return Check::not_done("clocks", &format!("no server's clock could be read{without}"));
    }
    let first = |one: &&Clock, other: &&Clock| one.ahead.total_cmp(&other.ahead);
    let (Some(slow), Some(fast)) = (clocks.iter().min_by(first), clocks.iter().max_by(first)) else {
        return Check::not_done("clocks", "no clock could be read");
    };
    // Only what is certain: a slow reply is no difference.
    let difference = (fast.ahead - slow.ahead - fast.error - slow.error).max(0.0);
    let verdict = match difference {
        _ if difference > FAIL_ABOVE.as_secs_f64() => Verdict::Fail,
        _ if difference > WARN_ABOVE.as_secs_f64() => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let names: Vec<&str> = clocks.iter().map(|clock| clock.name).collect();
    let text = match verdict {
        Verdict::Ok => format!("the clocks of {} differ by less than a second{without}", names.join(", ")),
        _ => {
            format!("the clock of {} is {difference:.1} s ahead of that of {}{without}", fast.name, slow.name)
        }
    };
    let remedy = "let every machine follow a time server (chrony, systemd-timesyncd)";
    Check::new("clocks", verdict, text).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(name: &'static str, ahead: f64, error: f64) -> Clock {
        Clock { name, ahead, error }
    }

    #[test]
    fn clocks_are_compared_with_each_other_and_not_only_with_this_machine() {
        let verdict = |postgres, nats| {
            let clocks = [
                clock("this machine", 0.0, 0.0),
                clock("Postgres", postgres, 0.01),
                clock("NATS", nats, 0.01),
            ];
            compared(&clocks, &[]).verdict
        };
        assert_eq!(verdict(0.4, -0.4), Verdict::Ok);
        assert_eq!(verdict(0.8, -0.8), Verdict::Warn);
        assert_eq!(verdict(4.0, -4.0), Verdict::Fail);
        let text = compared(&[clock("this machine", 0.0, 0.0), clock("Postgres", -7.0, 0.0)], &["NATS"]).text;
        assert_eq!(text, "the clock of this machine is 7.0 s ahead of that of Postgres (without NATS)");
    }

    #[test]
    fn a_slow_reply_is_no_difference_and_one_clock_is_no_comparison() {
        assert_eq!(
            compared(&[clock("this machine", 0.0, 0.0), clock("NATS", 1.5, 1.0)], &[]).verdict,
            Verdict::Ok
        );
        let alone = compared(&[clock("this machine", 0.0, 0.0)], &["Postgres", "NATS"]);
        assert_eq!(alone.verdict, Verdict::Warn);
        assert!(alone.text.contains("without Postgres and NATS"), "{}", alone.text);
    }
}
