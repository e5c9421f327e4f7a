//! The rows of a domain's changes, in one of two forms.
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

/// A gauge and its query.
pub type Gauge = (&'static str, &'static str);

/// The rows of one domain's decision, written set-based together with those of others.
pub trait Rows: Send + Sync + Sized + 'static {
    /// Why the database refuses a change.
    type Rejection: Send + 'static;
    /// The result of the commit for the code that decided, such as the showtime's new sequence.
    type Written: Send + Sync + 'static;

    /// Metrics of the domain's own rows: a gauge, and a query for one number by an index.
    const GAUGES: &'static [Gauge] = &[];

    /// Whether these rows are part of one statement; if not, they take a dialogue. The journal never mixes the two.
    fn is_statement(&self) -> bool {
        false
    }

    /// Rows of which each is part of a statement, as one.
    fn statement(_rows: &[&Self]) -> Statement {
        Statement::default()
    }

    /// Locks the rows that the statement depends on and checks the counts under the locks, where the statement was made with
    /// `locks`.
    fn lock<'a>(
        _connection: &'a mut PgConnection,
        _rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<(), WriteError<Self::Rejection>>> {
        async { Ok(()) }.boxed()
    }

    /// The result for each of the rows, from [`Statement::written`].
    fn written(_rows: &[&Self], _written: &Value) -> Vec<Self::Written> {
        Vec::new()
    }

    /// Which rows the statement did not find as they expect, by their indexes, and why, from [`Statement::found`].
    fn lost(_rows: &[&Self], _found: &Value) -> Vec<(usize, Loss<Self::Rejection>)> {
        Vec::new()
    }

    /// Writes all of `rows` in a dialogue, tables in a fixed order and rows sorted, and returns the result for each, in
    /// the order of `rows`.
    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<Self::Written>, WriteError<Self::Rejection>>>;

    /// The notices to publish on core NATS after the commit, for the whole batch: subject and JSON.
    fn notices(_committed: &[(&Self, &Self::Written)]) -> Vec<(String, Bytes)> {
        Vec::new()
    }
}

/// Rows as parts of one statement. The parts run in no fixed order on one snapshot, except where one selects from another; so
/// no rule may depend on a row that another part, or another host, writes meanwhile.
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

/// Why the rows of a batch were not written.
#[derive(Debug)]
pub enum WriteError<R> {
    /// These rows, by their indexes, did not find the rows that they expect, and why. There may be more of them.
    Lost(Vec<(usize, Loss<R>)>),
    Sql(sqlx::Error),
}

/// Why one row of a dialogue was not written.
#[derive(Debug)]
pub enum RowError<R> {
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
    /// A required row is missing: a bug, and poison.
    Broken(String),
}

impl<R> From<sqlx::Error> for WriteError<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl<R> From<sqlx::Error> for RowError<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl<R> RowError<R> {
    /// The error of a batch in which the row has this index.
    pub fn at(self, row: usize) -> WriteError<R> {
        match self {
            Self::Stale => WriteError::Lost(vec![(row, Loss::Stale)]),
            Self::Rejected(rejection) => WriteError::Lost(vec![(row, Loss::Rejected(rejection))]),
            Self::Sql(error) => WriteError::Sql(error),
        }
    }
}

impl<R> WriteError<R> {
    /// The rows that kept the batch from being written; none where that is not known.
    pub(super) fn losers(&self) -> Vec<usize> {
        match self {
            Self::Lost(lost) => lost.iter().map(|(row, _)| *row).collect(),
            Self::Sql(_) => Vec::new(),
        }
    }
}
