select delivery.create_tables('payment');

create table payment.payments (
  id             uuid primary key,
  reservation_id uuid not null constraint one_payment_per_reservation unique,
  user_id        uuid not null,
  -- as the contract shows it
  status         text not null,
  -- a direct charge is open: it may yet be declined, and is counted as if it were
  charging       boolean not null,
  version        bigint not null,
  -- when to ask the provider next; null while nothing is open there
  next_check_at  timestamptz,
  -- why a person must look
  attention      text,
  -- the provider's names for attempts and refunds, for webhooks whose object does not carry our metadata
  provider_refs  text[] not null,
  -- all that the next step needs, with a `format`
  checkpoint     jsonb not null,
  -- what happened, as staff read it: {at, entry, detail}; the first lines and the newest
  log            jsonb not null,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  constraint captured_has_a_reference check (
    checkpoint #>> '{stage,is}' <> 'CAPTURED'
    or (checkpoint #>> '{stage,providerRef}' is not null and checkpoint #>> '{stage,paidAt}' is not null))
);
-- the sweep of next checks
create index payments_due on payment.payments (next_check_at) where next_check_at is not null;
-- what a person must look at
create index payments_attention on payment.payments (id) where attention is not null;
-- the open charges of an account
create index payments_charging on payment.payments (user_id) where charging;
create index payments_provider_refs on payment.payments using gin (provider_refs);

-- A log that has grown long, for a payment that is asked about for weeks, keeps its beginning and its newest lines.
create function payment.shortened(log jsonb) returns jsonb language sql immutable as $$
  select case when jsonb_array_length(log) < 500 then log
    else jsonb_path_query_array(log, '$[0 to 49, last - 299 to last]') end
$$;

-- A payment and its parts as people and checks read them; the checkpoint is where they are stored.
create view payment.overview as
select p.id, p.reservation_id, p.user_id, p.status, p.version, p.next_check_at, p.attention,
  (p.checkpoint #>> '{total,amount}')::bigint as amount, p.checkpoint #>> '{total,currency}' as currency,
  p.checkpoint #>> '{stage,is}' as stage, p.checkpoint #>> '{stage,providerRef}' as provider_ref,
  (p.checkpoint #>> '{stage,paidAt}')::timestamptz as paid_at,
  (p.checkpoint ->> 'expiresAt')::timestamptz as expires_at,
  (p.checkpoint #>> '{sale,showtimeId}')::uuid as showtime_id, (p.checkpoint #>> '{sale,tickets}')::int as tickets,
  p.created_at, p.updated_at
from payment.payments p;

create view payment.attempts as
select p.id as payment_id, (a ->> 'number')::int as number, a #>> '{kind,is}' as kind, a ->> 'state' as state,
  a ->> 'intent' as intent, a ->> 'session' as session, a ->> 'code' as code,
  (a ->> 'createdAt')::timestamptz as created_at
from payment.payments p, jsonb_array_elements(p.checkpoint -> 'attempts') as a;

create view payment.refunds as
select (r ->> 'id')::uuid as id, p.id as payment_id, r ->> 'origin' as origin, r ->> 'intent' as intent,
  (r #>> '{total,amount}')::bigint as amount, r #>> '{total,currency}' as currency, r ->> 'status' as status,
  r ->> 'providerRef' as provider_ref, (r ->> 'tries')::int as tries, r ->> 'code' as code, r ->> 'reason' as reason,
  (r ->> 'createdAt')::timestamptz as created_at
from payment.payments p, jsonb_array_elements(p.checkpoint -> 'refunds') as r;

create view payment.disputes as
select (d ->> 'id')::uuid as id, p.id as payment_id, d ->> 'providerRef' as provider_ref, d ->> 'intent' as intent,
  (d #>> '{total,amount}')::bigint as amount, d #>> '{total,currency}' as currency, d ->> 'reason' as reason,
  d ->> 'status' as status
from payment.payments p, jsonb_array_elements(p.checkpoint -> 'disputes') as d;

-- Declined direct charges, by account: a bound against the testing of stolen cards.
create table payment.declines (
  payment_id uuid not null,
  attempt    int not null,
  user_id    uuid not null,
  at         timestamptz not null,
  primary key (payment_id, attempt)
);
create index declines_of_user on payment.declines (user_id, at);

-- Locks the accounts that begin a direct charge, and only then counts the declines of each and its charges whose outcome is not
-- known: each statement of a volatile function sees what was committed before it began. One order on every host.
create function payment.lock_and_count_1(payers uuid[], since timestamptz[]) returns json language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('declines:' || payer, 0)) from unnest(payers) as payer order by payer;
  return (
    select coalesce(json_object_agg(bound.payer,
      (select count(*) from payment.declines where user_id = bound.payer and at > bound.since)
      + (select count(*) from payment.payments where user_id = bound.payer and charging)), '{}')
    from unnest(payers, since) as bound (payer, since));
end $$;

-- The provider's events, as they came.
create table payment.provider_events (
  id          text primary key,
  kind        text not null,
  body        text not null,
  -- null where the event is about no payment of ours
  payment_id  uuid,
  received_at timestamptz not null default now()
);
-- the log as staff read it
create index provider_events_payment on payment.provider_events (payment_id) where payment_id is not null;

-- Every movement of money: at least two rows a transaction, which sum to zero in each currency. Only ever added to.
create table payment.postings (
  payment_id  uuid not null,
  -- names the movement, such as refund:<id>:<try>; with the key below it is booked once
  transaction text not null,
  -- PROVIDER, SALES, REFUNDS, UNWANTED, DISPUTED, CHARGEBACKS, FEES
  account     text not null,
  -- minor units; debits are positive
  amount      bigint not null,
  currency    text not null,
  -- tickets sold (positive) or given back, on the rows of SALES; they can move without money
  tickets     int not null,
  -- what happened: capture, late capture, unwanted capture, refund, …
  entry       text not null,
  at          timestamptz not null,
  -- 1 on the rows of a move between shows that book for the new one, so that one transaction has both in one account
  leg         smallint not null default 0,
  -- on the rows of SALES, REFUNDS, DISPUTED and CHARGEBACKS, so that revenue and tickets follow an exchange; null where the
  -- payment does not know its show
  showtime_id uuid,
  movie_id    uuid,
  movie_title text,
  starts_at   timestamptz,
  constraint booked_once primary key (payment_id, transaction, account, currency, leg),
  constraint moves_something check (amount <> 0 or tickets <> 0)
);
-- reports over a time; rows come in the order of time
create index postings_at on payment.postings using brin (at);

-- One set-based check a statement: each statement adds whole transactions, so what is there sums to zero as well.
create function payment.postings_balance() returns trigger language plpgsql as $$
declare
  odd text;
begin
  select transaction into odd from added group by payment_id, transaction, currency having sum(amount) <> 0 limit 1;
  if found then
    raise exception 'the postings of % do not sum to zero', odd using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger postings_balance after insert on payment.postings
  referencing new table as added for each statement execute function payment.postings_balance();

create function payment.postings_stay() returns trigger language plpgsql as $$
begin
  raise exception 'postings are only ever added' using errcode = 'restrict_violation';
end $$;
create trigger postings_stay before update or delete or truncate on payment.postings
  for each statement execute function payment.postings_stay();

-- How far the provider's list of events has been read. One row: the host that writes it over the version that it read goes on.
create table payment.reconciliation (
  only_row    boolean primary key default true check (only_row),
  version     bigint not null,
  -- Unix seconds by the database's clock: what happened before has been read
  since       bigint not null,
  -- when the current pass began, and the last event that it has read; null between passes
  pass_began  bigint,
  pass_after  text,
  -- no host reads before this: it is also how long a host that died keeps the others from reading
  next_run_at timestamptz not null
);
insert into payment.reconciliation (version, since, next_run_at)
values (0, extract(epoch from now())::bigint, now());
