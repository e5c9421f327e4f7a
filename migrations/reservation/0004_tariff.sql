-- What each ticket type of a showtime costs. Null in showtimes from before there were tariffs, which are sold by `prices`.

alter table reservation.showtimes add column tariff jsonb;
comment on column reservation.showtimes.prices is 'of the default ticket type, as they are first shown: what capacity counts by';
