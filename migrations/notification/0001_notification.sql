-- Mails to moviegoers, and what is known of whom they are about.

select delivery.create_tables('notification');

-- Reservations as their events told them: whom to write to, and what is still true.
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
-- whom a reminder goes to
create index attendees_of_showtime on notification.attendees (showtime_id) where status = 'CONFIRMED';

-- Where and when, by which clock: fed by showtime.*, asked for where it is missing.
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

-- Reminders heard: whoever is confirmed late by a delayed event gets theirs too.
create table notification.reminders (
  showtime_id uuid not null,
  starts_at   timestamptz not null,
  heard_at    timestamptz not null default now(),
  primary key (showtime_id, starts_at)
);

create table notification.mails (
  id             uuid primary key,
  kind           text not null,
  -- what it is about: a reservation, a refund, a password reset; with the kind it names the mail
  subject        text not null,
  reservation_id uuid,
  -- null until it is known
  recipient      text,
  -- what the event told that nothing else keeps
  topic          jsonb not null,
  status         text not null check (status in ('QUEUED', 'SENT', 'FAILED', 'SKIPPED')),
  -- raised by every change; whoever settles a mail names the one it claimed
  version        bigint not null default 1,
  -- tries since it was queued
  attempts       int not null default 0,
  -- each resend is a mail of its own to the reader: it has another Message-ID
  resends        int not null default 0,
  -- while a host has it: until when it may keep it
  next_try_at    timestamptz,
  queued_at      timestamptz not null default now(),
  sent_at        timestamptz,
  error          text,
  reason         text,
  -- the request that caused it
  context        json not null,
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now(),
  -- an event that comes again, from whichever stream or archive, sends nothing again
  constraint one_mail unique (kind, subject),
  constraint queued_is_tried_again check ((status = 'QUEUED') = (next_try_at is not null))
);
-- what is to be sent
create index mails_due on notification.mails (next_try_at) where status = 'QUEUED';
-- one order's mails
create index mails_of_reservation on notification.mails (reservation_id, id desc);
-- what a person must look at
create index mails_failed on notification.mails (id desc) where status = 'FAILED';
