-- Declines are bounded by account: whose attempts they are, where they are counted.
alter table payment.attempts
  -- the account that a direct charge counts to; null for hosted pages and where the bounds are off
  add column payer uuid;
-- an account's direct charges of the last day that were declined or may yet be; a captured one leaves it
create index attempts_of_payer on payment.attempts (payer, created_at)
  where payer is not null and state in ('OPENING', 'OPEN', 'CLOSING', 'DECLINED');
