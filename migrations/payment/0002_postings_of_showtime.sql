-- What staff read every half minute: the money of today's shows, which was mostly paid on other days. Postings of no show, such as
-- those of the provider's account, are left out.
create index postings_showtime on payment.postings (showtime_id) where showtime_id is not null;
