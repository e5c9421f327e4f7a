select delivery.create_tables('movie');

-- For `=` on uuid in an exclusion constraint. A trusted extension: the database's owner may create it.
create extension if not exists btree_gist with schema public;

create table movie.genres (
  id         uuid primary key,
  name       text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
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
  updated_at       timestamptz not null
);
-- the listing's order
create index movies_title on movie.movies (lower(title), id);

create table movie.movie_genres (
  movie_id uuid not null references movie.movies on delete cascade,
  genre_id uuid not null constraint genre_exists references movie.genres,
  -- genres are told in the order in which they were given
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
  updated_at timestamptz not null
);
create unique index one_auditorium on movie.auditoriums (lower(name));

create table movie.showtimes (
  id            uuid primary key,
  movie_id      uuid not null constraint movie_exists references movie.movies,
  auditorium_id uuid not null constraint auditorium_exists references movie.auditoriums,
  starts_at     timestamptz not null,
  -- starts_at + the movie's duration when it was scheduled
  ends_at       timestamptz not null,
  -- frozen: what was on sale stays on sale, whatever becomes of the auditorium's seats and of later prices
  layout        jsonb not null,
  prices        jsonb not null,
  status        text not null constraint known_status check (status in ('ON_SALE', 'CANCELLED')),
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  constraint ends_after_start check (ends_at > starts_at),
  -- from the start to before the end: one may begin in the minute in which another ends
  constraint auditorium_is_free exclude using gist
    (auditorium_id with =, tstzrange(starts_at, ends_at) with &&) where (status <> 'CANCELLED')
);
-- listings: by start, of all or of one movie
create index showtimes_start on movie.showtimes (starts_at, id);
create index showtimes_movie on movie.showtimes (movie_id, starts_at, id);
