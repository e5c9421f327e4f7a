-- Accounts, logins with their refresh tokens, mailed links, and the audit.

select delivery.create_tables('auth');

create table auth.users (
  id              uuid primary key,
  -- as it was typed; compared only by its key
  email           text not null,
  email_key       text not null constraint one_email unique,
  name            text not null,
  role            text not null constraint known_role check (role in ('USER', 'ADMIN', 'SUPER_ADMIN')),
  -- PHC string, which has its own parameters and salt
  password_hash   text not null,
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  -- rises when role or password change; an access token has the epoch in which it was signed
  epoch           bigint not null default 0,
  -- the login whose tokens stay valid from epoch `kept_from` on: the one that changed the password
  kept_session    uuid,
  kept_from       bigint not null default 0,
  -- when the epoch last rose
  revoked_at      timestamptz,
  -- a promotion by an event from before this time is out of date
  role_changed_at timestamptz,
  -- when the address was proven: by a mailed link, or by a password reset
  verified_at     timestamptz,
  -- since when logins are refused
  disabled_at     timestamptz
);
-- whether there is a SUPER_ADMIN, read at each start
create index users_super_admin on auth.users (id) where role = 'SUPER_ADMIN';
-- what a verifier reads when it starts: the revocations of the last quarter of an hour
create index users_revoked on auth.users (revoked_at) where revoked_at is not null;
-- the list of users, the oldest first
create index users_created on auth.users (created_at, id);

-- One login: the refresh tokens that follow one another from it. Its id is the `sid` of its access tokens.
create table auth.families (
  id         uuid primary key,
  user_id    uuid not null references auth.users on delete cascade,
  started_at timestamptz not null,
  -- of its latest token: after it the family has no valid token
  expires_at timestamptz not null,
  ended_at   timestamptz,
  end_reason text,
  constraint ended_for_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint known_end_reason check (end_reason in ('LOGOUT', 'REUSE', 'PASSWORD', 'EVERYWHERE', 'DISABLED'))
);
create index families_user on auth.families (user_id);
create index families_expires on auth.families (expires_at);
-- what a verifier reads when it starts: logins that ended by themselves in the last quarter of an hour
create index families_ended on auth.families (ended_at) where end_reason in ('LOGOUT', 'REUSE');

create table auth.refresh_tokens (
  id          uuid primary key,
  family      uuid not null references auth.families on delete cascade,
  -- SHA-256 of the token, which has 256 random bits: a slow hash would add nothing
  token_hash  bytea not null constraint one_refresh_token unique,
  issued_at   timestamptz not null,
  expires_at  timestamptz not null,
  -- a spent token stays until it expires, so that a second use is detected
  spent_at    timestamptz,
  -- the token that was exchanged for this one; null for a login's first. Mostly one for one, but a browser may use a spent
  -- token again for some seconds, since its page may have been left before the answer came. No foreign key: that token may
  -- be deleted.
  bought_with uuid
);
create index refresh_tokens_family on auth.refresh_tokens (family);
create index refresh_tokens_expires on auth.refresh_tokens (expires_at);
-- the tokens that one token was exchanged for
create index refresh_tokens_bought_with on auth.refresh_tokens (bought_with) where bought_with is not null;

create table auth.password_resets (
  id           uuid primary key,
  user_id      uuid not null references auth.users on delete cascade,
  -- SHA-256 of the token, which is derived from the id with a key that the database does not have
  token_hash   bytea not null constraint one_reset_token unique,
  requested_at timestamptz not null,
  expires_at   timestamptz not null,
  -- used, or void because another one of the account was used
  used_at      timestamptz
);
-- how many an account requested in the last hour
create index password_resets_user on auth.password_resets (user_id, requested_at);
create index password_resets_expires on auth.password_resets (expires_at);

create table auth.verifications (
  id           uuid primary key,
  user_id      uuid not null references auth.users on delete cascade,
  -- SHA-256 of the token, which is derived from the id with a key that the database does not have
  token_hash   bytea not null constraint one_verification_token unique,
  requested_at timestamptz not null,
  -- until then it proves the address; a second use changes nothing
  expires_at   timestamptz not null
);
-- how many an account requested in the last hour
create index verifications_user on auth.verifications (user_id, requested_at);
create index verifications_expires on auth.verifications (expires_at);

-- Who did what to whom. No foreign keys: it outlives its subjects.
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
