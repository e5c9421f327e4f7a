-- When the sale of a showtime begins. Null where seats can be bought at once, as in rows from before.
alter table reservation.showtimes add column on_sale_at timestamptz;
