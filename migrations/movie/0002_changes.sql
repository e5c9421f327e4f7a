-- Rows change and go. Each counts its changes, so that nobody overwrites what they have not seen; what a past showtime
-- shows stays readable after its movie or auditorium was deleted.
alter table movie.genres add column version bigint not null default 1;
alter table movie.movies add column version bigint not null default 1, add column deleted_at timestamptz;
alter table movie.auditoriums add column version bigint not null default 1, add column deleted_at timestamptz;
alter table movie.showtimes add column version bigint not null default 1, add column free_at timestamptz;

comment on column movie.movies.deleted_at is 'kept for the title of past showtimes; in no list';
comment on column movie.auditoriums.deleted_at is 'kept for the name and time zone of past showtimes; in no list';
comment on column movie.showtimes.free_at is 'cleaned until then; null for those scheduled before there was a gap, which end at ends_at';

-- A deleted auditorium gives its name back.
drop index movie.one_auditorium;
create unique index one_auditorium on movie.auditoriums (lower(name)) where deleted_at is null;

alter table movie.showtimes
  add constraint free_after_end check (free_at >= ends_at),
  drop constraint auditorium_is_free,
  add constraint auditorium_is_free exclude using gist
    (auditorium_id with =, tstzrange(starts_at, coalesce(free_at, ends_at)) with &&) where (status <> 'CANCELLED');
-- listings and changes of one auditorium
create index showtimes_auditorium on movie.showtimes (auditorium_id, starts_at, id);
