-- The start that its reminder told; null before. Not a flag: a showtime that is moved afterwards is reminded of again.
alter table movie.showtimes add column reminded_for timestamptz;
