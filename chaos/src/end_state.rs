//! The end state, read from outside: the database, the streams, the records of the provider and of the mail server.
//!
//! The database is read in one repeatable-read snapshot when the deployment is idle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::deployment::{API_KEY, Deployment};
use crate::mail_server::ReceivedMail;

pub const SCHEMAS: [&str; 5] = ["auth", "movie", "reservation", "payment", "notification"];
/// The longest time for a message of a stream.
const READ_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Reservation {
    pub id: Uuid,
    pub user: Uuid,
    pub email: String,
    /// Raised when links in earlier mails must open the order no more.
    pub access: i64,
    pub showtime: Uuid,
    pub seats: Vec<String>,
    /// Its lines.
    pub tickets: Vec<Ticket>,
    pub total: i64,
    pub status: String,
    pub attention: bool,
    pub expires_at: OffsetDateTime,
    /// The reservation that this one was made to replace.
    pub exchange_of: Option<Uuid>,
    /// What pays for it besides its own payment: the money of the replaced order, and what was waived.
    pub credit: i64,
    pub waived: i64,
    /// Its money that pays for the order in its place.
    pub credited: i64,
    pub steps: Vec<Step>,
}

impl Reservation {
    /// Whether it has other seats than those that were ordered.
    pub fn has_changed_seats(&self) -> bool {
        self.steps.iter().any(|step| ["exchange", "return"].contains(&step.input.as_str()))
    }
}

/// A line of a reservation.
#[derive(Clone, Debug, Deserialize)]
pub struct Ticket {
    pub seat: String,
    /// Empty where a host of the version before ticket types has written it.
    #[serde(default, rename = "type")]
    pub ticket_type: String,
}

/// A refund that reservation has requested, as payment has stored it.
#[derive(Clone, Debug)]
pub struct Refund {
    pub reservation: Uuid,
    pub amount: i64,
    pub status: String,
    pub reason: String,
}

impl Refund {
    /// Whether it is for seats that fell away, which are not part of the price of the reservation any more.
    pub fn is_difference(&self) -> bool {
        ["EXCHANGED", "RETURNED"].contains(&self.reason.as_str())
    }
}

