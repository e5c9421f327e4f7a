//! Runs the checks in one snapshot.

use anyhow::Context;
use sqlx::{Connection, PgConnection, Row};

use super::Checked;
use super::promises::Promise;
use crate::delivery::connect;

/// Beyond it the database is too busy to be read whole; try again when it is calmer, or on a replica.
const STATEMENT_TIMEOUT: &str = "10min";

/// `promises` each with a query of figures (one text) and one of findings (texts, one a row).
pub async fn check(url: &str, promises: &'static [Promise]) -> anyhow::Result<Vec<Checked>> {
    let mut connection = connect::connect(url).await?;
    let begin = format!(
        "begin isolation level repeatable read read only;
         set local statement_timeout = '{STATEMENT_TIMEOUT}'; set local timezone = 'UTC'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut connection).await?;
    let mut checked = outboxes(&mut connection).await?;
    checked.extend(consumers(&mut connection).await?);
    for promise in promises {
        let there: bool =
            sqlx::query_scalar("select bool_and(to_regclass(name) is not null) from unnest($1::text[]) name")
                .bind(promise.tables)
                .fetch_one(&mut connection)
                .await?;
        if there {
            checked.push(
                check_promise(&mut connection, promise)
                    .await
                    .with_context(|| format!("checking {}", promise.name))?,
            );
        }
    }
    connection.close().await?;
    Ok(checked)
}

async fn check_promise(connection: &mut PgConnection, promise: &Promise) -> anyhow::Result<Checked> {
    let evidence = sqlx::query_scalar(promise.figures).fetch_one(&mut *connection).await?;
    let (found, findings) = findings(connection, promise.findings.to_owned()).await?;
    Ok(Checked { name: promise.name, promise: promise.text, evidence, found, findings })
}

/// The number of findings, and the first twenty.
async fn findings(connection: &mut PgConnection, query: String) -> anyhow::Result<(i64, Vec<String>)> {
    let counted = format!("select count(*) over (), found.* from ({query}) found limit 20");
    let rows = sqlx::query(sqlx::AssertSqlSafe(counted)).fetch_all(connection).await?;
    let found = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    let findings = rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    Ok((found, findings))
}

/// The schemas that have this table, by name.
async fn schemas_with(connection: &mut PgConnection, table: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relname = $1 and c.relkind in ('r', 'p') order by 1",
    )
    .bind(table)
    .fetch_all(connection)
    .await
}

/// The query for all domains together. The names come from the catalogue; the query quotes them.
fn of_each(domains: &[String], query: &str) -> String {
    let queries = domains.iter().map(|domain| query.replace("{domain}", domain));
    queries.collect::<Vec<_>>().join(" union all ")
}

/// Every domain's outbox: committed events are published, and there are partitions for the coming days.
async fn outboxes(connection: &mut PgConnection) -> anyhow::Result<Vec<Checked>> {
    let domains = schemas_with(connection, "outbox").await?;
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let unsent = of_each(
        &domains,
        r#"select format('{domain}: %s %s of %s', id, subject, committed_at) from "{domain}".unsent
           where committed_at < now() - interval '1 minute'"#,
    );
    let without = of_each(
        &domains,
        "select format('{domain}: no partition for %s', day::date)
         from generate_series(now() at time zone 'utc', now() at time zone 'utc' + interval '3 days', interval '1 day') as day
         where to_regclass(format('%I.outbox_%s', '{domain}', to_char(day, 'YYYYMMDD'))) is null",
    );
    let evidence = format!("the outboxes of {}", domains.join(", "));
    let mut checked = Vec::new();
    for (name, promise, query) in [
        ("outbox", "what was committed has been published within a minute", unsent),
        ("outbox-days", "every outbox has partitions for today and three days more", without),
    ] {
        let (found, findings) = findings(connection, query).await?;
        checked.push(Checked { name, promise, evidence: evidence.clone(), found, findings });
    }
    Ok(checked)
}

/// Every domain's consumer: whether the stream discards, or has discarded, events that it had not handled.
async fn consumers(connection: &mut PgConnection) -> anyhow::Result<Vec<Checked>> {
    let domains = schemas_with(connection, "consumer_gaps").await?;
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let positions = of_each(&domains, r#"select * from "{domain}".consumers"#);
    let gaps = of_each(&domains, r#"select * from "{domain}".consumer_gaps"#);
    // A host that is away stores nothing, so the others say how full the stream is and where it ends.
    let behind = format!(
        "select format('%s has not handled everything since %s, and the stream EVENTS is %s %% full', name, handled_until, percent)
         from ({positions}) as consumer cross join (
           select max(seen_to) as seen_to, (array_agg(stream_percent order by checked_at desc))[1] as percent
           from ({positions}) as any_consumer) as stream
         where percent > 90 and handled_to < stream.seen_to and handled_until < now() - interval '1 minute'"
    );
    let unfilled = format!(
        "select format('%s: of the events %s to %s, which the stream discarded at %s, those unhandled are not all delivered again',
             consumer, first_sequence, last_sequence, found_at)
         from ({gaps}) as gap where finished_at is null and found_at < now() - interval '1 minute'"
    );
    let figures = format!(
        "select coalesce(string_agg(format('%s: %s discarded, %s delivered again', consumer, discarded, delivered), '; ' order by consumer),
             'nothing was discarded unhandled within a week')
         from (select consumer, sum(last_sequence - first_sequence + 1) as discarded,
               coalesce(sum(delivered_again), 0) as delivered from ({gaps}) as gap group by consumer) as counted"
    );
    let figures: String =
        sqlx::query_scalar(sqlx::AssertSqlSafe(figures)).fetch_one(&mut *connection).await?;
    let evidence = format!("the consumers of {}", domains.join(", "));
    let mut checked = Vec::new();
    for (name, promise, evidence, query) in [
        ("stream-room", "the stream has room for what its consumers have not handled", evidence, behind),
        ("discarded", "what the stream discarded unhandled was delivered again", figures, unfilled),
    ] {
        let (found, findings) = findings(connection, query).await?;
        checked.push(Checked { name, promise, evidence, found, findings });
    }
    Ok(checked)
}
