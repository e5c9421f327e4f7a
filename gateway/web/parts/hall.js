// Draws the seat map of an auditorium: screen, rows, aisles, gaps, kinds of seats and their state. A seat is drawn at its column;
// its number is only its label. An ARIA grid with one tab stop; arrow keys move.
//
// A change of a seat updates only that seat's element, so that a map of 500 seats follows a rush.

import { h } from "../lib/dom.js";
import { list } from "../lib/format.js";
import { price } from "../lib/price.js";
import { t } from "../lib/text.js";
import { labelWidth, unitOf } from "./seat.js";

/** Draws the seats. Calls `toggle(id)` when a seat is pressed; `label` names the grid. */
export function hall(seats, { toggle, label }) {
  const byId = new Map();
  const rows = Map.groupBy(seats, (seat) => seat.row);
  const columns = seats.map((seat) => seat.column);
  const [least, most] = [Math.min(...columns), Math.max(...columns)];
  const grid = h("div", { class: "hall-grid", role: "grid", "aria-label": label, "aria-multiselectable": "true" });
  const order = [...rows.values()];
  let current;

  for (const [name, row] of rows) {
    const line = h("div", { class: "hall-row", role: "row" }, h("span", { class: "hall-label", role: "rowheader" }, name));
    for (const seat of row) {
      const others = unitOf(row, seat).filter((other) => other !== seat);
      const joined = others.some((other) => other.column === seat.column - 1);
      const cell = h("div", { class: "seat", role: "gridcell", tabindex: "-1", dataset: { seat: seat.id, kind: seat.kind, joined: String(joined) }, style: { "grid-column": String(seat.column - least + 2) } }, seat.kind === "STANDARD" && String(seat.number));
      byId.set(seat.id, { seat, cell, others: others.map((other) => other.id), chosen: false, mine: false });
      line.append(cell);
    }
    line.append(h("span", { class: "hall-label", "aria-hidden": "true" }, name));
    grid.append(line);
  }

  function show(entry) {
    const { seat, cell, chosen, mine } = entry;
    const state = chosen ? "chosen" : mine ? "mine" : seat.status.toLowerCase();
    if (cell.dataset.state === state) return;
    cell.dataset.state = state;
    cell.setAttribute("aria-selected", String(chosen));
    if (state === "free" || chosen) cell.removeAttribute("aria-disabled");
    else cell.setAttribute("aria-disabled", "true");
    const costs = seat.price && (state === "free" || chosen) ? price(seat.price) : null;
    cell.setAttribute("aria-label", [t("seats.seat", { row: seat.row, number: seat.number }), t(`kind.${seat.kind}`), t(`seats.state.${state}`), costs, entry.others.length > 0 && t("seats.with", { seats: list(entry.others) })].filter(Boolean).join(", "));
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

  return {
    node: h("div", { class: "hall" }, h("div", { class: "hall-inside", style: { "--columns": String(most - least + 1), "--label": labelWidth([...rows.keys()]) } }, h("div", { class: "screen", "aria-hidden": "true" }, h("span", {}, t("seats.screen"))), grid)),
    /** The current state of a seat. */
    seat: (id) => byId.get(id)?.seat,
    seats: () => [...byId.values()].map((entry) => entry.seat),
    /** Applies a change of a seat's status and, in a snapshot, of its price. */
    change: (id, status, price) => {
      const entry = byId.get(id);
      if (!entry) return;
      entry.seat.status = status;
      if (price !== undefined && price?.amount !== entry.seat.price?.amount) {
        entry.seat.price = price;
        delete entry.cell.dataset.state;
      }
      show(entry);
    },
    choose: (id, chosen) => {
      const entry = byId.get(id);
      entry.chosen = chosen;
      show(entry);
    },
    /** Marks the seats of the order that is being exchanged. */
    own: (ids) => {
      for (const entry of byId.values()) {
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
