-- What pays for a dearer exchange besides its own payment: {total, waived, captures}. Null for other orders.
alter table notification.attendees add column credit jsonb;
