-- A dearer exchange: the money of the replaced order (`credit`) pays for a part of the new one; what is too little to be charged is
-- `waived`. `credited`: of this payment's money, what pays for the order in the place of its own.
-- The ledger has two more accounts: CREDIT, whose balance over both payments is nothing, and WAIVED.
create or replace view payment.overview as
select p.id, p.reservation_id, p.user_id, p.status, p.version, p.next_check_at, p.attention,
  (p.checkpoint #>> '{total,amount}')::bigint as amount, p.checkpoint #>> '{total,currency}' as currency,
  p.checkpoint #>> '{stage,is}' as stage, p.checkpoint #>> '{stage,providerRef}' as provider_ref,
  (p.checkpoint #>> '{stage,paidAt}')::timestamptz as paid_at,
  (p.checkpoint ->> 'expiresAt')::timestamptz as expires_at,
  (p.checkpoint #>> '{sale,showtimeId}')::uuid as showtime_id, (p.checkpoint #>> '{sale,tickets}')::int as tickets,
  p.created_at, p.updated_at,
  (p.checkpoint ->> 'exchangeOf')::uuid as exchange_of,
  coalesce((p.checkpoint #>> '{credit,total,amount}')::bigint, 0) as credit,
  coalesce((p.checkpoint #>> '{credit,waived,amount}')::bigint, 0) as waived,
  coalesce((select sum((capture #>> '{total,amount}')::bigint)
    from jsonb_array_elements(p.checkpoint -> 'credited') as capture), 0)::bigint as credited
from payment.payments p;
