-- Erased persons: the mail log keeps what was sent and when, without the recipient.

-- A replayed or late event about one of these users stores nothing personal and queues no mail.
create table notification.erased_users (
  user_id uuid primary key,
  at      timestamptz not null
);

alter table notification.mails
  -- of a mail about an account; null for mails about orders, and in rows from before
  add column user_id    uuid,
  -- when its recipient was removed; it is not sent again
  add column blanked_at timestamptz;
-- the mails about an account
create index mails_of_user on notification.mails (user_id) where user_id is not null;
-- the orders of a user
create index attendees_of_user on notification.attendees (user_id);
-- addresses that are removed some days after the show
create index attendees_with_address on notification.attendees (starts_at) where email <> '';

-- Removes the person from orders and from the mails about them, and returns these mails. `owner`: the erased user, whose mails about
-- the account are blanked, too (in rows without a user by the addresses of the orders); null for orders alone.
create function notification.blank_mails(orders uuid[], owner uuid) returns setof uuid language plpgsql as $$
declare
  addresses text[];
begin
  select array_agg(distinct lower(email)) into addresses from notification.attendees
  where owner is not null and email <> '' and (reservation_id = any(orders) or user_id = owner);
  update notification.attendees set email = '', user_id = coalesce(owner, user_id)
  where reservation_id = any(orders) or user_id = owner;
  return query
    update notification.mails as m set
      recipient = null, error = null, version = m.version + 1, updated_at = now(), blanked_at = now(), next_try_at = null,
      status = case when m.status = 'SENT' then m.status else 'SKIPPED' end,
      reason = case when m.status = 'SENT' then m.reason else 'the recipient is erased' end
    where m.blanked_at is null and (m.reservation_id = any(orders)
      or m.reservation_id in (select reservation_id from notification.attendees where user_id = owner)
      or m.user_id = owner
      or m.user_id is null and m.reservation_id is null and lower(m.recipient) = any(addresses))
    returning m.id;
end $$;
