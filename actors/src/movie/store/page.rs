//! One page of a query's rows, with the total: one statement, so that both agree.
//!
//! A listing has only the conditions that were requested. A condition that is switched off by a parameter
//! (`$1 is null or …`) would keep a prepared statement's generic plan from using any index.

use bus::contract::{Page, Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Postgres, QueryBuilder, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// A query with the conditions so far.
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
        // Each row has the total, also the one empty row of a page beyond the end.
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
