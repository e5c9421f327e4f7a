-- More facts of an order for its mails and tickets. Rows from before have defaults: English, no prices of single seats.

alter table notification.attendees
  -- the language that the order was made in
  add column locale text  not null default 'en',
  -- the price of each seat: [{seat, price}]
  add column lines  jsonb not null default '[]',
  -- links in mails open the order only with this number
  add column access bigint not null default 0;
