-- What a movie is shown in (versions, formats) and for whom (age rating); what a showtime shows, and when its sale begins.
-- Rows from before have none of it: no version, an unknown format, no time before the film, on sale from the publication on.

alter table movie.movies
  add column age_rating jsonb,
  add column versions   jsonb not null default '[]',
  add column formats    text[] not null default '{}';
comment on column movie.movies.age_rating is 'as in the contract (AgeRating); rating has its text, for clients that know no schemes';
comment on column movie.movies.versions is 'as in the contract (FilmVersion): those that a showtime may have';

-- A draft has the status CANCELLED: hosts of the version before this one then neither sell it nor fail on its row.
alter table movie.showtimes
  add column draft               boolean not null default false,
  add column film_version        jsonb,
  add column format              text,
  add column on_sale_at          timestamptz,
  add column minutes_before_film int not null default 0
    constraint film_begins_later check (minutes_before_film between 0 and 1000),
  add constraint draft_is_not_sold check (not draft or status = 'CANCELLED');
comment on column movie.showtimes.draft is 'not published: in no public list and no event. Its status is CANCELLED; a draft that is given up is deleted';
comment on column movie.showtimes.on_sale_at is 'seats can be bought from then on; null where they can from the publication on';
comment on column movie.showtimes.ends_at is 'starts_at + the minutes before the film + the movie''s duration; until the showtime begins it moves with a change of the duration';

-- A draft needs its auditorium, too.
alter table movie.showtimes
  drop constraint auditorium_is_free,
  add constraint auditorium_is_free exclude using gist
    (auditorium_id with =, tstzrange(starts_at, coalesce(free_at, ends_at)) with &&) where (status <> 'CANCELLED' or draft);
