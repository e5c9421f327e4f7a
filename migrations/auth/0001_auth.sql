select delivery.create_tables('auth');

create table auth.users (
  id            uuid primary key,
  -- as it was typed; compared only by its key
  email         text not null,
  email_key     text not null constraint one_email unique,
  name          text not null,
  role          text not null constraint known_role check (role in ('USER', 'ADMIN', 'SUPER_ADMIN')),
  -- PHC string, which carries its own parameters and salt
  password_hash text not null,
  created_at    timestamptz not null,
  updated_at    timestamptz not null
);
-- is there a SUPER_ADMIN, asked at each start
create index users_super_admin on auth.users (id) where role = 'SUPER_ADMIN';

-- One login: the refresh tokens that follow one another from it. Its id is the `sid` of its access tokens.
create table auth.families (
  id         uuid primary key,
  user_id    uuid not null references auth.users on delete cascade,
  started_at timestamptz not null,
  -- that of its latest token: after it nothing of the family is of use
  expires_at timestamptz not null,
  ended_at   timestamptz,
  end_reason text,
  constraint ended_for_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint known_end_reason check (end_reason in ('LOGOUT', 'REUSE'))
);
create index families_user on auth.families (user_id);
create index families_expires on auth.families (expires_at);

create table auth.refresh_tokens (
  id         uuid primary key,
  family     uuid not null references auth.families on delete cascade,
  -- SHA-256 of the token, which has 256 random bits: a slow hash would add nothing
  token_hash bytea not null constraint one_refresh_token unique,
  issued_at  timestamptz not null,
  expires_at timestamptz not null,
  -- a spent token stays until it expires, so that its reuse is seen
  spent_at   timestamptz
);
create index refresh_tokens_family on auth.refresh_tokens (family);
create index refresh_tokens_expires on auth.refresh_tokens (expires_at);
