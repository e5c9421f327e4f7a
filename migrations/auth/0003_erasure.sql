-- Erased persons. Their rows stay as tombstones, without e-mail, name and password.

alter table auth.users
  add column erased_at timestamptz,
  drop constraint known_kind,
  add constraint known_kind check (kind in ('ACCOUNT', 'GUEST', 'ERASED')),
  add constraint erased_is_empty check (kind <> 'ERASED'
    or (erased_at is not null and email = '' and email_key = '' and name = '' and password_hash = ''));

-- what the blanking of addresses looks for: nothing that is older than 90 days
create index audit_with_addresses on auth.audit (at) where ip is not null or details ?| array['email', 'previousEmail'];

-- The audit stays append-only, but for addresses: of networks and of mails. An update may remove them and nothing else.
create function auth.allow_blanking() returns trigger language plpgsql as $$
begin
  if (new.id, new.at, new.kind, new.actor_id, new.user_id) is distinct from (old.id, old.at, old.kind, old.actor_id, old.user_id)
    or (new.ip is not null and new.ip is distinct from old.ip)
    or (new.details <> old.details and new.details <> old.details - array['email', 'previousEmail'])
  then
    raise exception 'the audit is append-only' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

drop trigger append_only on auth.audit;
create trigger append_only before delete or truncate on auth.audit
  for each statement execute function auth.refuse_change();
create trigger only_blanked before update on auth.audit
  for each row execute function auth.allow_blanking();
