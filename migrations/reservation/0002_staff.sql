-- Who asked for a step of a saga, and in which words; and what staff look up.

alter table reservation.saga_steps
  -- the person who asked, where it was one
  add column by uuid,
  -- their words, an amount, the provider's code: what else the log should tell
  add column detail text;

-- the occupancy report, by span of time
create index showtimes_by_start on reservation.showtimes (starts_at, id);
