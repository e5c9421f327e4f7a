-- Erased persons: payments, postings and receipts stay without the person; an invoice keeps its buyer for its legal term.

-- A replayed or late event about one of these users stores nothing personal.
create table payment.erased_users (
  user_id uuid primary key,
  at      timestamptz not null
);

-- payments whose address is removed some days after the show
create index payments_with_address on payment.payments ((checkpoint #>> '{sale,startsAt}')) where checkpoint ->> 'email' is not null;

-- An event of the provider without the person: its id, its kind and its amounts. A body that is no JSON object is dropped.
create function payment.reduced(body text) returns text language plpgsql immutable as $$
declare
  event jsonb;
begin
  event := body::jsonb;
  -- reduced before
  if event -> 'data' is null then
    return body;
  end if;
  return jsonb_strip_nulls(jsonb_build_object('id', event -> 'id', 'type', event -> 'type', 'created', event -> 'created',
    'amounts', (select jsonb_object_agg(key, value) from jsonb_each(event #> '{data,object}')
      where key = 'currency' or jsonb_typeof(value) = 'number' and key like '%amount%')))::text;
exception when others then
  return '{}';
end $$;

-- Removes the person from the payments of orders, and from what the provider reported of them. `owner`: the erased user, to whom
-- a guest's orders may have gone since; null leaves the owner. The version rises, so that a host whose copy still has the address
-- loses its write and reads again.
create function payment.blank_payments(orders uuid[], owner uuid) returns bigint language plpgsql as $$
declare
  blanked bigint;
begin
  perform from payment.payments where reservation_id = any(orders) order by id for no key update;
  update payment.payments as p set
    version = p.version + 1, user_id = coalesce(owner, p.user_id),
    checkpoint = p.checkpoint || jsonb_build_object('email', null, 'userId', coalesce(owner, p.user_id)),
    log = payment.shortened(p.log) || jsonb_build_array(jsonb_build_object('at', now(), 'entry', 'address removed', 'detail', ''))
  where reservation_id = any(orders)
    and (p.checkpoint ->> 'email' is not null or p.user_id is distinct from coalesce(owner, p.user_id));
  get diagnostics blanked = row_count;
  update payment.provider_events set body = payment.reduced(body)
  where payment_id in (select id from payment.payments where reservation_id = any(orders));
  return blanked;
end $$;

-- Nobody could find these when their person is erased.
update payment.provider_events set body = payment.reduced(body) where payment_id is null;
