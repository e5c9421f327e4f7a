-- Hosts have roles of their own (`marquee migrate` makes them), which read and write their schema and change no table. What
-- they still need of that kind, partitions, these two functions do with the owner's rights, each for the caller's schema only.

create function delivery.prepare(domain text) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if not has_schema_privilege(session_user, domain, 'usage') then
    raise exception '% has no right to the schema %', session_user, domain using errcode = 'insufficient_privilege';
  end if;
  perform delivery.make_partitions(domain);
end $$;

create function delivery.upkeep(domain text, keep_days int) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if not has_schema_privilege(session_user, domain, 'usage') then
    raise exception '% has no right to the schema %', session_user, domain using errcode = 'insufficient_privilege';
  end if;
  perform delivery.maintain(domain, keep_days);
end $$;

revoke execute on function delivery.prepare(text), delivery.upkeep(text, int) from public;
