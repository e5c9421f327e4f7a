-- The catalogue: movies, genres, auditoriums, showtimes, and the files of posters and trailers. Rows have a version, so that
-- no change overwrites one that its author has not seen.

select delivery.create_tables('movie');

-- For `=` on uuid in an exclusion constraint. A trusted extension: the database's owner may create it.
create extension if not exists btree_gist with schema public;
-- Titles are found without accents. A trusted extension, too.
create extension if not exists unaccent with schema public;

create table movie.genres (
  id         uuid primary key,
  name       text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version    bigint not null default 1
);
create unique index one_genre on movie.genres (lower(name));

create table movie.movies (
  id               uuid primary key,
  title            text not null,
  synopsis         text not null,
  duration_minutes int not null constraint movie_lasts check (duration_minutes between 1 and 1000),
  rating           text not null,
  release_date     date not null,
  language         text not null,
  poster_url       text,
  trailer_url      text,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  version          bigint not null default 1,
  deleted_at       timestamptz,
  poster_small_url text,
  -- the rows in media that are shown; a row that no movie names is an orphan
  poster_media     uuid,
  trailer_media    uuid
);
comment on column movie.movies.deleted_at is 'kept for the title of past showtimes; in no list';
create index movies_poster_media on movie.movies (poster_media);
create index movies_trailer_media on movie.movies (trailer_media);

-- Titles are found by the beginnings of their words, without case and accents. Composed first, since unaccent knows `é` and
-- not `e` with an accent after it. Every character but letters and digits separates words, only an apostrophe joins them.
-- Declared immutable, which `unaccent` is not only because its rules are a file.
create function movie.words(name text) returns text[] language sql immutable strict parallel safe
  return array_remove(regexp_split_to_array(
    translate(lower(public.unaccent('public.unaccent'::regdictionary, lower(normalize(name, nfkc)))), '''’', ''),
    '[^[:alnum:]]+'), '');

-- With an apostrophe both ways: `Ocean's` is found by `oceans`, and `l'Océan` by `ocean`.
create function movie.title_words(title text) returns tsvector language sql immutable strict parallel safe
  return array_to_tsvector(movie.words(title) || movie.words(translate(title, '''’', '  ')));

-- Each word must begin a word of the title. Words have letters and digits alone, so quoting them is enough. Null without a
-- word, which finds nothing.
create function movie.title_query(name text) returns tsquery language sql immutable strict parallel safe
  return (select string_agg(quote_literal(word) || ':*', ' & ')::tsquery from unnest(movie.words(name)) as word);

create index movies_words on movie.movies using gin (movie.title_words(title)) where deleted_at is null;

create table movie.movie_genres (
  movie_id uuid not null references movie.movies on delete cascade,
  genre_id uuid not null constraint genre_exists references movie.genres,
  -- genres are listed in the order in which they were given
  position int not null,
  primary key (movie_id, genre_id)
);
create index movie_genres_genre on movie.movie_genres (genre_id);

create table movie.auditoriums (
  id         uuid primary key,
  name       text not null,
  -- IANA name, one of pg_timezone_names
  time_zone  text not null,
  -- rows of seats as in the contract
  layout     jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version    bigint not null default 1,
  deleted_at timestamptz
);
comment on column movie.auditoriums.deleted_at is 'kept for the name and time zone of past showtimes; in no list';
-- a deleted auditorium gives its name back
create unique index one_auditorium on movie.auditoriums (lower(name)) where deleted_at is null;

create table movie.showtimes (
  id            uuid primary key,
  movie_id      uuid not null constraint movie_exists references movie.movies,
  auditorium_id uuid not null constraint auditorium_exists references movie.auditoriums,
  starts_at     timestamptz not null,
  ends_at       timestamptz not null,
  -- frozen: what was on sale stays on sale, also when the auditorium's seats or later prices change
  layout        jsonb not null,
  prices        jsonb not null,
  status        text not null constraint known_status check (status in ('ON_SALE', 'CANCELLED')),
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  version       bigint not null default 1,
  free_at       timestamptz,
  -- the start that its reminder named; null before. Not a flag: a showtime that is moved afterwards gets another reminder
  reminded_for  timestamptz,
  constraint ends_after_start check (ends_at > starts_at),
  constraint free_after_start check (free_at > starts_at),
  -- from the start to before the end: one may begin in the minute in which another ends
  constraint auditorium_is_free exclude using gist
    (auditorium_id with =, tstzrange(starts_at, coalesce(free_at, ends_at)) with &&) where (status <> 'CANCELLED')
);
comment on column movie.showtimes.free_at is 'cleaned until then, or the start of the next showtime where a longer movie overlaps it; null for those scheduled before there was a gap, which end at ends_at';
comment on column movie.showtimes.ends_at is 'starts_at + the movie''s duration; until the showtime begins it moves with a change of the duration';
-- listings: by start, of all, of one movie, of one auditorium
create index showtimes_start on movie.showtimes (starts_at, id);
create index showtimes_movie on movie.showtimes (movie_id, starts_at, id);
create index showtimes_auditorium on movie.showtimes (auditorium_id, starts_at, id);

-- Posters and trailers. The row comes before the file, so that every file in the store has a row that names it.
create table movie.media (
  -- also the file's name in the store
  id           uuid primary key,
  -- no foreign key: the files of a deleted movie are orphans, which are swept from the store first
  movie_id     uuid not null,
  kind         text not null constraint known_kind check (kind in ('POSTER', 'TRAILER')),
  -- when it was begun, attached or replaced, whichever was last: an orphan is kept for an hour after
  touched_at   timestamptz not null,
  -- from here on it cannot be attached; the row is deleted when the store has confirmed that the file is deleted
  condemned_at timestamptz
);
-- the sweep's order
create index media_touched on movie.media (touched_at);
