-- The fees of an order, beside the prices of its seats: [{code, name, price}]. The default serves hosts of the version before, while
-- they still run.

alter table notification.attendees add column fees jsonb not null default '[]';
