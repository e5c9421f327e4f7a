-- Access that ends before its token expires, passwords that are changed and reset, and the audit.

alter table auth.users
  -- rises when role or password change; an access token carries the epoch it was signed in
  add column epoch           bigint not null default 0,
  -- the login whose tokens stay good from epoch `kept_from` on: the one that changed the password
  add column kept_session    uuid,
  add column kept_from       bigint not null default 0,
  -- when the epoch last rose
  add column revoked_at      timestamptz,
  -- what was decided before this about the role is out of date
  add column role_changed_at timestamptz;

-- what a verifier asks for when it starts: the last quarter of an hour's
create index users_revoked on auth.users (revoked_at) where revoked_at is not null;
-- the list of users, the oldest first
create index users_created on auth.users (created_at, id);

alter table auth.families drop constraint known_end_reason;
alter table auth.families add constraint known_end_reason
  check (end_reason in ('LOGOUT', 'REUSE', 'PASSWORD', 'EVERYWHERE'));

create table auth.password_resets (
  id           uuid primary key,
  user_id      uuid not null references auth.users on delete cascade,
  -- SHA-256 of the token, which is derived from the id with a key that the database does not have
  token_hash   bytea not null constraint one_reset_token unique,
  requested_at timestamptz not null,
  expires_at   timestamptz not null,
  -- used, or void because another one of the account was
  used_at      timestamptz
);
-- how many an account asked for in the last hour
create index password_resets_user on auth.password_resets (user_id, requested_at);
create index password_resets_expires on auth.password_resets (expires_at);

-- Who did what to whom. No foreign keys: it outlives what it speaks of.
create table auth.audit (
  -- UUIDv7, so that it is also the order
  id       uuid primary key,
  at       timestamptz not null,
  kind     text not null,
  actor_id uuid,
  user_id  uuid,
  ip       inet,
  details  jsonb not null default '{}'
);
-- the pages of everything, of one kind, of one user
create index audit_at on auth.audit (at, id);
create index audit_kind on auth.audit (kind, at, id);
create index audit_user on auth.audit (user_id, at) where user_id is not null;
create index audit_actor on auth.audit (actor_id, at) where actor_id is not null;

create function auth.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit is append-only' using errcode = 'insufficient_privilege';
end $$;

create trigger append_only before update or delete or truncate on auth.audit
  for each statement execute function auth.refuse_change();
