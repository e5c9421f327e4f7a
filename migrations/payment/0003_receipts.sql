-- Receipts and credit notes. A row is written with the capture or refund that causes it; its number comes later, from a worker.
create table payment.receipts (
  kind           text not null constraint known_kind check (kind in ('RECEIPT', 'CREDIT_NOTE')),
  -- the payment, or the refund
  cause          uuid not null,
  payment_id     uuid not null,
  reservation_id uuid not null,
  -- minor units, above 0 for both kinds
  amount         bigint not null constraint of_something check (amount > 0),
  currency       text not null,
  -- order code, language, description, lines, fees, and taxes by rate
  content        jsonb not null,
  due_at         timestamptz not null,
  -- from here on null until it has a number
  site           text,
  -- of issued_at, by the cinema's clock
  year           smallint,
  number         bigint,
  -- never before that of a smaller number of the series
  issued_at      timestamptz,
  -- the cinema as it was configured then
  seller         jsonb,
  -- a fiscal service signs it
  is_signed      boolean not null default false,
  signature      text,
  constraint one_receipt primary key (kind, cause),
  constraint one_number unique (site, kind, year, number),
  constraint numbered_whole check (num_nonnulls(site, year, number, issued_at, seller) in (0, 5))
);
-- what the worker numbers
create index receipts_due on payment.receipts (due_at, cause) where number is null;
-- what it has signed
create index receipts_unsigned on payment.receipts (issued_at, cause) where is_signed and signature is null;
create index receipts_of_order on payment.receipts (reservation_id);

-- The counters. No sequence: those have gaps.
create table payment.receipt_series (
  site        text not null,
  kind        text not null,
  year        smallint not null,
  last_number bigint not null,
  -- of the last number
  issued_at   timestamptz not null,
  primary key (site, kind, year)
);

-- Whom the receipts of an order are made out to. Only ever added to.
create table payment.buyers (
  reservation_id uuid primary key,
  buyer          jsonb not null,
  set_at         timestamptz not null default now()
);

create function payment.receipts_stay() returns trigger language plpgsql as $$
begin
  raise exception 'a receipt with a number does not change' using errcode = 'restrict_violation';
end $$;
create trigger receipts_stay before update on payment.receipts for each row
  when (old.number is not null and (old.signature is not null or to_jsonb(old) - 'signature' <> to_jsonb(new) - 'signature'))
  execute function payment.receipts_stay();
create trigger receipts_are_kept before delete or truncate on payment.receipts
  for each statement execute function payment.receipts_stay();
