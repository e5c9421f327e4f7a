//! Disputes' rows.

use bus::contract::Timestamp;
use bus::contract::payment::DisputeStatus;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::dispute::Dispute;
use super::write::PaymentRows;

pub async fn write(db: &mut PgConnection, rows: &[&PaymentRows]) -> Result<(), sqlx::Error> {
    let mut of: Vec<(Uuid, &Dispute)> =
        rows.iter().flat_map(|r| r.disputes.iter().map(|dispute| (r.payment.id, dispute))).collect();
    if of.is_empty() {
        return Ok(());
    }
    of.sort_by_key(|(_, dispute)| dispute.id);
    sqlx::query(
        "insert into disputes (id, payment_id, provider_ref, intent, amount, currency, reason, status, created_at,
           updated_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int8[], $6::text[], $7::text[],
           $8::text[], $9::timestamptz[], $10::timestamptz[])
         on conflict (id) do update set status = excluded.status, updated_at = excluded.updated_at",
    )
    .bind(of.iter().map(|(_, d)| d.id).collect::<Vec<_>>())
    .bind(of.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.provider_ref.as_str()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.intent.as_str()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.total.map(|total| total.amount)).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.total.map(|t| t.currency.as_str().to_owned())).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.reason.as_str()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| name(d.status)).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.created_at.date_time()).collect::<Vec<_>>())
    .bind(of.iter().map(|(_, d)| d.updated_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

fn name(status: DisputeStatus) -> &'static str {
    match status {
        DisputeStatus::Inquiry => "INQUIRY",
        DisputeStatus::Open => "OPEN",
        DisputeStatus::Won => "WON",
        DisputeStatus::Lost => "LOST",
        DisputeStatus::Closed => "CLOSED",
    }
}

#[derive(Deserialize)]
pub struct DisputeRow {
    id: Uuid,
    provider_ref: String,
    intent: String,
    amount: Option<i64>,
    currency: Option<String>,
    reason: String,
    status: DisputeStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl DisputeRow {
    pub fn read(self) -> Result<Dispute, sqlx::Error> {
        let total =
            self.amount.zip(self.currency).map(|(amount, code)| super::money(amount, code)).transpose()?;
        Ok(Dispute {
            id: self.id,
            provider_ref: self.provider_ref,
            intent: self.intent,
            total,
            reason: self.reason,
            status: self.status,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}
