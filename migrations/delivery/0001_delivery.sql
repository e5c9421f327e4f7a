-- What every domain needs to hear and to say, made alike in each domain's own schema.
-- `delivery.create_tables(schema)` is called by the first migration of each domain.

create function delivery.create_tables(domain text) returns void language plpgsql as $$
begin
  execute format($sql$
    -- What leaves: written in the transaction of the decision, published after it, kept as an archive.
    create table %1$I.outbox (
      id           uuid not null,
      subject      text not null,
      source       text not null,
      -- json, not jsonb: what is sent again must be the same bytes
      payload      json not null,
      context      json not null,
      created_at   timestamptz not null,
      -- null until JetStream acknowledged it; never a pointer, since commits do not become visible in id order
      published_at timestamptz,
      primary key (id, created_at)
    ) partition by range (created_at);
    -- the sweep for what was not published
    create index outbox_unpublished on %1$I.outbox (created_at, id) where published_at is null;
    -- what to publish again after a restart of NATS: the last and the minute before. Small, since rows are marked
    -- hundreds at a time with the same time
    create index outbox_published on %1$I.outbox (published_at) where published_at is not null;

    -- What was handled: the real dedupe. Rows outlive the outbox and the stream by a day.
    create table %1$I.inbox (
      consumer    text not null,
      event_id    text not null,
      received_at timestamptz not null default now(),
      primary key (consumer, event_id)
    );
    create index inbox_received on %1$I.inbox using brin (received_at);

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

    -- One row a group commit, to find out after a lost connection whether it went through.
    create table %1$I.journal_batch (
      id           uuid primary key,
      committed_at timestamptz not null default clock_timestamp(),
      -- made by the question whether the batch was committed: it was not
      is_question  boolean not null default false
    );

    -- Which EVENTS stream the outbox was published to: another creation time means that NATS's data was wiped.
    create table %1$I.relay (
      only_row          boolean primary key default true check (only_row),
      stream_created_at text not null
    );
  $sql$, domain);
  perform delivery.maintain(domain, 7);
end $$;

-- Makes the outbox's day partitions of the coming week where they are missing. Each journal does this when it connects,
-- so that a domain that slept for weeks can write at once.
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
      execute format('create table %I.%I (like %I.outbox including defaults)', domain, partition, domain);
      execute format('alter table %I.outbox attach partition %I.%I for values from (%L) to (%L)',
        domain, domain, partition, day::timestamp at time zone 'utc', (day + 1)::timestamp at time zone 'utc');
    end if;
  end loop;
end $$;

-- Forgets what is older than `keep_days`: outbox partitions that are wholly published, inbox rows a day later,
-- idempotency records after 24 hours; and makes partitions ahead. Dropping comes last, since it holds up the outbox
-- until the end of the transaction.
create function delivery.maintain(domain text, keep_days int) returns void language plpgsql
set lock_timeout = '1s' as $$
declare
  today date := (now() at time zone 'utc')::date;
  old record;
  unpublished boolean;
begin
  perform delivery.make_partitions(domain);
  execute format('delete from %I.inbox where received_at < now() - make_interval(days => %L)', domain, keep_days + 1);
  execute format('delete from %I.idempotency where created_at < now() - interval ''24 hours''', domain);
  execute format('delete from %I.journal_batch where committed_at < now() - interval ''1 day''', domain);
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = format('%I.outbox', domain)::regclass
      and c.relname < 'outbox_' || to_char(today - keep_days, 'YYYYMMDD')
  loop
    execute format('select exists (select from %I.%I where published_at is null)', domain, old.relname)
      into unpublished;
    if not unpublished then
      execute format('drop table %I.%I', domain, old.relname);
    end if;
  end loop;
end $$;
