-- The copy of the sites: the seller on receipts.

create table payment.sites (
  id      uuid primary key,
  -- one with a lower version changes nothing
  version bigint not null,
  -- as in the contract (Site)
  site    jsonb not null
);
