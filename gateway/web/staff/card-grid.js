// The prices of a card as a table: ticket types by kinds of seat. An empty cell is not sold. Arrow keys move between the cells as Tab
// does, and cells that were copied in a spreadsheet are pasted over as many.

import { h } from "../lib/dom.js";
import { nameIn, t } from "../lib/text.js";
import { badge } from "./listing.js";
import { KINDS } from "./pricing.js";

/** `{node, read}`; the cells of the draft are texts by `type.kind`. */
export function priceGrid(types, { cells, currency }) {
  const has = (type) => KINDS.some((kind) => cells[`${type.code}.${kind}`]);
  // A type that is switched off has a row only where the card has it.
  const shown = types.filter((type) => type.active || has(type));
  const line = (type) => h("tr", { dataset: { field: `prices.${type.code}` } },
    h("th", { scope: "row" }, nameIn(type.name), !type.active && [" ", badge(t("staff.types.off"), "warn")]),
    KINDS.map((kind) => h("td", {}, cell(type, kind, cells[`${type.code}.${kind}`]))));
  const table = h("table", { class: "price-grid" },
    h("caption", { class: "unseen" }, t("staff.card.grid", { currency })),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("staff.types.one")), KINDS.map((kind) => h("th", { scope: "col" }, t(`kind.${kind}`))))),
    h("tbody", {}, shown.map(line)));
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((place) => place.querySelector("input")));
  table.addEventListener("keydown", (event) => move(event, rows));
  table.addEventListener("paste", (event) => paste(event, rows));
  return {
    node: h("div", { class: "table", dataset: { field: "prices" } }, table),
    read: () => Object.fromEntries(rows.flat().filter((input) => input?.value.trim()).map((input) => [input.dataset.key, input.value.trim()])),
  };
}

function cell(type, kind, value) {
  const isSold = !type.seatKinds?.length || type.seatKinds.includes(kind) || value;
  if (!isSold) return h("span", { class: "soft", title: t("staff.card.not-for", { name: nameIn(type.name) }) }, "–");
  const key = `${type.code}.${kind}`;
  const label = `${nameIn(type.name)}, ${t(`kind.${kind}`)}`;
  return h("div", { class: "field", dataset: { field: `prices.${key}` } }, h("input", { class: "input", name: `prices.${key}`, value: value ?? "", inputmode: "decimal", autocomplete: "off", "aria-label": label, dataset: { key } }));
}

/** The place of an input in the rows. */
function placeOf(input, rows) {
  const row = rows.findIndex((inputs) => inputs.includes(input));
  return { row, column: rows[row]?.indexOf(input) };
}

/** Up and down always move to the next cell; left and right where the text is selected or ends. */
function move(event, rows) {
  const { target: input, key } = event;
  if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey || !input.matches("input")) return;
  const { selectionStart: start, selectionEnd: end, value } = input;
  const isWhole = start === 0 && end === value.length;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: isWhole || end === 0 ? [0, -1] : null, ArrowRight: isWhole || start === value.length ? [0, 1] : null };
  const step = steps[key];
  if (!step) return;
  const place = placeOf(input, rows);
  let next;
  // Places without a cell are passed over.
  do {
    place.row += step[0];
    place.column += step[1];
    next = rows[place.row]?.[place.column];
  } while (next === null);
  event.preventDefault();
  if (!next) return;
  next.focus();
  next.select();
}

/** Amounts as they are pasted, without the sign of the currency. */
const plain = (text) => text.replace(/\p{Sc}|\b[A-Z]{3}\b/gu, "").trim();

function paste(event, rows) {
  const { target: input } = event;
  if (!input.matches("input")) return;
  const text = event.clipboardData.getData("text").replace(/\r?\n$/, "");
  const lines = text.split(/\r?\n/).map((line) => line.split("\t").map(plain));
  const place = placeOf(input, rows);
  // A single amount is the browser's to paste.
  if (lines[0][0] === text.trim()) return;
  event.preventDefault();
  if (lines.length === 1 && lines[0].length === 1) input.setRangeText(lines[0][0], input.selectionStart, input.selectionEnd, "end");
  else fill(lines, place, rows);
}

/** Writes the texts into the cells from a place on. */
function fill(lines, place, rows) {
  for (const [down, line] of lines.entries()) {
    for (const [right, text] of line.entries()) {
      const to = rows[place.row + down]?.[place.column + right];
      if (to) to.value = text;
    }
  }
}
