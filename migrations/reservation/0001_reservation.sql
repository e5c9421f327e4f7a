-- Seats held, sold and given back. A reservation's row is its saga's checkpoint.

select delivery.create_tables('reservation');

-- What selling needs to know of a showtime, as movie's events have it.
create table reservation.showtimes (
  id          uuid primary key,
  status      text not null check (status in ('ON_SALE', 'CANCELLED')),
  starts_at   timestamptz not null,
  movie_id    uuid not null,
  movie_title text not null,
  layout      jsonb not null,
  prices      jsonb not null,
  -- the seat map's version: raised once by every batch that changes who has a seat of the showtime, or whether it is sold
  sequence    bigint not null default 0,
  -- movie's: an older or equal one changes nothing, and a claim is made only at the version that it was decided by
  version     bigint not null default 1
);
-- the occupancy report, by span of time
create index showtimes_by_start on reservation.showtimes (starts_at, id);

create table reservation.reservations (
  id              uuid primary key,
  user_id         uuid not null,
  email           text not null,
  showtime_id     uuid not null references reservation.showtimes (id),
  movie_id        uuid not null,
  movie_title     text not null,
  starts_at       timestamptz not null,
  seats           text[] not null,
  total           bigint not null check (total >= 0),
  currency        text not null,
  -- every change names the version it expects
  version         bigint not null,
  status          text not null check (status in ('PENDING', 'CONFIRMED', 'CANCELLED', 'REFUNDED')),
  -- the saga's state as JSON with its `format`
  checkpoint      jsonb not null,
  -- the saga's steps, oldest first, one a version: {version, input, state, at, by, detail}. The last thousand.
  history         json[] not null,
  -- when the saga asks; null when it waits for nothing
  deadline        timestamptz,
  -- a person must look
  attention       boolean not null default false,
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  -- the client's network (IPv4 /24, IPv6 /64), only while the hold is unpaid and bounds are on: it is set to null when the
  -- hold ends, since nothing but the count of open holds needs it
  network         text,
  -- when the hold ended unpaid by its customer's doing: it expired or was given back; null again where late money confirms it
  unpaid_ended_at timestamptz
);
-- the deadline sweep
create index reservations_due on reservation.reservations (deadline) where deadline is not null;
-- one's own reservations, newest first
create index reservations_of_user on reservation.reservations (user_id, id desc);
-- open holds of a user
create index reservations_pending on reservation.reservations (user_id) where status = 'PENDING';
create index reservations_of_showtime on reservation.reservations (showtime_id);
create index reservations_attention on reservation.reservations (id) where attention;
-- open holds of a network
create index reservations_pending_of_network on reservation.reservations (network)
  where status = 'PENDING' and network is not null;
-- the last holds of a user that ended unpaid
create index reservations_unpaid_ends on reservation.reservations (user_id, unpaid_ended_at desc)
  where unpaid_ended_at is not null;

-- One row for each seat that is held or sold; a seat without a row is free. The reservation's status decides which of the two.
create table reservation.claims (
  showtime_id    uuid not null,
  seat           text not null,
  reservation_id uuid not null references reservation.reservations (id),
  -- a seat has one owner
  constraint one_owner primary key (showtime_id, seat)
);
create index claims_of_reservation on reservation.claims (reservation_id);

-- Claims as seat maps and reports show them.
create view reservation.claimed_seats as
  select claim.showtime_id, claim.seat, claim.reservation_id,
    case owner.status when 'CONFIRMED' then 'SOLD' else 'HELD' end as status
  from reservation.claims as claim join reservation.reservations as owner on owner.id = claim.reservation_id;

-- The steps of every saga, one a row, for people and reports.
create view reservation.saga_steps as
  select id as reservation_id, (step ->> 'version')::bigint as version, step ->> 'input' as input,
    step ->> 'state' as state, (step ->> 'at')::timestamptz as at, (step ->> 'by')::uuid as by, step ->> 'detail' as detail
  from reservation.reservations cross join lateral unnest(history) as step;

-- Locks what a batch of new claims rests on, and only then counts: each statement of a volatile function sees what was committed
-- before it began. Accounts and networks first, in one order on every host, then showtimes by id.
create function reservation.lock_and_count_1(
  lock_names text[], of_users uuid[], of_networks text[], cooling_users uuid[], of_showtimes uuid[], with_layouts uuid[]
) returns json language plpgsql as $$
declare
  open json;
  ended json;
  locked json;
begin
  perform pg_advisory_xact_lock(hashtextextended(name, 0)) from unnest(lock_names) as name;
  perform from reservation.showtimes where id = any(of_showtimes) order by id for no key update;
  if cardinality(of_users) > 0 then
    select json_agg(held) into open from (
      select user_id, network, showtime_id, count(*) as holds, sum(cardinality(seats))::bigint as seats
      from reservation.reservations
      where status = 'PENDING' and (user_id = any(of_users) or network = any(of_networks))
      group by user_id, network, showtime_id) as held;
  end if;
  if cardinality(cooling_users) > 0 then
    select json_agg(json_build_object('user_id', account.id, 'at', last.unpaid_ended_at) order by last.unpaid_ended_at desc)
    into ended
    from unnest(cooling_users) as account (id) cross join lateral (
      select unpaid_ended_at from reservation.reservations
      where user_id = account.id and unpaid_ended_at is not null
      order by unpaid_ended_at desc limit 2) as last;
  end if;
  select json_agg(json_build_object(
    'id', id, 'on_sale', status = 'ON_SALE', 'upcoming', starts_at > clock_timestamp(), 'version', version,
    'starts_at', starts_at, 'layout', case when id = any(with_layouts) then layout end))
  into locked from reservation.showtimes where id = any(of_showtimes);
  return json_build_object('open', coalesce(open, '[]'), 'ended', coalesce(ended, '[]'), 'showtimes', coalesce(locked, '[]'));
end $$;
