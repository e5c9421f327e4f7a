// Draws the seat map of an auditorium: screen, rows, aisles, gaps, kinds of seats and their state. A seat is drawn at its column;
// its number is only its label. An ARIA grid with one tab stop; arrow keys move.
//
// A change of a seat updates only that seat's element, so that a map of 500 seats follows a rush.

import { h } from "../lib/dom.js";
import { list } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
import { price } from "../lib/price.js";
import { t } from "../lib/text.js";
import { zoomable } from "./hall-zoom.js";
import { labelWidth, unitOf } from "./seat.js";

/** Draws the seats; they can be chosen unless `close(true)` was called. Calls `toggle(id)` when a seat is pressed; `label` names the grid. */
export function hall(seats, { toggle, label }) {
  const byId = new Map();
  const rows = groupBy(seats, (seat) => seat.row);
  const columns = seats.map((seat) => seat.column);
  const [least, most] = [Math.min(...columns), Math.max(...columns)];
  const grid = h("div", { class: "hall-grid", role: "grid", "aria-label": label, "aria-multiselectable": "true" });
  const order = [...rows.values()];
  let current;
  let closed = false;

  for (const [name, row] of rows) {
    const line = h("div", { class: "hall-row", role: "row" }, h("span", { class: "hall-label", role: "rowheader" }, name));
    for (const seat of row) {
      const others = unitOf(row, seat).filter((other) => other !== seat);
      const joined = others.some((other) => other.column === seat.column - 1);
      const cell = h("div", { class: "seat", role: "gridcell", tabindex: "-1", dataset: { seat: seat.id, kind: seat.kind, joined: String(joined) }, style: { "grid-column": String(seat.column - least + 2) } }, seat.kind === "STANDARD" && String(seat.number));
      byId.set(seat.id, { seat, cell, others: others.map((other) => other.id), chosen: false, mine: false, keep: false });
      line.append(cell);
    }
    line.append(h("span", { class: "hall-label", "aria-hidden": "true" }, name));
    grid.append(line);
  }

  function show(entry) {
    const { seat, cell, chosen, mine, keep } = entry;
    const isMine = mine && (keep || seat.status !== "FREE");
    const state = chosen ? "chosen" : isMine ? "mine" : seat.status.toLowerCase();
    const name = closed && (state === "free" || (state === "mine" && keep)) ? "closed" : state === "mine" && keep ? "keep" : state;
    if (cell.dataset.state === state && cell.dataset.name === name) return;
    Object.assign(cell.dataset, { state, name });
    cell.setAttribute("aria-selected", String(chosen));
    const isOpen = name !== "closed" && (state === "free" || chosen || name === "keep");
    if (isOpen) cell.removeAttribute("aria-disabled");
    else cell.setAttribute("aria-disabled", "true");
    const costs = seat.price && isOpen ? price(seat.price) : null;
    cell.setAttribute("aria-label", [t("seats.seat", { row: seat.row, number: seat.number }), seat.kind !== "STANDARD" && t(`kind.${seat.kind}`), t(`seats.state.${name}`), costs, entry.others.length > 0 && t("seats.with", { seats: list(entry.others) })].filter(Boolean).join(", "));
  }

  function point(entry, focus) {
    if (current) current.cell.tabIndex = -1;
    current = entry;
    current.cell.tabIndex = 0;
    if (focus) current.cell.focus();
  }

  grid.addEventListener("click", (event) => {
    const entry = byId.get(event.target.closest("[data-seat]")?.dataset.seat);
    if (!entry) return;
    point(entry, true);
    toggle(entry.seat.id);
  });
  grid.addEventListener("focusin", (event) => {
    const entry = byId.get(event.target.dataset.seat);
    if (entry && entry !== current) point(entry, false);
  });
  grid.addEventListener("keydown", (event) => {
    if (!current || event.ctrlKey || event.metaKey || event.altKey) {
      const edge = { Home: order[0]?.[0], End: order.at(-1)?.at(-1) }[event.key];
      if (current && event.ctrlKey && edge) {
        event.preventDefault();
        point(byId.get(edge.id), true);
      }
      return;
    }
    if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      toggle(current.seat.id);
      return;
    }
    const next = neighbour(order, current.seat, event.key);
    if (next) {
      event.preventDefault();
      point(byId.get(next.id), true);
    }
  });

  for (const entry of byId.values()) show(entry);
  const middle = order[Math.floor(order.length / 2)] ?? [];
  const first = middle[Math.floor(middle.length / 2)];
  if (first) point(byId.get(first.id), false);

  const [width, rem] = [most - least + 1, labelWidth([...rows.keys()])];
  const inside = h("div", { class: "hall-inside", style: { "--columns": String(width), "--label": `${rem}rem` } }, h("div", { class: "screen", "aria-hidden": "true" }, h("span", {}, t("seats.screen"))), grid);
  const { frame, measure } = zoomable(inside, { columns: width, label: rem });
  return {
    node: frame,
    /** Fits the hall to the screen; called when it is on the page. */
    measure,
    /** The current state of a seat. */
    seat: (id) => byId.get(id)?.seat,
    seats: () => [...byId.values()].map((entry) => entry.seat),
    /** Applies a change of a seat's status and, in a snapshot, of its price. */
    change: (id, status, price) => {
      const entry = byId.get(id);
      if (!entry) return;
      // Freed: the next owner is somebody else.
      if (status === "FREE" && entry.seat.status !== "FREE") entry.mine = false;
      entry.seat.status = status;
      if (price !== undefined && price?.amount !== entry.seat.price?.amount) {
        entry.seat.price = price;
        delete entry.cell.dataset.state;
      }
      show(entry);
    },
    /** Shows that no seat can be chosen now, or that seats can be chosen again. */
    close: (isClosed) => {
      closed = isClosed;
      for (const entry of byId.values()) show(entry);
    },
    choose: (id, chosen) => {
      const entry = byId.get(id);
      entry.chosen = chosen;
      show(entry);
    },
    /** Marks the user's own seats; those of the order that is being exchanged may be chosen again. */
    own: (ids, kept) => {
      for (const entry of byId.values()) {
        entry.keep = kept.includes(entry.seat.id);
        entry.mine = ids.includes(entry.seat.id);
        show(entry);
      }
    },
    /** Moves the keyboard focus to a seat. */
    focus: (id) => byId.has(id) && point(byId.get(id), true),
  };
}

/** The seat that a key moves to: in the same row, or the nearest in the next row. */
function neighbour(order, seat, key) {
  const at = order.findIndex((row) => row[0].row === seat.row);
  const row = order[at];
  const place = row.indexOf(seat);
  const nearest = (other) => other?.reduce((best, next) => (Math.abs(next.column - seat.column) < Math.abs(best.column - seat.column) ? next : best));
  switch (key) {
    case "ArrowRight": return row[place + 1];
    case "ArrowLeft": return row[place - 1];
    case "ArrowDown": return nearest(order[at + 1]);
    case "ArrowUp": return nearest(order[at - 1]);
    case "Home": return row[0];
    case "End": return row.at(-1);
    case "PageDown": return nearest(order.at(-1));
    case "PageUp": return nearest(order[0]);
  }
}
