-- What every domain needs to receive and to publish, made alike in each domain's own schema.
-- `delivery.create_tables(schema)` is called by the first migration of each domain.

create function delivery.create_tables(domain text) returns void language plpgsql as $$
begin
  execute format($sql$
    -- One row a batch: a group commit of one journal. It holds the events that leave, and it is what a host asks for when the
    -- answer to a commit was lost. Never updated in normal work; kept for a week as the archive.
    create table %1$I.outbox (
      -- of the database's clock, in UTC; decides the partition
      day          date not null,
      -- which life of which journal; see `journals`
      journal      uuid not null,
      -- counts the batches of a journal; some numbers are missing, since a failed attempt uses one up
      number       bigint not null,
      committed_at timestamptz not null default clock_timestamp(),
      -- 1 and more in a row that was made by the question whether the batch was committed: it was not
      questions    int not null default 0,
      is_question  boolean not null default false,
      event_ids    uuid[] not null default '{}',
      subjects     text[] not null default '{}',
      -- {id, subject, source, time, context, payload}; json and not jsonb: what is sent again must be the same bytes
      events       json not null default '[]',
      -- what the domain's statement reported, for a host that lost the answer
      written      json,
      primary key (journal, number, day)
    ) partition by range (day);
    -- large batches are read rarely: no time is spent on compressing them
    alter table %1$I.outbox alter column events set storage external;

    -- How far the batches of each journal are published. A journal has one row for each of its lives, which end with its
    -- connection; its batches are committed in the order of their numbers.
    create table %1$I.journals (
      id           uuid primary key,
      opened_at    timestamptz not null default clock_timestamp(),
      -- JetStream has acknowledged every event of the batches up to this one, except those in `refused_events`
      published_to bigint not null default 0,
      marked_at    timestamptz,
      -- what `published_to` was at least a minute before `marked_at`: JetStream acknowledges before it has fsynced, so what was
      -- published after it is published again when NATS was restarted
      safe_to      bigint not null default 0,
      -- becomes `safe_to` when it is a minute old
      next_safe_to bigint not null default 0,
      next_safe_at timestamptz not null default clock_timestamp()
    );

    -- Events that no stream takes, or that are too large. They are tried again after each connect.
    create table %1$I.refused_events (
      id         uuid primary key,
      day        date not null,
      journal    uuid not null,
      number     bigint not null,
      subject    text not null,
      refused_at timestamptz not null default now()
    );

    -- Each event of the archive, for people and reports.
    create view %1$I.events as
      select (event ->> 'id')::uuid as id, event ->> 'subject' as subject, event ->> 'source' as source,
        (event ->> 'time')::timestamptz as created_at, event -> 'context' as context, event -> 'payload' as payload,
        day, journal, number, committed_at
      from %1$I.outbox cross join lateral json_array_elements(events) as event;

    -- Each event that JetStream has not acknowledged, for people and reports.
    create view %1$I.unsent as
      select unnest(batch.event_ids) as id, unnest(batch.subjects) as subject, batch.committed_at, batch.day
      from %1$I.journals as journal
      join %1$I.outbox as batch on batch.journal = journal.id and batch.number > journal.published_to
      union all
      select id, subject, refused_at, day from %1$I.refused_events;

    -- The first answer to a request with an Idempotency-Key, written in the transaction of what it guards.
    create table %1$I.idempotency (
      user_id      uuid not null,
      route        text not null,
      key          text not null,
      request_hash bytea not null,
      -- null while the first request is still running
      response     bytea,
      created_at   timestamptz not null default now(),
      primary key (user_id, route, key)
    );
    create index idempotency_created on %1$I.idempotency using brin (created_at);

    -- Which EVENTS stream the outbox was published to: another creation time means that NATS's data was wiped.
    create table %1$I.relay (
      only_row          boolean primary key default true check (only_row),
      stream_created_at text not null
    );

    -- How far the domain's consumer has come, since the stream discards its oldest events when it is full, handled or not.
    create table %1$I.consumers (
      name              text primary key,
      -- which EVENTS stream the sequences belong to
      stream_created_at text not null,
      -- every event of the stream up to this sequence was handled, parked, or delivered again from the archive
      handled_to        bigint not null,
      -- every event published before was handled, or delivered again
      handled_until     timestamptz not null,
      -- the end of the stream at `seen_at`: when `handled_to` reaches it, `handled_until` becomes `seen_at`
      seen_to           bigint not null,
      seen_at           timestamptz not null,
      -- of the stream's `max_bytes`
      stream_percent    int not null,
      checked_at        timestamptz not null default clock_timestamp()
    );

    -- Events that the stream discarded before the consumer had handled them, with what was delivered again for them.
    create table %1$I.consumer_gaps (
      consumer        text not null,
      found_at        timestamptz not null default clock_timestamp(),
      -- sequences of the stream, of events of every kind
      first_sequence  bigint not null,
      last_sequence   bigint not null,
      -- the time whose events are delivered again
      since           timestamptz not null,
      until           timestamptz not null,
      -- null until it is finished
      delivered_again bigint,
      finished_at     timestamptz,
      primary key (consumer, found_at)
    );
  $sql$, domain);
  perform delivery.make_partitions(domain);
