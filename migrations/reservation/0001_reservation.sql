-- Seats held, sold and given back. A reservation's row is its saga's checkpoint.

select delivery.create_tables('reservation');

-- What selling needs to know of a showtime, frozen as movie told it.
create table reservation.showtimes (
  id          uuid primary key,
  status      text not null check (status in ('ON_SALE', 'CANCELLED')),
  starts_at   timestamptz not null,
  movie_id    uuid not null,
  movie_title text not null,
  layout      jsonb not null,
  prices      jsonb not null,
  -- the seat map's version: raised once by every transaction that changes a claim of the showtime
  sequence    bigint not null default 0
);

create table reservation.reservations (
  id          uuid primary key,
  user_id     uuid not null,
  email       text not null,
  showtime_id uuid not null references reservation.showtimes (id),
  movie_id    uuid not null,
  movie_title text not null,
  starts_at   timestamptz not null,
  seats       text[] not null,
  total       bigint not null check (total >= 0),
  currency    text not null,
  -- every change names the version it expects
  version     bigint not null,
  status      text not null check (status in ('PENDING', 'CONFIRMED', 'CANCELLED', 'REFUNDED')),
  -- the saga's state as JSON with its `format`
  checkpoint  jsonb not null,
  -- when the saga asks; null when it waits for nothing
  deadline    timestamptz,
  -- a person must look
  attention   boolean not null default false,
  created_at  timestamptz not null,
  updated_at  timestamptz not null
);
-- the deadline sweep
create index reservations_due on reservation.reservations (deadline) where deadline is not null;
-- one's own reservations, newest first
create index reservations_of_user on reservation.reservations (user_id, id desc);
-- open holds of a user
create index reservations_pending on reservation.reservations (user_id) where status = 'PENDING';
create index reservations_of_showtime on reservation.reservations (showtime_id);
create index reservations_attention on reservation.reservations (id) where attention;

-- One row a seat that is held or sold; no row, free.
create table reservation.claims (
  showtime_id    uuid not null,
  seat           text not null,
  reservation_id uuid not null references reservation.reservations (id),
  status         text not null check (status in ('HELD', 'SOLD')),
  -- a seat has one owner
  constraint one_owner primary key (showtime_id, seat)
);
create index claims_of_reservation on reservation.claims (reservation_id);

-- The saga's log: every step that changed something, gapless by version.
create table reservation.saga_steps (
  reservation_id uuid not null,
  version        bigint not null,
  input          text not null,
  state          text not null,
  at             timestamptz not null,
  primary key (reservation_id, version)
);
