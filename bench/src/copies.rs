//! Copies of the rows of real sagas: to fill tables with history, and for a plain loop that writes the same rows as sagas.
//!
//! A copy has new ids, the same in every table, so a copied reservation has its own payment, claims and mails.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A table, the condition that selects the rows of a reservation (`s` is the row, `$1` the reservations' ids), and the
/// columns that differ in a copy (`g` is the number of the copy).
pub struct Table {
    pub schema: &'static str,
    pub name: &'static str,
    of: &'static str,
    renamed: &'static [(&'static str, &'static str)],
}

const OF_PAYMENT: &str = "s.payment_id in (select id from payment.payments where reservation_id = any($1))";
const OF_EVENT: &str = "exists (select from json_array_elements(s.events) as event
     where event -> 'payload' ->> 'reservationId' = any($1::text[]))";
/// A copied batch is one of a journal that upkeep does not know: it counts as published.
const JOURNAL: (&str, &str) = ("journal", "bench.fresh(s.journal, g)");
const PAYMENT: (&str, &str) = ("payment_id", "bench.fresh(s.payment_id, g)");
const ID: (&str, &str) = ("id", "bench.fresh(s.id, g)");
const RESERVATION: (&str, &str) = ("reservation_id", "bench.fresh(s.reservation_id, g)");
const KEY: (&str, &str) = ("key", "bench.fresh(s.key, g)");

/// Every table that a saga writes, parents first.
pub const TABLES: [Table; 12] = [
    table(
        "reservation",
        "idempotency",
        "convert_from(s.response, 'UTF8')::json->>'id' = any($1::text[])",
        &[KEY],
    ),
    table("reservation", "reservations", "s.id = any($1)", &[ID]),
    table(
        "reservation",
        "claims",
        "s.reservation_id = any($1)",
        &[RESERVATION, ("showtime_id", "bench.fresh(s.showtime_id, g)")],
    ),
    table(
        "reservation",
        "tickets",
        "s.reservation_id = any($1)",
        &[RESERVATION, ("showtime_id", "bench.fresh(s.showtime_id, g)")],
    ),
    table("reservation", "outbox", OF_EVENT, &[JOURNAL]),
    table(
        "payment",
        "idempotency",
        "convert_from(s.response, 'UTF8')::json->>'reservationId' = any($1::text[])",
        &[KEY],
    ),
    table("payment", "payments", "s.reservation_id = any($1)", &[ID, RESERVATION]),
    table("payment", "postings", OF_PAYMENT, &[PAYMENT]),
    table("payment", "provider_events", OF_PAYMENT, &[PAYMENT, ("id", "s.id || g")]),
    table("payment", "outbox", OF_EVENT, &[JOURNAL]),
    table("notification", "attendees", "s.reservation_id = any($1)", &[RESERVATION]),
    table(
        "notification",
        "mails",
        "s.reservation_id = any($1)",
        &[ID, RESERVATION, ("subject", "bench.fresh(s.subject, g)")],
    ),
];

const fn table(
    schema: &'static str,
    name: &'static str,
    of: &'static str,
    renamed: &'static [(&'static str, &'static str)],
) -> Table {
    Table { schema, name, of, renamed }
}

impl Table {
    pub fn source(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The table with the rows to be copied.
    pub fn staged(&self) -> String {
        format!("bench.staged_{}_{}", self.schema, self.name)
    }

    /// The statement that inserts copies `$1` to `$2` of the staged rows.
    pub async fn copying(&self, db: &mut PgConnection, target: &str) -> anyhow::Result<String> {
        let columns: Vec<String> = sqlx::query_scalar(
            "select column_name::text from information_schema.columns
             where table_schema = $1 and table_name = $2 and is_identity = 'NO' order by ordinal_position",
        )
        .bind(self.schema)
        .bind(self.name)
        .fetch_all(db)
        .await?;
        let value = |column: &String| {
            let renamed = self.renamed.iter().find(|(name, _)| name == column);
            renamed.map_or_else(|| format!("s.{column}"), |(_, value)| (*value).to_owned())
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        Ok(format!(
            "insert into {target} ({}) select {} from {} s, generate_series($1::bigint, $2::bigint) g",
            columns.join(", "),
            values.join(", "),
            self.staged()
        ))
    }
}

/// Stages the rows of `count` confirmed sagas.
pub async fn stage(database_url: &str, count: i64) -> anyhow::Result<PgConnection> {
    let mut db = PgConnection::connect(database_url).await?;
    run(&mut db, "drop schema if exists bench cascade").await?;
    run(&mut db, "create schema bench").await?;
    // The number replaces the upper half of the timestamp in the UUIDv7, so the ids of copies are unique and ordered by their
    // numbers, as real ids are ordered by time.
    run(
        &mut db,
        "create function bench.fresh(text, bigint) returns text language sql immutable
         return overlay($1 placing lpad(to_hex($2), 8, '0') from 1 for 8);
         create function bench.fresh(uuid, bigint) returns uuid language sql immutable
         return bench.fresh($1::text, $2)::uuid",
    )
    .await?;
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select id from reservation.reservations where status = 'CONFIRMED' order by id desc limit $1",
    )
    .bind(count)
    .fetch_all(&mut db)
    .await?;
    anyhow::ensure!(ids.len() as i64 == count, "only {} sagas were confirmed", ids.len());
    for table in &TABLES {
        let make = format!(
            "create table {} as select * from {} s where {}",
            table.staged(),
            table.source(),
            table.of
        );
        // `create table as` takes no bound parameters.
        let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let make = make.replace("$1::text[]", &format!("array[{}]::text[]", list.join(",")));
        let make = make.replace("$1", &format!("array[{}]::uuid[]", list.join(",")));
        run(&mut db, &make).await?;
    }
    Ok(db)
}

pub async fn run(db: &mut PgConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    Ok(())
}
