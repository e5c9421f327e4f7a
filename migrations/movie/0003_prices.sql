-- Ticket types and price cards, from which showtimes get their tariffs.

create table movie.ticket_types (
  id          uuid primary key,
  fields      jsonb not null,
  code        text not null generated always as (fields->>'code') stored constraint one_ticket_type_code unique,
  accompanies text generated always as (fields->>'accompanies') stored
                constraint accompanied_type_exists references movie.ticket_types (code),
  created_at  timestamptz not null,
  updated_at  timestamptz not null,
  version     bigint not null default 1
);
comment on column movie.ticket_types.fields is 'what staff say of it, as in the contract (TicketTypeFields)';
comment on column movie.ticket_types.code is 'of fields, for the constraints; never changes';
comment on column movie.ticket_types.accompanies is 'of fields, for the constraint';

create table movie.price_cards (
  id         uuid primary key,
  fields     jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version    bigint not null default 1
);
comment on column movie.price_cards.fields is 'as in the contract (PriceCardFields), but for its prices, which are in price_card_prices';

-- One row for each ticket type of a card: a type that a card has cannot be deleted.
create table movie.price_card_prices (
  card_id     uuid not null references movie.price_cards on delete cascade,
  ticket_type text not null constraint priced_type_exists references movie.ticket_types (code),
  -- by kind of seat, in minor units of the card's currency
  prices      jsonb not null,
  primary key (card_id, ticket_type)
);
-- the check before a type is deleted
create index price_card_prices_type on movie.price_card_prices (ticket_type);

alter table movie.showtimes add column tariff jsonb;
-- This writes the table anew: a second where it has ten thousand showtimes.
alter table movie.showtimes
  add column terms jsonb generated always as ((tariff - 'types') || '{"types": []}') stored;
comment on column movie.showtimes.terms is 'the tariff without its types, for lists: taking it out of the tariff for each of 100 rows costs a millisecond';
comment on column movie.showtimes.tariff is 'frozen, as in the contract (Tariff); null where the showtime has plain prices';
comment on column movie.showtimes.prices is 'of the default ticket type, as they are first shown; plain prices where there is no tariff';
