select delivery.create_tables('payment');

create table payment.payments (
  id             uuid primary key,
  reservation_id uuid not null constraint one_payment_per_reservation unique,
  user_id        uuid not null,
  email          text,
  description    text not null,
  amount         bigint not null check (amount >= 0),
  currency       text not null,
  -- as the contract shows it; follows from the other columns and is kept for people and reports
  status         text not null,
  -- PAYABLE, ENDING (being closed at the provider), OVER, CAPTURED (one capture is accepted)
  stage          text not null,
  -- why it is ending or over
  code           text,
  -- the accepted capture; any other one is given back
  provider_ref   text,
  paid_at        timestamptz,
  version        bigint not null,
  -- the end of the hold as last told by reservation
  expires_at     timestamptz not null,
  -- when to ask the provider next; null while nothing is open there
  next_check_at  timestamptz,
  checks         int not null,
  -- why a person must look
  attention      text,
  -- the request that began it, for what a sweep finds out later
  context        json not null,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  constraint captured_has_a_reference check ((stage = 'CAPTURED') = (provider_ref is not null and paid_at is not null))
);
-- the deadline sweep
create index payments_due on payment.payments (next_check_at) where next_check_at is not null;
-- what a person must look at
create index payments_attention on payment.payments (id) where attention is not null;

create table payment.attempts (
  payment_id   uuid not null references payment.payments (id),
  number       int not null,
  -- TOKEN, HOSTED
  kind         text not null,
  -- OPENING, OPEN, CLOSING, CAPTURED, DECLINED, CLOSED
  state        text not null,
  -- the provider's token, only while it may have to be sent again
  method       text,
  -- when a hosted page ends by itself, in Unix seconds: a repeated call must be the same to the letter
  page_ends_at bigint,
  intent       text,
  session      text,
  checkout_url text,
  code         text,
  -- the idempotency key whose answer is not stored yet
  claim_user   uuid,
  claim_key    text,
  created_at   timestamptz not null,
  primary key (payment_id, number)
);
-- webhooks whose object does not carry our metadata
create index attempts_intent on payment.attempts (intent) where intent is not null;
create index attempts_session on payment.attempts (session) where session is not null;

create table payment.refunds (
  id           uuid primary key,
  payment_id   uuid not null references payment.payments (id),
  -- ASKED: refund.requested; OWN: a capture that nobody wanted
  origin       text not null,
  intent       text not null,
  amount       bigint not null,
  currency     text not null,
  -- REQUESTED, COMPLETED, FAILED
  status       text not null,
  provider_ref text,
  -- each try has a provider key of its own
  tries        int not null,
  code         text,
  reason       text not null,
  created_at   timestamptz not null,
  tried_at     timestamptz not null
);
create index refunds_payment on payment.refunds (payment_id);
create index refunds_provider_ref on payment.refunds (provider_ref) where provider_ref is not null;

-- The payment's story, only ever added to.
create table payment.log (
  id         bigint generated always as identity primary key,
  payment_id uuid not null,
  at         timestamptz not null,
  entry      text not null,
  detail     text not null
);
create index log_payment on payment.log (payment_id, id);

-- What the provider told, as it came. The inbox dedupes; this outlives it.
create table payment.provider_events (
  id          text primary key,
  kind        text not null,
  body        text not null,
  received_at timestamptz not null default now()
);
