-- What a showtime shows, for mails and tickets. Rows from before have none of it.
alter table notification.showtimes
  add column film_version        jsonb,
  add column format              text,
  add column minutes_before_film int not null default 0;