#[derive(Clone, Debug)]
pub struct Step {
    pub version: i64,
    pub input: String,
    pub state: String,
    /// The commit time of Postgres; for a step without an event, the time of the decision.
    pub committed: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub struct OutboxEvent {
    pub id: Uuid,
    pub domain: &'static str,
    pub subject: String,
    pub payload: Value,
    pub published: bool,
}

#[derive(Clone, Debug)]
pub struct Mail {
    pub id: Uuid,
    pub kind: String,
    pub subject: String,
    pub status: String,
    pub created_at: OffsetDateTime,
}

/// A capture at the provider.
#[derive(Clone, Debug)]
pub struct Capture {
    pub intent: String,
    pub reservation: Uuid,
    pub amount: i64,
}

#[derive(Clone, Debug)]
pub struct ProviderRefund {
    pub intent: String,
    pub reservation: Option<Uuid>,
    pub refund: String,
    pub amount: i64,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct StreamMessage {
    pub id: String,
    pub subject: String,
}

pub struct EndState {
    pub read_at: OffsetDateTime,
    pub reservations: BTreeMap<Uuid, Reservation>,
    /// (showtime, seat, reservation, status)
    pub claims: Vec<(Uuid, String, Uuid, String)>,
    pub events: Vec<OutboxEvent>,
    /// The versions of the rows that domains write for events of others, by kind of row and id.
    pub handled: HashMap<(String, String), i64>,
    pub mails: Vec<Mail>,
    /// The reservation id in each stored answer, by idempotency key.
    pub answered: HashMap<String, Option<Uuid>>,
    pub payments: BTreeSet<Uuid>,
    /// The balance of the account PROVIDER in the ledger.
    pub ledger: i64,
    /// The number of transactions that do not sum to zero.
    pub unbalanced: i64,
    pub postings: i64,
    pub refunds: Vec<Refund>,
    pub attention: Vec<String>,
    pub stream: Vec<StreamMessage>,
    pub dead_letters: Vec<StreamMessage>,
    pub captures: Vec<Capture>,
    pub provider_refunds: Vec<ProviderRefund>,
    pub received_mails: Vec<ReceivedMail>,
}

impl EndState {
    pub async fn read(deployment: &Deployment) -> Result<Self> {
        let nats = nats(deployment).await?;
        let mut db = PgConnection::connect(&deployment.database_url).await?;
        sqlx::raw_sql("begin isolation level repeatable read read only").execute(&mut db).await?;
        let mut events = Vec::new();
        for schema in SCHEMAS {
            events.extend(outbox(&mut db, schema).await?);
        }
        let ledger: (i64, i64, i64) = sqlx::query_as(
            "select coalesce(sum(amount) filter (where account = 'PROVIDER'), 0)::int8, count(*),
               (select count(*) from (select from payment.postings
                  group by payment_id, transaction, currency having sum(amount) <> 0) as off)
             from payment.postings",
        )
        .fetch_one(&mut db)
        .await?;
        let (captures, provider_refunds) = provider_records(deployment).await?;
        Ok(Self {
            read_at: OffsetDateTime::now_utc(),
            reservations: reservations(&mut db).await?,
            claims: sqlx::query_as(
                "select showtime_id, seat, reservation_id, status from reservation.claimed_seats",
            )
            .fetch_all(&mut db)
            .await?,
            events,
            handled: handled(&mut db).await?,
            mails: mails(&mut db).await?,
            answered: answered(&mut db).await?,
            payments: sqlx::query_scalar::<_, Uuid>("select id from payment.payments")
                .fetch_all(&mut db)
                .await?
                .into_iter()
                .collect(),
            ledger: ledger.0,
            postings: ledger.1,
            unbalanced: ledger.2,
            refunds: refunds(&mut db).await?,
            attention: sqlx::query_scalar(
                "select format('reservation %s', id) from reservation.reservations where attention
                 union all select format('payment %s: %s', id, attention) from payment.payments
                 where attention is not null",
            )
            .fetch_all(&mut db)
            .await?,
            stream: messages(&nats, "EVENTS").await?,
            dead_letters: messages(&nats, "DLQ").await?,
            captures,
            provider_refunds,
            received_mails: deployment.mail_server.mails(),
        })
    }

    pub fn events_of(&self, subject: &str) -> impl Iterator<Item = &OutboxEvent> {
        self.events.iter().filter(move |event| event.subject == subject)
    }

