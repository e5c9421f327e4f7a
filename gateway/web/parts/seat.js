// A seat's name and its neighbours, on seats as the API gives them: `{id, row, number, column, kind, unit}`.
// Numbers may be in any order: neighbours are seats in adjacent columns. The server chooses the best seats.

/** The id of a seat, as in the contract: row label and number, with a dash between them if the label ends with a digit. */
export const seatId = (row, number) => `${row}${/\p{N}$/u.test(row) ? "-" : ""}${number}`;

/** The row and number of an id. */
export function partsOf(id) {
  const [, row, number] = /^(.*?)-?(\d+)$/u.exec(id) ?? [null, id, ""];
  return { row, number };
}

/** The width (rem) of the column with the labels of these rows. */
export const labelWidth = (labels) => Math.max(1.75, ...labels.map((label) => 0.5 + label.length * 0.6));

export const areAdjacent = (a, b) => a.row === b.row && Math.abs(a.column - b.column) === 1;

/** The seats that are sold together with this one, itself included. */
export const unitOf = (seats, seat) => (seat.unit === undefined ? [seat] : seats.filter((other) => other.row === seat.row && other.unit === seat.unit));

/** Companion seats of the order without the wheelchair space beside them. A companion seat with no wheelchair space beside it in the layout is sold like any seat. */
export function companionsAlone(seats, order) {
  const wheelchairs = (seat) => seats.filter((other) => other.kind === "WHEELCHAIR" && areAdjacent(seat, other));
  return order.filter((seat) => seat.kind === "COMPANION" && wheelchairs(seat).length > 0 && !wheelchairs(seat).some((wheelchair) => order.includes(wheelchair)));
}

/** For each of these companion seats the first free wheelchair space beside it, or null if one has none. */
export function wheelchairsFor(seats, companions) {
  const found = companions.map((seat) => seats.find((other) => other.kind === "WHEELCHAIR" && areAdjacent(seat, other) && other.status === "FREE" && other.price));
  return found.every(Boolean) ? [...new Set(found)] : null;
}

/**
 * If `order` leaves a single free seat, and moving one of its blocks by one column would not: `{alone, seats}`, the single seat and
 * the moved order; otherwise null. Blocks move only within a kind of seat, so that the price stays the same.
 */
export function withoutOrphan(seats, order) {
  const isFree = (seat) => seat.status === "FREE" && seat.price;
  for (const block of blocks(order)) {
    const row = seats.filter((seat) => seat.row === block[0].row);
    const at = (column) => row.find((seat) => seat.column === column);
    const alone = orphans(row, order, block[0].kind, isFree);
    if (!alone.length || block.some((seat) => seat.unit !== undefined)) continue;
    for (const step of [-1, 1]) {
      const moved = block.map((seat) => at(seat.column + step));
      const others = order.filter((seat) => !block.includes(seat));
      const fits = moved.every((seat) => seat && isFree(seat) && seat.kind === block[0].kind && seat.unit === undefined && !others.includes(seat));
      if (fits && !orphans(row, [...others, ...moved], block[0].kind, isFree).length) return { alone: alone[0], seats: [...others, ...moved] };
    }
  }
  return null;
}

/** Groups of adjacent chosen seats of one kind. */
function blocks(order) {
  const blocks = [];
  for (const seat of order.toSorted((a, b) => (a.row === b.row ? a.column - b.column : a.row < b.row ? -1 : 1))) {
    const last = blocks.at(-1)?.at(-1);
    if (last && areAdjacent(last, seat) && last.kind === seat.kind) blocks.at(-1).push(seat);
    else blocks.push([seat]);
  }
  return blocks;
}

/** Single seats that the order leaves: a free seat beside a chosen one, with no other free seat of its kind beside it. */
function orphans(row, order, kind, isFree) {
  const isLeft = (seat) => seat.kind === kind && isFree(seat) && !order.includes(seat);
  const beside = (seat) => row.filter((other) => areAdjacent(seat, other));
  return row.filter((seat) => isLeft(seat) && beside(seat).some((other) => order.includes(other)) && !beside(seat).some(isLeft));
}
