//! Postgres: version, the role's rights, migrations, connections, days ahead, outboxes.

use actors::inspection::{
    self, CONNECTIONS_MAX, DAYS_AHEAD_MIN, LEAST_VERSION, Outbox, Rights, SchemaVersion, Sessions, open,
};
use bus::inspection::RunningProcess;

use super::report::{Check, Report, Verdict, counted};
use super::{Deployment, within};

/// Connections that a person and the commands need besides the hosts.
const CONNECTIONS_SPARE: u32 = 5;
const USED_WARN_PERCENT: u32 = 80;
const USED_FAIL_PERCENT: u32 = 95;

/// An event is published within milliseconds.
const UNPUBLISHED_WARN_SECONDS: f64 = 10.0;
const UNPUBLISHED_FAIL_SECONDS: f64 = 60.0;

/// Checks all, each with a connection of its own: after a time-out a connection cannot be used any more.
pub async fn check(deployment: &Deployment, processes: Option<Vec<RunningProcess>>, report: &mut Report) {
    let url = deployment.database_url.as_str();
    let looked = within("postgres", version(url)).await;
    let is_away = looked.verdict == Verdict::Warn && looked.text.starts_with("not checked");
    if is_away {
        let text = looked.text.trim_start_matches("not checked: ").to_owned();
        let remedy = "start Postgres, or correct DATABASE_URL";
        report.add(Check::new("postgres", Verdict::Fail, text).remedy(remedy));
        for name in ["database-rights", "migrations", "connections", "days-ahead", "outboxes"] {
            report.add(Check::not_done(name, "Postgres does not answer"));
        }
        return;
    }
    report.add(looked);
    report.add(
        within("database-rights", async { Ok(rights(&inspection::rights(&mut open(url).await?).await?)) })
            .await,
    );
    report.add(within("migrations", migrations(url)).await);
    report.add(
        within("connections", async {
            Ok(connections(inspection::sessions(&mut open(url).await?).await?, processes.as_deref()))
        })
        .await,
    );
    let read =
        tokio::time::timeout(super::CHECK_MAX, async { inspection::outboxes(&mut open(url).await?).await });
    match read.await.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time"))) {
        Ok((outboxes, closed)) => {
            report.add(days_ahead(&outboxes, &closed));
            report.add(unpublished(&outboxes, &closed));
        }
        Err(error) => {
            for name in ["days-ahead", "outboxes"] {
                report.add(Check::not_done(name, &format!("{error:#}")));
            }
        }
    }
}

async fn version(url: &str) -> anyhow::Result<Check> {
    let server = inspection::server(&mut open(url).await?).await?;
    let text = format!("Postgres {} answers", server.version);
    if server.version_number / 10_000 < LEAST_VERSION {
        let text = format!("Postgres {} is too old", server.version);
        let remedy = format!("install Postgres {LEAST_VERSION} or newer");
        return Ok(Check::new("postgres", Verdict::Fail, text).remedy(remedy));
    }
    if server.is_standby {
        let text = format!("{text}, but it is a standby, which takes no writes");
        let remedy = "let DATABASE_URL name the primary, or promote this server";
        return Ok(Check::new("postgres", Verdict::Fail, text).remedy(remedy));
    }
    Ok(Check::ok("postgres", text))
}

fn rights(rights: &Rights) -> Check {
    let Rights { role, database, is_owner, schemas } = rights;
    match (is_owner, &schemas[..]) {
        (true, _) => Check::ok(
            "database-rights",
            format!(
                "{role} has the rights of the owner of {database}: it may migrate, and sees every schema"
            ),
        ),
        (false, []) => Check::new(
            "database-rights",
            Verdict::Warn,
            format!("{role} may read no schema of {database}, or there is none yet"),
        )
        .remedy("use the owner's DATABASE_URL, and run `marquee migrate`"),
        (false, schemas) => Check::ok(
            "database-rights",
            format!(
                "{role} may read and write rows of {} in {database}, and change no table",
                schemas.join(", ")
            ),
        ),
    }
}

