-- Whether the e-mail address of an account is proven.

alter table auth.users
  -- when a mail to the address was last proven to arrive: by a link's use, or by the use of a password reset
  add column verified_at timestamptz;

-- Named by the operator in the settings.
update auth.users set verified_at = created_at where role = 'SUPER_ADMIN';
-- The demo's accounts; no mail reaches their addresses.
update auth.users set verified_at = created_at
where email_key in ('staff@marquee.example', 'ada@marquee.example') and verified_at is null;
-- Who used a reset's link has read a mail at the address.
update auth.users u set verified_at = proven.at
from (select user_id, max(at) as at from auth.audit where kind = 'PASSWORD_RESET' group by user_id) as proven
where u.id = proven.user_id and u.verified_at is null;
