// An auditorium's plan as it is being drawn: rows of places, each a kind of seat or nothing. Pure, without the page.
// A place is its row and its number, as the API has it; an aisle is a number that nobody sits on.

const LETTERS = 26;
/** The server's bounds (rows, numbers in a row). */
export const ROWS_MAX = 60;
export const PLACES_MAX = 100;
/** Steps that can be taken back. */
const UNDO_MAX = 100;

/** A, B … Z, AA, AB … */
export function label(at) {
  return (at >= LETTERS ? label(Math.floor(at / LETTERS) - 1) : "") + String.fromCharCode(65 + (at % LETTERS));
}

/** An empty hall's plan: rows of standard seats. */
export const blank = (rows, places) => Array.from({ length: rows }, (_, at) => ({ label: label(at), seats: Array.from({ length: places }, (_, place) => ({ number: place + 1, kind: "STANDARD" })) }));

export class Plan {
  #past = [];

  constructor(rows) {
    this.rows = rows.map((row) => ({ label: row.label, places: new Map(row.seats.filter((seat) => seat.kind !== "GAP").map((seat) => [seat.number, seat.kind])) }));
    const numbers = rows.flatMap((row) => row.seats.map((seat) => seat.number));
    this.first = numbers.length ? Math.min(...numbers) : 1;
    this.last = numbers.length ? Math.max(...numbers) : 1;
  }

  /** Before a change: how it was can be had again. */
  mark() {
    this.#past.push({ rows: this.rows.map((row) => ({ label: row.label, places: new Map(row.places) })), first: this.first, last: this.last });
    if (this.#past.length > UNDO_MAX) this.#past.shift();
  }

  undo() {
    const was = this.#past.pop();
    if (was) Object.assign(this, was);
    return Boolean(was);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  kind(row, number) {
    return this.rows[row]?.places.get(number) ?? "GAP";
  }

  paint(row, number, kind) {
    if (kind === "GAP") this.rows[row].places.delete(number);
    else this.rows[row].places.set(number, kind);
  }

  /** A row like its neighbour, with the first label that is free. */
  addRow(at, like) {
    const used = new Set(this.rows.map((row) => row.label));
    let next = 0;
    while (used.has(label(next))) next++;
    const places = new Map(this.rows[like]?.places ?? Array.from({ length: this.last - this.first + 1 }, (_, place) => [this.first + place, "STANDARD"]));
    this.rows.splice(at, 0, { label: label(next), places });
  }

  removeRow(at) {
    this.rows.splice(at, 1);
  }

  /** How many seats of each kind there are. */
  counts() {
    const counts = {};
    for (const row of this.rows) for (const kind of row.places.values()) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  }

  /** As the API takes it: what is empty between two seats is a gap, what is empty outside is left out. */
  toRows() {
    return this.rows.map(({ label, places }) => {
      const numbers = [...places.keys()].sort((a, b) => a - b);
      const [from, to] = numbers.length ? [numbers[0], numbers.at(-1)] : [this.first, this.first];
      return { label, seats: Array.from({ length: to - from + 1 }, (_, at) => ({ number: from + at, kind: places.get(from + at) ?? "GAP" })) };
    });
  }

  /** Puts seats back as they were in `rows`, by id; rows that are gone come back at their place. */
  restore(rows, ids) {
    rows.forEach((row, at) => {
      for (const seat of row.seats) {
        if (!ids.has(`${row.label}${seat.number}`)) continue;
        let found = this.rows.find((one) => one.label === row.label);
        if (!found) {
          found = { label: row.label, places: new Map() };
          this.rows.splice(Math.min(at, this.rows.length), 0, found);
        }
        found.places.set(seat.number, seat.kind);
        this.first = Math.min(this.first, seat.number);
        this.last = Math.max(this.last, seat.number);
      }
    });
  }
}
