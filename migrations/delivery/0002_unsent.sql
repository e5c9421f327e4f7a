-- What is not published yet is noted once a batch, not once an event: marking each row wrote every event a second time.
-- Hosts of the version before cannot mark what they publish any more: stop them first.

create or replace function delivery.create_tables(domain text) returns void language plpgsql as $$
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
      primary key (id, created_at)
    ) partition by range (created_at);

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
  perform delivery.note_unsent(domain);
  perform delivery.maintain(domain, 7);
end $$;

-- What of a domain's batches is published.
create function delivery.note_unsent(domain text) returns void language plpgsql as $$
begin
  execute format($sql$
    alter table %1$I.journal_batch
      -- the ids of the batch's rows in the outbox
      add column events       uuid[] not null default '{}',
      -- those that JetStream has not acknowledged; null when there are none. Never a pointer, since commits do not
      -- become visible in the order of ids or times
      add column unsent       uuid[],
      -- when acks were last noted
      add column published_at timestamptz;
    -- the sweep for what was not published
    create index journal_batch_unsent on %1$I.journal_batch (committed_at, id) where unsent is not null;
    -- what to publish again after a restart of NATS: the last and the minute before
    create index journal_batch_published on %1$I.journal_batch (published_at) where published_at is not null;
    -- each event that waits for JetStream's ack, for people and reports
    create view %1$I.unsent as
      select unnest(unsent) as id, committed_at from %1$I.journal_batch where unsent is not null;
  $sql$, domain);
end $$;

-- Forgets what is older than `keep_days`: outbox partitions that are wholly published, inbox rows a day later,
-- idempotency records after 24 hours; and makes partitions ahead. Dropping comes last, since it holds up the outbox
-- until the end of the transaction.
create or replace function delivery.maintain(domain text, keep_days int) returns void language plpgsql
set lock_timeout = '1s' as $$
declare
  today date := (now() at time zone 'utc')::date;
  old record;
  unpublished boolean;
begin
  perform delivery.make_partitions(domain);
  execute format('delete from %I.inbox where received_at < now() - make_interval(days => %L)', domain, keep_days + 1);
  execute format('delete from %I.idempotency where created_at < now() - interval ''24 hours''', domain);
  execute format(
    'delete from %I.journal_batch where committed_at < now() - interval ''1 day'' and unsent is null', domain);
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = format('%I.outbox', domain)::regclass
      and c.relname < 'outbox_' || to_char(today - keep_days, 'YYYYMMDD')
  loop
    execute format('select exists (select from %1$I.unsent join %1$I.%2$I using (id))', domain, old.relname)
      into unpublished;
    if not unpublished then
      execute format('drop table %I.%I', domain, old.relname);
    end if;
  end loop;
end $$;

-- Domains that are there: what is unpublished moves into batches of its own.
do $$
declare
  domain text;
begin
  for domain in
    select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relname = 'outbox' and c.relkind = 'p'
  loop
    perform delivery.note_unsent(domain);
    execute format($sql$
      insert into %1$I.journal_batch (id, events, unsent)
      select gen_random_uuid(), array_agg(id), array_agg(id)
      from (
        select id, (row_number() over (order by created_at, id) - 1) / 500 as page
        from %1$I.outbox where published_at is null) as waiting
      group by page;
      alter table %1$I.outbox drop column published_at
    $sql$, domain);
  end loop;
end $$;
