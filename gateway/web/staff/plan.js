// The layout of an auditorium while it is edited: rows of places, each with a seat or empty. No DOM.
// A place is a row and a column. A seat keeps its number, kind and unit when other places change; an aisle is an empty column.

import { seatId } from "../parts/seat.js";

const LETTERS = 26;
/** The server's limits of rows, columns and numbers. */
export const ROWS_MAX = 60;
export const PLACES_MAX = 100;
const NUMBER_MAX = 999;
/** The most steps that can be undone. */
const UNDO_MAX = 100;

/** A, B … Z, AA, AB … */
export function label(at) {
  return (at >= LETTERS ? label(Math.floor(at / LETTERS) - 1) : "") + String.fromCharCode(65 + (at % LETTERS));
}

/** A new layout: rows of standard seats. */
export const blank = (rows, places) => Array.from({ length: rows }, (_, at) => ({ label: label(at), seats: Array.from({ length: places }, (_, place) => ({ number: place + 1, column: place + 1, kind: "STANDARD" })) }));

/** The seats of a row by column. */
const placesOf = (row) => new Map(row.seats.filter((seat) => seat.kind !== "GAP").map(({ column, number, kind, unit }) => [column, { number, kind, unit }]));

export class Plan {
  #past = [];

  constructor(rows) {
    this.rows = rows.map((row) => ({ label: row.label, places: placesOf(row) }));
    this.columns = Math.max(1, ...rows.flatMap((row) => row.seats.map((seat) => seat.column)));
  }

  /** Call before a change: stores the state for `undo`. */
  mark() {
    const places = (row) => new Map([...row.places].map(([column, seat]) => [column, { ...seat }]));
    this.#past.push({ rows: this.rows.map((row) => ({ label: row.label, places: places(row) })), columns: this.columns });
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

  /** The seat at a place, or undefined. */
  seat(row, column) {
    return this.rows[row]?.places.get(column);
  }

  kind(row, column) {
    return this.seat(row, column)?.kind ?? "GAP";
  }

  id(row, column) {
    const seat = this.seat(row, column);
    return seat && seatId(this.rows[row].label, seat.number);
  }

  /** Whether the seat is in one unit with its left neighbour. */
  isJoined(row, column) {
    const unit = this.seat(row, column)?.unit;
    return unit !== undefined && this.seat(row, column - 1)?.unit === unit;
  }

  /** Sets the kind of a place. The seat keeps its number. A love seat forms a unit with a single one beside it; painting over one half dissolves the unit. */
  paint(row, column, kind) {
    const { places } = this.rows[row];
    const was = places.get(column);
    if (was?.unit !== undefined && was.kind !== kind) this.#endUnit(places, was.unit);
    if (kind === "GAP") {
      places.delete(column);
      return;
    }
    const seat = { number: was?.number ?? this.#freeNumber(places, column), kind, unit: was?.kind === kind ? was.unit : undefined };
    places.set(column, seat);
    if (kind !== "LOVESEAT" || seat.unit !== undefined) return;
    const single = [places.get(column - 1), places.get(column + 1)].find((other) => other?.kind === kind && other.unit === undefined);
    if (single) single.unit = seat.unit = this.#freeUnit(places);
  }

  #endUnit(places, unit) {
    for (const seat of places.values()) if (seat.unit === unit) seat.unit = undefined;
  }

  #freeUnit(places) {
    const used = new Set([...places.values()].map((seat) => seat.unit));
    let unit = 1;
    while (used.has(unit)) unit++;
    return unit;
  }

  /** The next number after a neighbour's, if it is free; otherwise the column; otherwise the lowest free number. */
  #freeNumber(places, column) {
    const used = new Set([...places.values()].map((seat) => seat.number));
    const [left, right] = [places.get(column - 1)?.number, places.get(column + 1)?.number];
    const wanted = [left + 1, right - 1, column].find((number) => number >= 1 && number <= NUMBER_MAX && !used.has(number));
    if (wanted) return wanted;
    let number = 1;
    while (used.has(number)) number++;
    return number;
  }

  /** New numbers for a row: `left` 1, 2, 3 …, `right` … 3, 2, 1, `split` odd ones to the left of the middle and even ones to its right. */
  renumber(row, way) {
    const { places } = this.rows[row];
    const columns = [...places.keys()].sort((a, b) => a - b);
    const half = Math.ceil(columns.length / 2);
    const number = {
      left: (at) => at + 1,
      right: (at) => columns.length - at,
      split: (at) => (at < half ? 2 * (half - at) - 1 : 2 * (at - half + 1)),
    }[way];
    columns.forEach((column, at) => (places.get(column).number = number(at)));
  }

  /** Inserts a copy of the row `like`, with the first free label. */
  addRow(at, like) {
    const used = new Set(this.rows.map((row) => row.label));
    let next = 0;
    while (used.has(label(next))) next++;
    const places = new Map([...(this.rows[like]?.places ?? [])].map(([column, seat]) => [column, { ...seat }]));
    this.rows.splice(at, 0, { label: label(next), places });
  }

  removeRow(at) {
    this.rows.splice(at, 1);
  }

  /** Removes the last column. */
  narrow() {
    this.rows.forEach((_, row) => this.paint(row, this.columns, "GAP"));
    this.columns--;
  }

  /** The number of seats of each kind. */
  counts() {
    const counts = {};
    for (const row of this.rows) for (const { kind } of row.places.values()) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  }

  /** The rows in the API's form, from left to right without empty columns. A row without seats has one GAP. */
  toRows() {
    const seats = (places) => [...places].sort(([a], [b]) => a - b).map(([column, { number, kind, unit }]) => ({ number, column, kind, ...(unit !== undefined && { unit }) }));
    return this.rows.map(({ label, places }) => ({ label, seats: places.size ? seats(places) : [{ number: 1, column: 1, kind: "GAP" }] }));
  }

  /** Restores the seats `ids` as they are in `rows`, with the other seats of their units; missing rows are inserted again. */
  restore(rows, ids) {
    rows.forEach((row, at) => {
      const lost = row.seats.filter((seat) => ids.has(seatId(row.label, seat.number)));
      if (!lost.length) return;
      let found = this.rows.find((other) => other.label === row.label);
      if (!found) {
        found = { label: row.label, places: new Map() };
        this.rows.splice(Math.min(at, this.rows.length), 0, found);
      }
      const units = new Set(lost.map((seat) => seat.unit).filter((unit) => unit !== undefined));
      const back = row.seats.filter((seat) => lost.includes(seat) || units.has(seat.unit));
      // Seats with the same place, number or unit are removed or leave their unit.
      for (const [column, seat] of [...found.places]) {
        const inTheWay = back.some((other) => other.column === column || other.number === seat.number);
        if (seat.unit !== undefined && (inTheWay || units.has(seat.unit))) this.#endUnit(found.places, seat.unit);
        if (inTheWay) found.places.delete(column);
      }
      for (const { number, column, kind, unit } of back) found.places.set(column, { number, kind, unit });
      this.columns = Math.max(this.columns, ...back.map((seat) => seat.column));
    });
  }
}
