-- Mails to moviegoers with their log, and projections of the reservations and showtimes that they are about.

select delivery.create_tables('notification');

-- Reservations as their events describe them: whom to write to, and what is still true.
create table notification.attendees (
  reservation_id uuid primary key,
  -- an event with a lower one changes nothing
  version        bigint not null,
  user_id        uuid not null,
  email          text not null,
  showtime_id    uuid not null,
  movie_title    text not null,
  starts_at      timestamptz not null,
  seats          text[] not null,
  total          bigint not null,
  currency       text not null,
  status         text not null check (status in ('PENDING', 'CONFIRMED', 'CANCELLED', 'REFUNDED')),
  expires_at     timestamptz not null
);
-- who gets a reminder
create index attendees_of_showtime on notification.attendees (showtime_id) where status = 'CONFIRMED';

-- Where and when, by which clock: from showtime.* events, requested where one is missing.
create table notification.showtimes (
  id              uuid primary key,
  -- an event with a lower one changes nothing
  version         bigint not null,
  movie_title     text not null,
  auditorium_name text not null,
  time_zone       text not null,
  starts_at       timestamptz not null,
  ends_at         timestamptz not null,
  cancelled       boolean not null
);

-- Reminders that were handled: a reservation whose confirming event is late gets its reminder, too.
create table notification.reminders (
  showtime_id uuid not null,
  starts_at   timestamptz not null,
  heard_at    timestamptz not null default now(),
  primary key (showtime_id, starts_at)
);

create table notification.mails (
  id             uuid primary key,
  kind           text not null,
  -- a reservation, a refund, a password reset; with the kind it names the mail
  subject        text not null,
  reservation_id uuid,
  -- null until it is known
  recipient      text,
  -- facts of the event that no projection has
  topic          jsonb not null,
  status         text not null check (status in ('QUEUED', 'SENT', 'FAILED', 'SKIPPED')),
  -- raised by every change; a host that marks a mail names the version that it claimed
  version        bigint not null default 1,
  -- tries since it was queued
  attempts       int not null default 0,
  -- each resend is a mail of its own to the reader: it has another Message-ID
  resends        int not null default 0,
  -- while a host has claimed it: until when
  next_try_at    timestamptz,
  queued_at      timestamptz not null default now(),
  sent_at        timestamptz,
  error          text,
  reason         text,
  -- the request that caused it
  context        json not null,
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now(),
  -- an event that is delivered again, from the stream or the archive, sends nothing again
  constraint one_mail unique (kind, subject),
  constraint queued_is_tried_again check ((status = 'QUEUED') = (next_try_at is not null))
);
-- mails to be sent
create index mails_due on notification.mails (next_try_at) where status = 'QUEUED';
-- the mails of one order
create index mails_of_reservation on notification.mails (reservation_id, id desc);
-- what a person must look at
create index mails_failed on notification.mails (id desc) where status = 'FAILED';
-- how many mails an address got in the last hour
create index mails_sent_to on notification.mails (lower(recipient), sent_at) where status = 'SENT';