end $$;

-- Refuses a batch whose statement found other rows than it expects. It returns nothing: with the error nothing of the statement
-- stays. The detail is read by the host that wrote the batch.
create function delivery.incomplete(report jsonb) returns json language plpgsql as $$
begin
  raise exception 'rows of the batch are not as expected' using errcode = 'MQ001', detail = report::text;
end $$;

-- Makes the outbox's day partitions of the coming week where they are missing. Each journal does this when it connects,
-- so that a domain that slept for weeks can write at once, and when it misses today's.
create function delivery.make_partitions(domain text) returns void language plpgsql
-- a dump or a long query may hold the table; then again in an hour, the week ahead leaves time
set lock_timeout = '1s' as $$
declare
  today date := (now() at time zone 'utc')::date;
  day date;
  partition text;
begin
  -- hosts of one domain do this one after another
  perform pg_advisory_xact_lock(hashtext('delivery.maintain'), hashtext(domain));
  for offset_days in -1..7 loop
    day := today + offset_days;
    partition := 'outbox_' || to_char(day, 'YYYYMMDD');
    if to_regclass(format('%I.%I', domain, partition)) is null then
      -- made and attached, not made as a partition: that would wait for, and hold up, everyone who writes
      execute format('create table %I.%I (like %I.outbox including defaults including storage)', domain, partition, domain);
      execute format('alter table %I.outbox attach partition %I.%I for values from (%L) to (%L)',
        domain, domain, partition, day, day + 1);
    end if;
  end loop;
end $$;

-- Drops what is older than `keep_days`: days of the outbox of which nothing waits to be published, idempotency records after
-- 24 hours, journals whose life has ended and that left nothing. Optional: what fails here is done an hour later.
create function delivery.drop_old(domain text, keep_days int) returns void language plpgsql
set lock_timeout = '1s' as $$
declare
  today date := (now() at time zone 'utc')::date;
  old record;
  waits boolean;
begin
  perform pg_advisory_xact_lock(hashtext('delivery.maintain'), hashtext(domain));
  execute format('delete from %I.idempotency where created_at < now() - interval ''24 hours''', domain);
  -- a journal takes a new life after half a day, so none of these writes any more
  execute format($sql$
    delete from %1$I.journals as journal
    where opened_at < now() - interval '2 days' and not exists (
      select from %1$I.outbox where outbox.journal = journal.id and number > journal.published_to and event_ids <> '{}')
  $sql$, domain);
  execute format('delete from %I.consumer_gaps where finished_at < now() - make_interval(days => %s)', domain, keep_days);
  -- last, since it holds up the outbox until the end of the transaction
  for old in
    select c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = format('%I.outbox', domain)::regclass
      and c.relname < 'outbox_' || to_char(today - keep_days, 'YYYYMMDD')
  loop
    execute format('select exists (select from %I.unsent where day = %L)', domain, old.day) into waits;
    if not waits then
      execute format('drop table %I.%I', domain, old.relname);
    end if;
  end loop;
end $$;

-- Hosts have roles of their own (`marquee migrate` makes them), which read and write their schema and change no table. What
-- they still need of that kind, these functions do with the owner's rights, each for the caller's schema only.

create function delivery.require_schema(domain text) returns void language plpgsql as $$
begin
  if not has_schema_privilege(session_user, domain, 'usage') then
    raise exception '% has no right to the schema %', session_user, domain using errcode = 'insufficient_privilege';
  end if;
end $$;

create function delivery.prepare(domain text) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform delivery.require_schema(domain);
  perform delivery.make_partitions(domain);
end $$;

create function delivery.upkeep(domain text, keep_days int) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform delivery.require_schema(domain);
  perform delivery.drop_old(domain, keep_days);
end $$;

revoke execute on function delivery.prepare(text), delivery.upkeep(text, int) from public;
