-- Posters and trailers. The row comes before the file, so that every file in the store has a row that names it.
create table movie.media (
  -- also the file's name in the store
  id           uuid primary key,
  -- no foreign key: a movie's end makes its files orphans, which are swept from the store first
  movie_id     uuid not null,
  kind         text not null constraint known_kind check (kind in ('POSTER', 'TRAILER')),
  -- when it was begun, attached or replaced, whichever was last: an orphan is left alone for an hour after
  touched_at   timestamptz not null,
  -- from here on it cannot be attached; the row goes when the store has confirmed that the file is gone
  condemned_at timestamptz
);
-- the sweep's order
create index media_touched on movie.media (touched_at);

alter table movie.movies
  add column poster_small_url text,
  -- the rows in media that are shown; a row that no movie names is an orphan
  add column poster_media  uuid,
  add column trailer_media uuid;
create index movies_poster_media on movie.movies (poster_media);
create index movies_trailer_media on movie.movies (trailer_media);
