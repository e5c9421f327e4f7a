-- An order's code, by which people name it: eight characters without those that look alike.

create function reservation.random_code() returns text language sql volatile as $$
  select string_agg(substr('23456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + floor(random() * 30)::int, 1), '')
  from generate_series(1, 8)
$$;

-- The default serves hosts of the version before, while they still run.
alter table reservation.reservations add column code text;
update reservation.reservations set code = reservation.random_code();
do $$
begin
  loop
    update reservation.reservations set code = reservation.random_code()
    where id in (
      select id from (select id, row_number() over (partition by code order by id) as nth from reservation.reservations) as named
      where nth > 1);
    exit when not found;
  end loop;
end $$;
alter table reservation.reservations
  alter column code set default reservation.random_code(),
  alter column code set not null,
  add constraint one_code unique (code);
