-- The copy of the sites: the cinema in mails and on tickets.

create table notification.sites (
  id      uuid primary key,
  -- one with a lower version changes nothing
  version bigint not null,
  -- as in the contract (Site)
  site    jsonb not null
);
