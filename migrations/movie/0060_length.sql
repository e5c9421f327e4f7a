-- A movie becomes longer after its showtimes were scheduled. Each then ends when the movie does, also where the next
-- showtime of the auditorium begins before that: the auditorium stays taken until that one, and a person moves one of the two.
alter table movie.showtimes
  drop constraint free_after_end,
  add constraint free_after_start check (free_at > starts_at);

comment on column movie.showtimes.free_at is 'cleaned until then, or the start of the next showtime where a longer movie overlaps it; null for those scheduled before there was a gap, which end at ends_at';
comment on column movie.showtimes.ends_at is 'starts_at + the movie''s duration; until the showtime begins it moves with a change of the duration';
