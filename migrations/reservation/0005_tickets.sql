-- The ticket log: each ticket sold, under a number that is gapless within its showtime, and how it ended. Append-only.

-- How many tickets of the showtime were ever sold: the last number. Raised in the statement that raises `sequence`.
alter table reservation.showtimes add column tickets bigint not null default 0;

create table reservation.tickets (
  showtime_id    uuid not null,
  number         bigint not null check (number > 0),
  reservation_id uuid not null,
  -- the reservation's version that has this ticket for the first time
  version        bigint not null,
  movie_id       uuid not null,
  seat           text not null,
  ticket_type    text not null,
  reported_as    text not null check (reported_as in ('FULL', 'REDUCED', 'FREE')),
  -- with surcharges and tax; rates are in thousandths of a percent
  price          bigint not null,
  tax_rate       int not null,
  tax            bigint not null,
  -- the ticket's own fees and its share of the order's: prices and fees of an order's tickets add up to its total
  fee            bigint not null,
  fee_tax_rate   int not null,
  fee_tax        bigint not null,
  currency       text not null,
  channel        text not null,
  -- NONE: the order cost nothing
  paid_by        text not null check (paid_by in ('ONLINE', 'NONE')),
  sold_at        timestamptz not null,
  primary key (showtime_id, number)
);
-- the tickets of an order, when they end
create index tickets_of_reservation on reservation.tickets (reservation_id);
-- the sales report, by span of time; rows are added nearly in the order of this column
create index tickets_by_time on reservation.tickets using brin (sold_at) with (pages_per_range = 16);
-- the ticket report groups by these columns, which depend on each other: else the planner sorts all tickets
create statistics reservation.ticket_groups (ndistinct)
  on showtime_id, movie_id, ticket_type, reported_as, currency, tax_rate, fee_tax_rate from reservation.tickets;

create table reservation.ticket_ends (
  showtime_id uuid not null,
  number      bigint not null,
  at          timestamptz not null,
  -- of the cancellation; or EXCHANGED, RETURNED, or REPLACED by another ticket for the same seat
  reason      text not null,
  -- goes back to the customer
  returned    bigint not null check (returned >= 0),
  -- pays for the order's tickets that were issued in its place; what is left of the value is kept
  carried     bigint not null check (carried >= 0),
  -- the reservation's
  version     bigint not null,
  primary key (showtime_id, number),
  foreign key (showtime_id, number) references reservation.tickets (showtime_id, number)
);
create index ticket_ends_by_time on reservation.ticket_ends (at);

-- Money that goes back for a ticket without ending it, or after its end.
create table reservation.ticket_refunds (
  showtime_id uuid not null,
  number      bigint not null,
  version     bigint not null,
  at          timestamptz not null,
  returned    bigint not null check (returned > 0),
  primary key (showtime_id, number, version),
  foreign key (showtime_id, number) references reservation.tickets (showtime_id, number)
);
create index ticket_refunds_by_time on reservation.ticket_refunds (at);

-- Issues the tickets of confirmed orders that have none: of orders from before this log, and of those that a host of the
-- version before confirms while it still runs. Fees of an order are spread evenly, and the first tickets have the remainder.
create function reservation.issue_missing_tickets() returns bigint language plpgsql as $$
declare
  issued bigint;
begin
  perform from reservation.showtimes order by id for no key update;
  with missing as (
      select r.* from reservation.reservations as r
      where r.status = 'CONFIRMED'
        and not exists (select from reservation.tickets as t where t.reservation_id = r.id)),
    lines as (
      select r.id as reservation_id, r.showtime_id, r.movie_id, r.version, r.currency,
        coalesce((select min((step ->> 'at')::timestamptz) from unnest(r.history) as step where step ->> 'state' = 'confirmed'),
          r.updated_at) as sold_at,
        coalesce((r.checkpoint #>> '{captured,amount}')::bigint, r.total) as captured,
        coalesce(r.checkpoint #> '{terms,fees}', '[]') as fees,
        of.line, of.nth, count(*) over (partition by r.id) as seats
      from missing as r
      cross join lateral jsonb_array_elements(r.checkpoint #> '{terms,lines}') with ordinality as of (line, nth)),
    priced as (
      select lines.*, own.*, whole.* from lines
      cross join lateral (
        select coalesce(sum((fee #>> '{price,amount}')::bigint), 0)::bigint as own_fee,
          coalesce(sum((fee #>> '{tax,amount}')::bigint), 0)::bigint as own_tax
        from jsonb_array_elements(fees) as fee where fee ->> 'seat' = line ->> 'seat') as own
      cross join lateral (
        select coalesce(sum((fee #>> '{price,amount}')::bigint) filter (where fee ->> 'seat' is null), 0)::bigint as order_fee,
          coalesce(sum((fee #>> '{tax,amount}')::bigint) filter (where fee ->> 'seat' is null), 0)::bigint as order_tax,
          coalesce(max((fee #>> '{tax,rate}')::int), 0) as fee_tax_rate
        from jsonb_array_elements(fees) as fee) as whole),
    added as (
      insert into reservation.tickets (showtime_id, number, reservation_id, version, movie_id, seat, ticket_type, reported_as,
        price, tax_rate, tax, fee, fee_tax_rate, fee_tax, currency, channel, paid_by, sold_at)
      select showtime_id,
        showtime.tickets + row_number() over (partition by showtime_id order by priced.sold_at, reservation_id, nth),
        reservation_id, priced.version, priced.movie_id, line ->> 'seat', coalesce(line ->> 'type', 'STANDARD'),
        coalesce(line ->> 'reportedAs', 'FULL'), (line #>> '{price,amount}')::bigint,
        coalesce((line #>> '{tax,rate}')::int, 0), coalesce((line #>> '{tax,amount}')::bigint, 0),
        own_fee + order_fee / seats + case when nth <= order_fee % seats then 1 else 0 end, fee_tax_rate,
        own_tax + order_tax / seats + case when nth <= order_tax % seats then 1 else 0 end, currency, 'WEB',
        case captured when 0 then 'NONE' else 'ONLINE' end, priced.sold_at
      from priced join reservation.showtimes as showtime on showtime.id = priced.showtime_id
      returning showtime_id),
    raised as (
      update reservation.showtimes as showtime set tickets = showtime.tickets + sold.tickets
      from (select showtime_id, count(*) as tickets from added group by showtime_id) as sold
      where showtime.id = sold.showtime_id returning sold.tickets)
  select coalesce(sum(tickets), 0) into issued from raised;
  return issued;
end $$;

select reservation.issue_missing_tickets();
