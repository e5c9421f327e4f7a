-- Accounts that are disabled, logins that end one by one, and links that prove an address.

alter table auth.users
  -- since when nobody may log in
  add column disabled_at timestamptz;

alter table auth.families drop constraint known_end_reason;
alter table auth.families add constraint known_end_reason
  check (end_reason in ('LOGOUT', 'REUSE', 'PASSWORD', 'EVERYWHERE', 'DISABLED'));
-- what a verifier asks for when it starts: logins that ended by themselves in the last quarter of an hour
create index families_ended on auth.families (ended_at) where end_reason in ('LOGOUT', 'REUSE');

create table auth.verifications (
  id           uuid primary key,
  user_id      uuid not null references auth.users on delete cascade,
  -- SHA-256 of the token, which is derived from the id with a key that the database does not have
  token_hash   bytea not null constraint one_verification_token unique,
  requested_at timestamptz not null,
  -- until then it proves the address; once more changes nothing
  expires_at   timestamptz not null
);
-- how many an account asked for in the last hour
create index verifications_user on auth.verifications (user_id, requested_at);
create index verifications_expires on auth.verifications (expires_at);
