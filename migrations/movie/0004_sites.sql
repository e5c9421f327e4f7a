-- Sites: the cinema's own name, legal data, look and rules. One is made here; its id is in the contract (DEFAULT_SITE).

create table movie.sites (
  id         uuid primary key,
  fields     jsonb,
  slug       text generated always as (fields->>'slug') stored constraint one_site_slug unique,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version    bigint not null default 1,
  -- the row in media that is shown; null where the logo's address was typed
  logo_media uuid
);
comment on column movie.sites.fields is 'what staff say of it, as in the contract (SiteFields); null until they have saved it: then the settings of each host count';
comment on column movie.sites.slug is 'of fields, for the constraint';

insert into movie.sites (id, created_at, updated_at) values ('0199f5c0-0000-7000-8000-000000000001', now(), now());

-- A constant default writes no row anew.
alter table movie.auditoriums
  add column site_id uuid not null default '0199f5c0-0000-7000-8000-000000000001'
    constraint auditorium_of_site references movie.sites;
alter table movie.showtimes
  add column site_id uuid not null default '0199f5c0-0000-7000-8000-000000000001',
  add column overrides jsonb;
comment on column movie.showtimes.site_id is 'frozen: of its auditorium when it was scheduled';
comment on column movie.showtimes.overrides is 'what it has otherwise than its site, as in the contract (ShowtimeOverrides); null for nothing';

-- Logos are stored as posters are.
alter table movie.media drop constraint known_kind;
alter table movie.media add constraint known_kind check (kind in ('POSTER', 'TRAILER', 'LOGO'));
comment on column movie.media.movie_id is 'the movie, or for a logo the site';