async fn migrations(url: &str) -> anyhow::Result<Check> {
    let mut db = open(url).await?;
    if !inspection::rights(&mut db).await?.is_owner {
        return Ok(Check::not_done(
            "migrations",
            "only the owner of the database may read which were applied",
        ));
    }
    Ok(versions(&inspection::versions(&mut db).await?))
}

fn versions(schemas: &[SchemaVersion]) -> Check {
    let unknown: Vec<String> = schemas
        .iter()
        .flat_map(|schema| schema.unknown.iter().map(move |number| format!("{} {number:04}", schema.schema)))
        .collect();
    let pending: Vec<String> = schemas
        .iter()
        .flat_map(|schema| schema.pending.iter().map(move |name| format!("{} {name}", schema.schema)))
        .collect();
    if !pending.is_empty() {
        let text = format!("{} pending: {}", counted(pending.len(), "migration"), pending.join(", "));
        return Check::new("migrations", Verdict::Fail, text)
            .remedy("run `marquee migrate` as the owner of the database");
    }
    if !unknown.is_empty() {
        let text = format!("a newer version has migrated {}", unknown.join(", "));
        return Check::new("migrations", Verdict::Warn, text)
            .remedy("use the version that is deployed, or a newer one");
    }
    Check::ok("migrations", format!("every migration of {} is applied", counted(schemas.len(), "schema")))
}

fn connections(sessions: Sessions, processes: Option<&[RunningProcess]>) -> Check {
    let Sessions { used, max } = sessions;
    let has_pool = |name: &str| actors::migrations::schemas().any(|domain| domain.name == name);
    let hosts = processes.map(|all| all.iter().filter(|process| has_pool(&process.name)).count());
    let percent = used * 100 / max.max(1);
    let need = hosts.map(|hosts| u32::try_from(hosts).unwrap_or(u32::MAX).saturating_mul(CONNECTIONS_MAX));
    let of_hosts = match (hosts, need) {
        (Some(hosts), Some(need)) => {
            format!("; {} with a database may open {need}", counted(hosts, "running host"))
        }
        _ => String::new(),
    };
    let text = format!("{used} of {max} connections are open{of_hosts}");
    let is_short = need.is_some_and(|need| need.saturating_add(CONNECTIONS_SPARE) > max);
    let verdict = match percent {
        USED_FAIL_PERCENT.. => Verdict::Fail,
        USED_WARN_PERCENT.. => Verdict::Warn,
        _ if is_short => Verdict::Warn,
        _ => Verdict::Ok,
    };
    Check::new("connections", verdict, text).remedy("raise max_connections of Postgres, or run fewer hosts")
}

fn without(closed: &[&str]) -> String {
    match closed {
        [] => String::new(),
        closed => format!(" (this role does not see {})", closed.join(", ")),
    }
}

