-- Titles are found by the beginnings of their words, without case and accents. A trusted extension: the database's owner
-- may create it.
create extension if not exists unaccent with schema public;

-- Composed first, since unaccent knows `é` and not `e` with an accent after it. All but letters and digits parts, only an
-- apostrophe joins. Called immutable, which `unaccent` is not only because its rules are a file.
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
-- No query used it: a page is of what was found, sorted.
drop index movie.movies_title;
