-- The order's code. Null in rows from before orders had codes: a mail about such an order requests it.
alter table notification.attendees add column code text;
