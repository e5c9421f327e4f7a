//! REST of the reservation domain: the seats of a showtime, as a snapshot and live.

use std::sync::Arc;

use bus::contract::movie::SeatKind;
use bus::contract::reservation::{BestSeats, FindBestSeats, GetSeatMap, SeatMap};
use bus::contract::{Rule, SeatId};
use futures::StreamExt;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, stream_place};
use crate::hosts::Hosts;
use crate::limit::Networks;
use crate::payload::{Answered, Caller, Events, Of};
use crate::problem::{Refused, bad_query};
use crate::seat_map::SeatMaps;

pub struct Seats {
    pub hosts: Arc<dyn Hosts>,
    pub seat_maps: Arc<SeatMaps>,
    pub streams: Arc<Networks>,
}

#[OpenApi(tag = "Domain::Reservation")]
impl Seats {
    /// The seat map
    ///
    /// Consistent with every answer before. `sequence` increases with each change.
    #[oai(path = "/v1/showtimes/:id/seats", method = "get")]
    async fn seats(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<SeatMap> {
        self.hosts.forward(&caller, GetSeatMap { showtime_id: id.0.0 }).await
    }

    /// The live seat map
    ///
    /// Server-sent events. `snapshot` comes first and holds the seat map; then each `seats` event holds
    /// `{sequence, changes: [{id, status}]}`, which turns the map at `sequence - 1` into the one at `sequence`. A
    /// `snapshot` may be sent again and replaces the map. A comment every 15 seconds keeps the connection open.
    #[oai(path = "/v1/showtimes/:id/seats/events", method = "get")]
    async fn watch(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Events, Refused> {
        let place = stream_place(&self.streams, &caller)?;
        let events = self.seat_maps.watch(id.0.0, caller.0.context.clone(), place).await?;
        Ok(Events(poem::Body::from_bytes_stream(events.map(Ok::<_, std::io::Error>))))
    }

    /// The best seats
    ///
    /// Those that an order with `bestAvailable` would get now; nothing is held. `together` says whether they are side by side.
    /// Love seats are sold in whole units, so a count that would split one is refused (`unit-split`).
    #[oai(path = "/v1/showtimes/:id/seats/best", method = "get")]
    async fn best(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// The number of seats.
        count: Query<u16>,
        /// By default STANDARD.
        kind: Query<Option<Of<SeatKind>>>,
        /// Seats to be close to, such as `C7,C8`; by default the best seats of the hall.
        near: Query<Option<String>>,
    ) -> Answered<BestSeats> {
        let near = near.0.unwrap_or_default();
        let near = near.split(',').filter(|seat| !seat.is_empty());
        let near: Option<Vec<SeatId>> = near.map(SeatId::parse).collect();
        let request = FindBestSeats {
            showtime_id: id.0.0,
            count: count.0,
            kind: kind.0.map(|kind| kind.0),
            near: near.ok_or_else(|| bad_query("near", Rule::SeatIds))?,
        };
        self.hosts.forward(&caller, request).await
    }
}
