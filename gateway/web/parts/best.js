// Which free seats are best: together, near a place. Pure, on seats as the API gives them.
// The same search answers both questions: "the best two" looks from the middle of the hall, a little behind it, and "the
// nearest to what went" from where one wanted to sit.

/** A row further away costs as much as this many seats to the side. */
const ROW = 1.6;
/** Not to sit together costs more than any distance. */
const APART = 1000;

const isFree = (seat, kinds) => seat.status === "FREE" && kinds.includes(seat.kind);

/** At most `count` seats near `from` (`{row, number}`, row as an index), together where that is possible; else []. */
export function nearest(seats, count, from, kinds) {
  const rows = [...Map.groupBy(seats, (seat) => seat.row).values()];
  let best = null;
  rows.forEach((row, at) => {
    for (const run of runs(row, kinds)) {
      for (let begin = 0; begin + count <= run.length; begin++) {
        const block = run.slice(begin, begin + count);
        const cost = block.reduce((sum, seat) => sum + distance(seat, at, from), 0);
        if (!best || cost < best.cost) best = { cost, block };
      }
    }
  });
  return best ? best.block : scattered(rows, count, from, kinds);
}

/** Free seats side by side: numbers without a gap between. */
function runs(row, kinds) {
  const runs = [];
  let last = null;
  for (const seat of row) {
    if (!isFree(seat, kinds)) {
      last = null;
      continue;
    }
    if (last && seat.number === last.number + 1) runs.at(-1).push(seat);
    else runs.push([seat]);
    last = seat;
  }
  return runs;
}

function scattered(rows, count, from, kinds) {
  const free = rows.flatMap((row, at) => row.filter((seat) => isFree(seat, kinds)).map((seat) => ({ seat, cost: APART + distance(seat, at, from) })));
  if (free.length < count) return [];
  return free.sort((a, b) => a.cost - b.cost).slice(0, count).map(({ seat }) => seat);
}

const distance = (seat, at, from) => Math.hypot((at - from.row) * ROW, seat.number - from.number);

/** The best place of a hall: two thirds back, in the middle. */
export function sweetSpot(seats) {
  const rows = [...Map.groupBy(seats, (seat) => seat.row).values()];
  const numbers = seats.map((seat) => seat.number);
  return { row: (rows.length - 1) * 0.66, number: (Math.min(...numbers) + Math.max(...numbers)) / 2 };
}

/** The middle of some seats. */
export function middle(seats, ids) {
  const names = [...new Set(seats.map((seat) => seat.row))];
  const some = seats.filter((seat) => ids.includes(seat.id));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return { row: mean(some.map((seat) => names.indexOf(seat.row))), number: mean(some.map((seat) => seat.number)) };
}
