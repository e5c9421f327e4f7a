-- Guests: users who buy with an e-mail address only.

alter table auth.users
  -- A guest has neither e-mail, name nor password here: all three are empty. Its address is that of its orders.
  add column kind text not null default 'ACCOUNT' constraint known_kind check (kind in ('ACCOUNT', 'GUEST')),
  -- when auth asks whether a guest has an order, and deletes it if it has none; null where it need not ask
  add column guest_check_at timestamptz,
  add constraint guests_have_no_rights check (kind = 'ACCOUNT' or role = 'USER');

-- An e-mail address is unique among accounts. The new index has the name that a refused account is recognized by.
alter table auth.users drop constraint one_email;
create unique index one_email on auth.users (email_key) where kind = 'ACCOUNT';

-- guests to check
create index users_guest_check on auth.users (guest_check_at) where guest_check_at is not null;
-- the list of accounts; guests are far more
create index users_accounts_created on auth.users (created_at, id) where kind = 'ACCOUNT';
