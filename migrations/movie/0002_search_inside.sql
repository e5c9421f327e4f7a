-- Titles in scripts that have no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are found by any part of
-- them: such a word is indexed from each of its characters on. Other words are found by their beginnings, as before.

create function movie.has_no_spaces(word text) returns boolean language sql immutable strict parallel safe
  return word ~ '[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3040-\u30FF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF\U00020000-\U0003FFFF]';

-- At most 24 characters from each, so that a title of 200 characters stays small; a longer search compares its first 24.
create function movie.parts(words text[]) returns text[] language sql immutable strict parallel safe
  return (select coalesce(array_agg(substr(word, at, 24)), '{}')
          from unnest(words) as word cross join lateral generate_series(1, char_length(word)) as at
          where movie.has_no_spaces(word));

create or replace function movie.title_words(title text) returns tsvector language sql immutable strict parallel safe
  return array_to_tsvector(movie.words(title) || movie.words(translate(title, '''’', '  ')) || movie.parts(movie.words(title)));

create or replace function movie.title_query(name text) returns tsquery language sql immutable strict parallel safe
  return (select string_agg(
            quote_literal(case when movie.has_no_spaces(word) then left(word, 24) else word end) || ':*', ' & ')::tsquery
          from unnest(movie.words(name)) as word);

-- The index has what the function returned when each row was written.
reindex index movie.movies_words;
