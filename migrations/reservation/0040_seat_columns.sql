-- A seat's place is its column from now on, no longer its number. Stored layouts keep the picture that the page drew: each seat stood at
-- its number, counted from the least of the hall. A row for which that gives no valid places takes the order of its list.
create function reservation.with_columns(layout jsonb) returns jsonb language sql immutable as $$
  with numbered as (
    select line, line_at, seat, place,
      (seat->>'number')::int - min((seat->>'number')::int) over () + 1 as by_number
    from jsonb_array_elements(layout) with ordinality as lines (line, line_at),
      jsonb_array_elements(line->'seats') with ordinality as seats (seat, place)),
  counted as (
    select *, count(*) over (partition by line_at, by_number) > 1 or by_number > 100 as is_no_place from numbered),
  placed as (
    select line, line_at, seat, case when bool_or(is_no_place) over (partition by line_at) then place else by_number end as "column"
    from counted),
  lines as (
    -- from left to right, as rows are listed
    select line_at, line || jsonb_build_object('seats',
      jsonb_agg(seat || jsonb_build_object('column', "column") order by "column")) as line
    from placed group by line_at, line)
  select coalesce(jsonb_agg(line order by line_at), layout) from lines
$$;

update reservation.showtimes set layout = reservation.with_columns(layout)
where not jsonb_path_exists(layout, '$[*].seats[*].column');

drop function reservation.with_columns(jsonb);
