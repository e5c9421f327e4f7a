-- How many seats of a showtime have a price. Lists ask for it often, and counting them in the layout costs a millisecond each time.

create function reservation.seats_for_sale(layout jsonb, prices jsonb) returns int language sql immutable parallel safe
  return (select count(*) from jsonb_path_query(layout, '$[*].seats[*]') as seat where prices ? (seat ->> 'kind'));

-- Not computed again by a sale, which changes neither layout nor prices.
alter table reservation.showtimes
  add column capacity int not null generated always as (reservation.seats_for_sale(layout, prices)) stored;
