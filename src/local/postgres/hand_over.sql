-- Gives the role `marquee` whatever the cluster's first superuser owns in this database, but for what is Postgres's own or an
-- extension's. Sequences of columns follow their tables.
do $$
declare
  owned record;
begin
  for owned in
    select nspname from pg_namespace
    where nspowner = 10 and nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
  loop
    execute format('alter schema %I owner to marquee', owned.nspname);
  end loop;
  for owned in
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relowner = 10 and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and not exists (
        select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
          and (d.deptype = 'e' or c.relkind = 'S' and d.deptype in ('a', 'i')))
  loop
    execute format('alter table %I.%I owner to marquee', owned.nspname, owned.relname);
  end loop;
  for owned in
    select p.oid::regprocedure as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.proowner = 10 and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and not exists (
        select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  loop
    execute format('alter routine %s owner to marquee', owned.name);
  end loop;
  for owned in
    select n.nspname, t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace
    where t.typowner = 10 and t.typtype in ('e', 'd') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and not exists (
        select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
  loop
    execute format('alter type %I.%I owner to marquee', owned.nspname, owned.typname);
  end loop;
end $$;
