-- how many mails an address had in the last hour
create index mails_sent_to on notification.mails (lower(recipient), sent_at) where status = 'SENT';