    /// The money that the provider has for a reservation: captured less refunded.
    pub fn balance(&self, reservation: Uuid) -> i64 {
        let captured: i64 =
            self.captures.iter().filter(|c| c.reservation == reservation).map(|c| c.amount).sum();
        let refunds = self.provider_refunds.iter().filter(|refund| refund.reservation == Some(reservation));
        captured - refunds.map(|refund| refund.amount).sum::<i64>()
    }
}

/// Connects to NATS as the user who may do everything, without a proxy.
pub async fn nats(deployment: &Deployment) -> Result<async_nats::jetstream::Context> {
    let options = async_nats::ConnectOptions::with_user_and_password(
        marquee::config::MAINTENANCE.to_owned(),
        marquee::local::temporary_password().to_owned(),
    );
    let addresses: Vec<&str> = deployment.nats_url.split(',').collect();
    let client = options.connect(addresses.as_slice()).await.context("connecting to NATS")?;
    Ok(async_nats::jetstream::new(client))
}

async fn reservations(db: &mut PgConnection) -> Result<BTreeMap<Uuid, Reservation>> {
    let rows = sqlx::query(
        "select id, user_id, showtime_id, seats, total, status, attention,
           (checkpoint ->> 'expiresAt')::timestamptz, (checkpoint ->> 'exchangeOf')::uuid, checkpoint -> 'terms' -> 'lines',
           coalesce((checkpoint #>> '{credit,total,amount}')::bigint, 0), coalesce((checkpoint #>> '{credit,waived,amount}')::bigint, 0),
           coalesce((select sum((capture #>> '{total,amount}')::bigint)
             from jsonb_array_elements(checkpoint -> 'credited') as capture), 0)::bigint,
           email, coalesce((checkpoint ->> 'access')::bigint, 0)
         from reservation.reservations",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut found = BTreeMap::new();
    for row in rows {
        let reservation = Reservation {
            id: row.try_get(0)?,
            user: row.try_get(1)?,
            email: row.try_get(13)?,
            access: row.try_get(14)?,
            showtime: row.try_get(2)?,
            seats: row.try_get(3)?,
            tickets: row.try_get::<sqlx::types::Json<_>, _>(9)?.0,
            total: row.try_get(4)?,
            status: row.try_get(5)?,
            attention: row.try_get(6)?,
            expires_at: row.try_get(7)?,
            exchange_of: row.try_get(8)?,
            credit: row.try_get(10)?,
            waived: row.try_get(11)?,
            credited: row.try_get(12)?,
            steps: Vec::new(),
        };
        found.insert(reservation.id, reservation);
    }
    let steps = sqlx::query(
        // A step that gives or takes seats leaves with an event of its version, in the same transaction.
        "with committed as (
           select event -> 'payload' ->> 'reservationId' as reservation_id, (event -> 'payload' ->> 'version')::bigint as version,
             min(pg_xact_commit_timestamp(batch.xmin)) as at
           from reservation.outbox as batch cross join lateral json_array_elements(batch.events) as event
           where event ->> 'subject' in ('reservation.created', 'reservation.confirmed', 'reservation.cancelled')
           group by 1, 2)
         select step.reservation_id, step.version, step.input, step.state, coalesce(committed.at, step.at)
         from reservation.saga_steps as step
         left join committed on committed.reservation_id = step.reservation_id::text and committed.version = step.version
         order by step.reservation_id, step.version",
    )
    .fetch_all(db)
    .await?;
    for row in steps {
        let of: Uuid = row.try_get(0)?;
        let step = Step {
            version: row.try_get(1)?,
            input: row.try_get(2)?,
            state: row.try_get(3)?,
            committed: row.try_get(4)?,
        };
        if let Some(reservation) = found.get_mut(&of) {
            reservation.steps.push(step);
        }
    }
    Ok(found)
}

async fn refunds(db: &mut PgConnection) -> Result<Vec<Refund>> {
    let rows = sqlx::query(
        "select p.reservation_id, f.amount, f.status, f.reason from payment.refunds f
         join payment.payments p on p.id = f.payment_id where f.origin = 'ASKED'",
    );
    let refund = |row: sqlx::postgres::PgRow| -> Result<Refund, sqlx::Error> {
        Ok(Refund {
            reservation: row.try_get(0)?,
            amount: row.try_get(1)?,
            status: row.try_get(2)?,
            reason: row.try_get(3)?,
        })
    };
    Ok(rows.fetch_all(db).await?.into_iter().map(refund).collect::<Result<_, _>>()?)
}

async fn outbox(db: &mut PgConnection, schema: &'static str) -> Result<Vec<OutboxEvent>> {
    let query = format!(
        "select id, subject, payload::jsonb, not exists (select from {schema}.unsent where unsent.id = events.id)
         from {schema}.events order by id"
    );
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(db).await?;
    let event = |row: sqlx::postgres::PgRow| -> Result<OutboxEvent, sqlx::Error> {
        Ok(OutboxEvent {
            id: row.try_get(0)?,
            domain: schema,
            subject: row.try_get(1)?,
            payload: row.try_get(2)?,
            published: row.try_get(3)?,
        })
    };
    Ok(rows.into_iter().map(event).collect::<Result<_, _>>()?)
}

async fn handled(db: &mut PgConnection) -> Result<HashMap<(String, String), i64>> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select 'attendee', reservation_id::text, version from notification.attendees
         union all select 'showtime of notification', id::text, version from notification.showtimes
         union all select 'showtime of reservation', id::text, version from reservation.showtimes
         union all select 'payment', reservation_id::text, 0::bigint from payment.payments
         union all select 'audit record', id::text, 0::bigint from auth.audit",
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(kind, id, version)| ((kind, id), version)).collect())
}

async fn mails(db: &mut PgConnection) -> Result<Vec<Mail>> {
    let rows = sqlx::query("select id, kind, subject, status, created_at from notification.mails");
    let rows = rows.fetch_all(db).await?;
    let mail = |row: sqlx::postgres::PgRow| -> Result<Mail, sqlx::Error> {
        Ok(Mail {
            id: row.try_get(0)?,
            kind: row.try_get(1)?,
            subject: row.try_get(2)?,
            status: row.try_get(3)?,
            created_at: row.try_get(4)?,
        })
    };
    Ok(rows.into_iter().map(mail).collect::<Result<_, _>>()?)
}

/// The keys of orders with the ids in their answers; an answer without an id counts as none.
async fn answered(db: &mut PgConnection) -> Result<HashMap<String, Option<Uuid>>> {
    let rows: Vec<(String, Option<Vec<u8>>)> = sqlx::query_as(
        "select key, response from reservation.idempotency where route = 'rpc.reservation.create'",
    )
    .fetch_all(db)
    .await?;
    let id = |response: Option<Vec<u8>>| {
        response.and_then(|bytes| crate::record::id_of(&String::from_utf8_lossy(&bytes)))
    };
    Ok(rows.into_iter().map(|(key, response)| (key, id(response))).collect())
}

/// All messages of a stream.
async fn messages(jetstream: &async_nats::jetstream::Context, name: &str) -> Result<Vec<StreamMessage>> {
    let mut stream = jetstream.get_stream(name).await.with_context(|| format!("the stream {name}"))?;
    let wanted = stream.info().await?.state.messages as usize;
    let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    let mut found = Vec::with_capacity(wanted);
    while found.len() < wanted {
        let next = tokio::time::timeout(READ_MAX, messages.next()).await;
        let Some(message) =
            next.with_context(|| format!("only {} of {wanted} messages were received", found.len()))?
        else {
            break;
        };
        let message = message?;
        let header = message.headers.as_ref().and_then(|headers| headers.get("ce-id"));
        found.push(StreamMessage {
            id: header.map(|id| id.as_str().to_owned()).unwrap_or_default(),
            subject: message.subject.to_string(),
        });
    }
    Ok(found)
}

/// The captures and refunds of the provider, read without a proxy.
async fn provider_records(deployment: &Deployment) -> Result<(Vec<Capture>, Vec<ProviderRefund>)> {
    let id = |value: &Value| value.as_str().and_then(|id| id.parse::<Uuid>().ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut captures = Vec::new();
    for intent in list(deployment, "payment_intents").await? {
        if intent["status"] == "succeeded" {
            captures.push(Capture {
                intent: text(&intent["id"]),
                reservation: id(&intent["metadata"]["reservation_id"])
                    .context("a capture without a reservation")?,
                amount: intent["amount_received"].as_i64().unwrap_or_default(),
            });
        }
    }
    let mut provider_refunds = Vec::new();
    for refund in list(deployment, "refunds").await? {
        if refund["status"] == "succeeded" {
            provider_refunds.push(ProviderRefund {
                intent: text(&refund["payment_intent"]),
                reservation: id(&refund["metadata"]["reservation_id"]),
                refund: text(&refund["metadata"]["refund_id"]),
                amount: refund["amount"].as_i64().unwrap_or_default(),
            });
        }
    }
    Ok((captures, provider_refunds))
}

async fn list(deployment: &Deployment, what: &str) -> Result<Vec<Value>> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let after = found.last().and_then(|last| last["id"].as_str());
        let after = after.map(|id| format!("&starting_after={id}")).unwrap_or_default();
        let url = format!("http://{}/v1/{what}?limit=100{after}", deployment.provider);
        let page: Value = deployment
            .client
            .http
            .get(url)
            .bearer_auth(API_KEY)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        found.extend(page["data"].as_array().cloned().unwrap_or_default());
        if page["has_more"] != true {
            return Ok(found);
        }
    }
}
