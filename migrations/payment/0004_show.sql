-- Each posting names the show that it is booked for, so that revenue and tickets follow an exchange; tickets can move
-- without money.

alter table payment.payments
  -- the reservation's version that show and tickets are of; 0 while only the reservation itself was asked
  add column seats_version bigint not null default 0,
  -- the hold ended: money that comes late buys the seats after all, or goes back whole
  add column hold_expired  boolean not null default false;
comment on column payment.payments.tickets is
  'seats that are paid for now: an exchange changes it, a cancellation makes it 0';

alter table payment.postings
  -- on the rows of SALES, REFUNDS, DISPUTED and CHARGEBACKS; null where the payment does not know its show
  add column showtime_id uuid,
  add column movie_id    uuid,
  add column movie_title text,
  add column starts_at   timestamptz,
  -- 1 on the rows of a move between shows that book for the new one, so that one transaction has both in one account
  add column leg         smallint not null default 0,
  drop constraint booked_once,
  drop constraint postings_amount_check,
  add constraint booked_once primary key (payment_id, transaction, account, currency, leg),
  -- a row without money moves tickets
  add constraint moves_something check (amount <> 0 or tickets <> 0);

-- What was booked before belongs to the show that its payment was opened for.
alter table payment.postings disable trigger postings_stay;
update payment.postings b
set showtime_id = p.showtime_id, movie_id = p.movie_id, movie_title = p.movie_title, starts_at = p.show_starts_at
from payment.payments p
where p.id = b.payment_id and b.account in ('SALES', 'REFUNDS', 'DISPUTED', 'CHARGEBACKS');
alter table payment.postings enable trigger postings_stay;

update payment.payments p
set tickets = (select coalesce(sum(b.tickets), 0) from payment.postings b where b.payment_id = p.id)
where p.stage = 'CAPTURED' and p.showtime_id is not null;
