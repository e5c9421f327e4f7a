-- Erased persons: orders stay without address and name.

-- A replayed or late request about one of these users stores nothing personal.
create table reservation.erased_users (
  user_id uuid primary key,
  at      timestamptz not null
);

-- addresses that are blanked some days after the show, and the guests who are erased then
create index reservations_with_address on reservation.reservations (starts_at) where email <> '';

-- Removes the person from orders. `cause` is the step in the saga's log; steps that name an address lose their detail. The version
-- rises, so that a host whose copy still has the address loses its write and reads again; earlier links open the order no more.
create function reservation.blank_orders(orders uuid[], cause text) returns bigint language plpgsql as $$
declare
  blanked bigint;
begin
  perform from reservation.reservations where id = any(orders) order by id for no key update;
  update reservation.reservations as r set
    email = '', version = r.version + 1, updated_at = now(),
    checkpoint = jsonb_set(r.checkpoint - 'customerName', '{access}', to_jsonb(coalesce((r.checkpoint ->> 'access')::int, 0) + 1)),
    history = array_append(
      (select array_agg(
          case when step ->> 'input' in ('readdress', 'set-customer', 'merge') then (step::jsonb - 'detail')::json else step end
          order by nth)
        from unnest(r.history[greatest(cardinality(r.history) - 998, 1):]) with ordinality as kept (step, nth)),
      json_build_object('version', r.version + 1, 'input', cause, 'state', r.history[cardinality(r.history)] ->> 'state',
        'at', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
  where id = any(orders) and (email <> '' or checkpoint ? 'customerName');
  get diagnostics blanked = row_count;
  return blanked;
end $$;

-- Remembers that a user is erased. Under the lock that new orders of the user take: one is either committed before, and blanked, or
-- refused.
create function reservation.remember_erased(person uuid, erased_at timestamptz) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(person::text, 0));
  insert into reservation.erased_users (user_id, at) values (person, erased_at) on conflict do nothing;
end $$;
