-- How far the provider's list of events has been read. One row: whoever writes it over the version that it read, reads on.
create table payment.reconciliation (
  only_row    boolean primary key default true check (only_row),
  version     bigint not null,
  -- Unix seconds by the database's clock: what happened before has been read
  since       bigint not null,
  -- when the pass in hand began, and the last event that it has read; null between passes
  pass_began  bigint,
  pass_after  text,
  -- no host reads before this: it is also how long a host that died holds the others off
  next_run_at timestamptz not null
);
insert into payment.reconciliation (version, since, next_run_at)
values (0, extract(epoch from now())::bigint, now());
