-- Seats, prices and start of a showtime may change. The version is movie's; an older word about a showtime is ignored, and a
-- claim is made only at the version that it was decided by.
alter table reservation.showtimes add column version bigint not null default 1;
