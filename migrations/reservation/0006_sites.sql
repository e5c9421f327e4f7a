-- The copy of the sites, by whose rules orders are made, and what a showtime has otherwise.

create table reservation.sites (
  id      uuid primary key,
  -- one with a lower version changes nothing
  version bigint not null,
  -- as in the contract (Site)
  site    jsonb not null
);

alter table reservation.showtimes
  add column site_id uuid not null default '0199f5c0-0000-7000-8000-000000000001',
  add column overrides jsonb;
comment on column reservation.showtimes.overrides is 'what it has otherwise than its site; null for nothing';
