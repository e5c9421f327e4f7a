-- Double-entry ledger, disputes, what was sold, and which payment a provider's event was about.

-- What is paid for, as reservation told it; null in rows from before.
alter table payment.payments
  add column showtime_id    uuid,
  add column movie_id       uuid,
  add column movie_title    text,
  add column show_starts_at timestamptz,
  add column tickets        int;

-- null where the event is about nothing of ours
alter table payment.provider_events add column payment_id uuid;
-- the payment's story as staff read it
create index provider_events_payment on payment.provider_events (payment_id) where payment_id is not null;

create table payment.disputes (
  id           uuid primary key,
  payment_id   uuid not null references payment.payments (id),
  provider_ref text not null constraint one_row_per_dispute unique,
  intent       text not null,
  -- null where the provider's could not be read
  amount       bigint,
  currency     text,
  reason       text not null,
  -- INQUIRY (no money moved), OPEN, WON, LOST, CLOSED (an inquiry that came to nothing)
  status       text not null,
  created_at   timestamptz not null,
  updated_at   timestamptz not null
);
create index disputes_payment on payment.disputes (payment_id);

-- Every movement of money: at least two rows a transaction, which sum to zero in each currency. Only ever added to.
create table payment.postings (
  payment_id  uuid not null,
  -- names the movement, such as refund:<id>:<try>; with the key below it is booked once
  transaction text not null,
  -- PROVIDER, SALES, REFUNDS, UNWANTED, DISPUTED, CHARGEBACKS, FEES
  account     text not null,
  -- minor units; debits are positive
  amount      bigint not null check (amount <> 0),
  currency    text not null,
  -- tickets sold (positive) or given back, on the rows of SALES and REFUNDS
  tickets     int not null,
  -- what happened: capture, late capture, unwanted capture, refund, …
  entry       text not null,
  at          timestamptz not null,
  constraint booked_once primary key (payment_id, transaction, account, currency)
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
