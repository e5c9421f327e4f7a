//! What a domain writes: the rows of its changes, in one of two forms.
//!
//! *One statement*: the domain gives its rows as parts of a `with`; the journal adds the idempotency records and the
//! batch's own row and sends all of it at once, which is the whole transaction unless something must be locked first.
//! *Dialogue*: the domain sends statements of its own within a transaction of the journal.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, Encode, PgConnection, Postgres, Type};

/// The rows of one domain's decision, written set-based together with those of others.
pub trait Rows: Send + Sync + Sized + 'static {
    /// Why the database refuses a change that is written alone.
    type Rejection: Send + 'static;
    /// What the decider gets to know of the commit, such as the showtime's new sequence.
    type Written: Send + Sync + 'static;

    /// A batch's rows in one statement; `None` where they take a dialogue.
    fn statement(_rows: &[&Self]) -> Option<Statement> {
        None
    }

    /// Locks what the statement rests on and judges what must be counted under the locks, where the statement was made with `locks`.
    fn lock<'a>(
        _connection: &'a mut PgConnection,
        _rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<(), WriteError<Self::Rejection>>> {
        async { Ok(()) }.boxed()
    }

    /// What each of the rows is to know, from [`Statement::written`].
    fn written(_rows: &[&Self], _written: &Value) -> Vec<Self::Written> {
        Vec::new()
    }

    /// Which rows the statement did not find as they expect, by their indexes, and why, from [`Statement::found`].
    fn lost(_rows: &[&Self], _found: &Value) -> Vec<(usize, Loss<Self::Rejection>)> {
        Vec::new()
    }

    /// Writes all of `rows` in a dialogue, tables in a fixed order and rows sorted, and returns what each is to know, in
    /// the order of `rows`. With several rows any shortfall is [`WriteError::Short`]; those that it names then come
    /// again alone and the others together, and with one row the error must say exactly why.
    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<Self::Written>, WriteError<Self::Rejection>>>;

    /// Keys of the seat lock that this change takes, such as `<showtime>/<seat>`.
    fn lock_keys(&self) -> Vec<String> {
        Vec::new()
    }

    /// What to publish on core NATS after the commit, for the whole batch: subject and JSON.
    fn notices(_committed: &[(&Self, &Self::Written)]) -> Vec<(String, Bytes)> {
        Vec::new()
    }
}

/// Rows as parts of one statement. The parts run in no fixed order on one snapshot, except where one selects from
/// another; so no rule may rest on a row that another part, or another host, writes meanwhile.
#[derive(Default)]
pub struct Statement {
    with: Vec<String>,
    /// All of them hold where every row was found as expected. Otherwise nothing is written.
    conditions: Vec<String>,
    /// JSON expression on the parts, for [`Rows::written`].
    pub written: Option<String>,
    /// JSON expression on the parts, for [`Rows::lost`]; evaluated only where a condition does not hold.
    pub found: Option<String>,
    pub(super) locks: bool,
    arguments: PgArguments,
}

impl Statement {
    /// `locks`: [`Rows::lock`] goes first, in the same transaction.
    pub fn new(locks: bool) -> Self {
        Self { locks, ..Self::default() }
    }

    /// Adds an argument and returns its place in the text, such as `$7`.
    pub fn add<'q, T>(&mut self, value: T) -> String
    where
        T: Encode<'q, Postgres> + Type<Postgres>,
    {
        self.arguments.add(value).expect("plain values and arrays of them can always be encoded");
        format!("${}", self.arguments.len())
    }

    /// Adds a part of the `with`, such as `updated as (update …)`.
    pub fn part(&mut self, part: impl Into<String>) {
        self.with.push(part.into());
    }

    pub fn condition(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// The parts, the conditions as one, and the arguments.
    pub(super) fn finish(self) -> (String, String, PgArguments) {
        let condition =
            if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" and ") };
        (self.with.join(",\n"), condition, self.arguments)
    }
}

/// Why rows were not written.
#[derive(Debug)]
pub enum WriteError<R> {
    /// These rows of the batch, by their indexes, did not find what they expect, and why.
    Lost(Vec<(usize, Loss<R>)>),
    /// The same without the reasons, and no rows where it is not known which. The reason shows when each is written alone.
    Short(Vec<usize>),
    /// The version moved: load again and decide again.
    Stale,
    Rejected(R),
    Sql(sqlx::Error),
}

/// Why one change is not written.
#[derive(Debug)]
pub enum Loss<R> {
    /// The version moved: load again and decide again.
    Stale,
    Rejected(R),
    /// Its idempotency key was used before.
    Repeated,
    /// A row that must be there is not: a bug, and poison.
    Broken(String),
}

impl<R> From<sqlx::Error> for WriteError<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl<R> WriteError<R> {
    /// The rows that kept the batch from being written; none where that is not known.
    pub(super) fn losers(&self) -> Vec<usize> {
        match self {
            Self::Lost(lost) => lost.iter().map(|(row, _)| *row).collect(),
            Self::Short(rows) => rows.clone(),
            _ => Vec::new(),
        }
    }
}