fn days_ahead(outboxes: &[Outbox], closed: &[&str]) -> Check {
    let Some(fewest) = outboxes.iter().min_by_key(|outbox| outbox.days_ahead) else {
        return Check::not_done("days-ahead", &format!("no outbox can be read{}", without(closed)));
    };
    let (days, domain) = (fewest.days_ahead, fewest.domain);
    let verdict = match days {
        ..=0 => Verdict::Fail,
        days if days < DAYS_AHEAD_MIN => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let text = match verdict {
        Verdict::Ok => format!("every outbox has partitions for {days} days or more{}", without(closed)),
        _ => format!("the outbox of {domain} has partitions for {days} days ahead only{}", without(closed)),
    };
    let remedy =
        format!("a host of {domain} makes them each hour: start one, or read why upkeep fails in its log");
    Check::new("days-ahead", verdict, text).remedy(remedy)
}

fn unpublished(outboxes: &[Outbox], closed: &[&str]) -> Check {
    let waiting: Vec<String> = outboxes
        .iter()
        .filter(|outbox| outbox.pending > 0)
        .map(|outbox| format!("{} {}, the oldest {:.0} s old", outbox.domain, outbox.pending, outbox.seconds))
        .collect();
    let oldest = outboxes.iter().map(|outbox| outbox.seconds).fold(0.0, f64::max);
    let verdict = match oldest {
        _ if oldest >= UNPUBLISHED_FAIL_SECONDS => Verdict::Fail,
        _ if oldest >= UNPUBLISHED_WARN_SECONDS => Verdict::Warn,
        _ if outboxes.is_empty() => {
            return Check::not_done("outboxes", &format!("none can be read{}", without(closed)));
        }
        _ => Verdict::Ok,
    };
    let text = match &waiting[..] {
        [] => format!("every committed event is published{}", without(closed)),
        waiting => format!("events wait to be published: {}{}", waiting.join("; "), without(closed)),
    };
    let remedy = "start a host of that domain; its log says why NATS does not take the events";
    Check::new("outboxes", verdict, text).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(domain: &'static str, pending: i64, seconds: f64, days_ahead: i64) -> Outbox {
        Outbox { domain, pending, seconds, days_ahead }
    }

    #[test]
    fn an_outbox_is_judged_by_the_age_of_its_oldest_event() {
        let verdict =
            |seconds| unpublished(&[outbox("auth", 0, 0.0, 7), outbox("movie", 3, seconds, 7)], &[]).verdict;
        assert_eq!([1.0, 10.0, 60.0].map(verdict), [Verdict::Ok, Verdict::Warn, Verdict::Fail]);
        let check = unpublished(&[outbox("movie", 3, 61.2, 7)], &["auth"]);
        assert_eq!(
            check.text,
            "events wait to be published: movie 3, the oldest 61 s old (this role does not see auth)"
        );
        assert_eq!(unpublished(&[], &["auth"]).verdict, Verdict::Warn);
    }

    #[test]
    fn days_ahead_are_those_of_the_worst_outbox() {
        let verdict =
            |days| days_ahead(&[outbox("auth", 0, 0.0, 7), outbox("movie", 0, 0.0, days)], &[]).verdict;
        assert_eq!(
            [7, 3, 2, 0, -1].map(verdict),
            [Verdict::Ok, Verdict::Ok, Verdict::Warn, Verdict::Fail, Verdict::Fail]
        );
    }

    #[test]
    fn connections_are_compared_with_what_the_hosts_may_open() {
        let host =
            |id: usize| RunningProcess { name: "auth".into(), version: "1".into(), id: id.to_string() };
        let hosts = |count| (0..count).map(host).collect::<Vec<_>>();
        let verdict = |used, count| connections(Sessions { used, max: 100 }, Some(&hosts(count))).verdict;
        assert_eq!(verdict(20, 6), Verdict::Ok);
        assert_eq!(verdict(20, 20), Verdict::Warn);
        assert_eq!((verdict(80, 6), verdict(95, 6)), (Verdict::Warn, Verdict::Fail));
        assert_eq!(connections(Sessions { used: 9, max: 97 }, None).text, "9 of 97 connections are open");
    }

    #[test]
    fn pending_migrations_fail_and_those_of_a_newer_version_are_a_warning() {
        let schema = |pending: &[&str], unknown: &[i64]| SchemaVersion {
            schema: "movie",
            pending: pending.iter().map(ToString::to_string).collect(),
            unknown: unknown.to_vec(),
        };
        assert_eq!(versions(&[schema(&[], &[])]).verdict, Verdict::Ok);
        let check = versions(&[schema(&["0005_showings"], &[])]);
        assert_eq!(
            (check.verdict, &*check.text),
            (Verdict::Fail, "1 migration pending: movie 0005_showings")
        );
        assert_eq!(versions(&[schema(&[], &[9])]).verdict, Verdict::Warn);
    }
}
