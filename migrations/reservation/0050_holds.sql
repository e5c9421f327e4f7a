-- Bounds on what is held unpaid: from which network a hold was made, and when one ended unpaid.
alter table reservation.reservations
  -- the client's network (IPv4 /24, IPv6 /64), only while the hold is unpaid and bounds are on: it is set to null when the
  -- hold ends, since nothing but the count of open holds needs it
  add column network text,
  -- when the hold ended unpaid by its customer's doing: it expired or was given back; null again where late money confirms it
  add column unpaid_ended_at timestamptz;
-- open holds of a network
create index reservations_pending_of_network on reservation.reservations (network)
  where status = 'PENDING' and network is not null;
-- the last holds of a user that ended unpaid
create index reservations_unpaid_ends on reservation.reservations (user_id, unpaid_ended_at desc)
  where unpaid_ended_at is not null;
