//! One page of what a query finds, with the total: one statement, so that both agree.
//!
//! A listing is put together from the conditions that were asked for. A condition that is switched off by a parameter
//! (`$1 is null or …`) would keep a prepared statement's general plan from using any index.

use bus::contract::{Page, Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Postgres, QueryBuilder, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// What is found, so far as it is said.
pub struct Listing(QueryBuilder<Postgres>);

impl Listing {
    /// `found` is a select with its `where`; conditions follow.
    pub fn new(found: &str) -> Self {
        Self(QueryBuilder::new(format!("with found as ({found}")))
    }

    pub fn query(&mut self) -> &mut QueryBuilder<Postgres> {
        &mut self.0
    }

    pub fn and(&mut self) -> &mut QueryBuilder<Postgres> {
        self.0.push(" and ")
    }

    /// The page in this order. `more` is selected for each of its rows, for which it is called `page`.
    pub async fn page<'e, T>(
        mut self,
        db: impl PgExecutor<'e>,
        paging: &Paging,
        order: &str,
        more: &str,
        read: fn(&PgRow) -> sqlx::Result<T>,
    ) -> sqlx::Result<Page<T>> {
        let query = &mut self.0;
        query.push("), page as (select * from found order by ").push(order);
        query.push(" limit ").push_bind(paging.limit()).push(" offset ").push_bind(paging.offset());
        // The total comes in each row, also where the page lies beyond the end and its one row is empty.
        query.push(") select (select count(*) from found) as total, page.*").push(more);
        query.push(" from (values (1)) as always left join page on true order by ").push(order);
        let rows = query.build().fetch_all(db).await?;
        let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            if row.try_get::<Option<Uuid>, _>("id")?.is_some() {
                items.push(read(&row)?);
            }
        }
        Ok(paging.of(items, total.unsigned_abs()))
    }
}

pub fn timestamp(row: &PgRow, column: &str) -> sqlx::Result<Timestamp> {
    Ok(row.try_get::<OffsetDateTime, _>(column)?.into())
}
