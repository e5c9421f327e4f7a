// Edits an auditorium: name, time zone and layout, by mouse or keyboard. The server refuses a change that would remove sold
// seats; these seats are then marked, and can be restored.

import { patch, post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { list, moment } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field, form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";
import { labelWidth, seatId } from "../parts/seat.js";
import { act, fresh, head, remove } from "./listing.js";
import { PLACES_MAX, Plan, ROWS_MAX, blank } from "./plan.js";

const BRUSHES = ["STANDARD", "LOVESEAT", "WHEELCHAIR", "COMPANION", "GAP"];

export default async function layout({ params, signal }) {
  const isNew = params.id === "new";
  const hall = isNew ? null : await fresh(`/v1/auditoriums/${params.id}`, {}, { signal });
  const editor = new Editor(hall, signal);
  return {
    title: hall?.name ?? t("staff.halls.new"),
    node: h(
      "div",
      { class: "stack" },
      h("a", { class: "back", href: "/staff/halls" }, `← ${t("staff.place.halls")}`),
      head(hall?.name ?? t("staff.halls.new"), t("staff.layout.about"), hall && end(hall)),
      editor.node,
    ),
  };
}

function end(hall) {
  return act(t("staff.delete"), async () => {
    const answer = await ask(t("staff.halls.delete-ask", { name: hall.name }), h("p", {}, t("staff.halls.delete-about")), [["no", t("staff.keep")], ["yes", t("staff.delete"), "grave"]]);
    if (answer !== "yes") return;
    await remove(`/v1/auditoriums/${hall.id}`);
    notice(t("staff.deleted", { name: hall.name }));
    await go("/staff/halls");
  }, "grave");
}

class Editor {
  constructor(hall, signal) {
    Object.assign(this, { hall, signal, brush: "STANDARD", current: { row: 0, column: 1 }, lost: new Map() });
    this.plan = new Plan(hall?.rows ?? blank(8, 12));
    this.grid = h("div", { class: "layout-grid", role: "grid", "aria-label": t("staff.layout.grid") });
    this.rowTools = h("div", { class: "row layout-row-tools" });
    this.sum = h("p", { class: "soft", "aria-live": "polite" });
    this.messages = h("div", {});
    this.undo = h("button", { class: "button small", type: "button", on: { click: () => this.undo() } }, t("staff.layout.undo"));
    this.listen();
    this.node = h("div", { class: "layout" }, this.settings(), h("section", { class: "card stack" }, this.palette(), this.messages, h("div", { class: "layout-box", tabindex: "0", role: "region", "aria-label": t("staff.layout.plan") }, h("div", { class: "screen", "aria-hidden": "true" }, h("span", {}, t("seats.screen"))), this.grid), this.rowTools, h("div", { class: "row" }, this.sum, this.undo)));
    this.draw();
  }

  settings() {
    const zone = this.hall?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    const made = form({
      fields: [
        field("name", t("staff.name"), { value: this.hall?.name ?? "", required: true, maxlength: 100, autocomplete: "off" }),
        field("timeZone", t("staff.layout.zone"), { value: zone === "UTC" && !this.hall ? "Europe/Berlin" : zone, required: true, list: "zones", hint: t("staff.layout.zone-hint"), autocomplete: "off" }),
        h("datalist", { id: "zones" }, (Intl.supportedValuesOf?.("timeZone") ?? []).map((item) => h("option", { value: item }))),
        !this.hall && h("fieldset", { class: "field" }, h("legend", {}, t("staff.layout.begin")), h("div", { class: "two" },
          field("newRows", t("staff.layout.rows"), { type: "number", min: 1, max: ROWS_MAX, value: 8 }),
          field("newPlaces", t("staff.layout.places"), { type: "number", min: 1, max: PLACES_MAX, value: 12 })),
          h("button", { class: "button small", type: "button", on: { click: () => this.begin(made) } }, t("staff.layout.fill"))),
      ],
      // An error within the plan has no field; the row's name says where it is.
      place: (name) => {
        const row = this.plan.rows[/^rows\[(\d+)\]/.exec(name)?.[1]];
        return row && `${t("staff.layout.row")} ${row.label}`;
      },
      label: t(this.hall ? "staff.save" : "staff.halls.create"),
      work: (values) => this.save(values),
    });
    return h("section", { class: "card layout-settings" }, made);
  }

  begin(made) {
    const { newRows, newPlaces } = Object.fromEntries(new FormData(made));
    const within = (text, most) => Math.min(most, Math.max(1, Math.round(Number(text)) || 1));
    this.plan.mark();
    const fresh = new Plan(blank(within(newRows, ROWS_MAX), within(newPlaces, PLACES_MAX)));
    Object.assign(this.plan, { rows: fresh.rows, columns: fresh.columns });
    this.draw();
  }

  async save({ name, timeZone }) {
    this.lost.clear();
    replace(this.messages);
    const rows = this.plan.toRows();
    // Rows are sent only if they were changed, so that renaming keeps the stored seats.
    const isDrawn = !this.hall || JSON.stringify(rows) !== JSON.stringify(new Plan(this.hall.rows).toRows());
    const body = { name: name.trim(), timeZone: timeZone.trim(), ...(isDrawn && { rows }) };
    try {
      const saved = this.hall ? await patch(`/v1/auditoriums/${this.hall.id}`, body) : await post("/v1/auditoriums", body);
      notice(t("staff.saved", { name: saved.name }));
      if (this.hall) await again();
      else await go(`/staff/halls/${saved.id}`, { instead: true });
    } catch (problem) {
      if (problem.code !== "seats-sold") throw problem;
      this.refused(problem);
    }
  }

  /** Shows which seats of which showtimes are sold, and a button that restores them. */
  refused({ showtimes }) {
    const ids = new Set(showtimes.flatMap((item) => item.seats ?? []));
    // The stored seats, which may be missing in the edited layout.
    this.lost = new Map(this.hall.rows.flatMap((row) => row.seats.map((seat) => [seatId(row.label, seat.number), { row: row.label, ...seat }])).filter(([id]) => ids.has(id)));
    const restore = h("button", { class: "button", type: "button" }, t("staff.layout.restore", { n: this.lost.size }));
    restore.addEventListener("click", () => {
      this.plan.mark();
      this.plan.restore(this.hall.rows, this.lost);
      this.lost.clear();
      replace(this.messages, message("good", t("staff.layout.restored")));
      this.draw();
    });
    const lines = showtimes.map((item) => h("li", {}, h("a", { href: `/staff/orders?showtimeId=${item.id}` }, moment(item.startsAt, this.hall.timeZone)), `: ${list(item.seats ?? [])}`));
    replace(this.messages, message("bad", t("staff.layout.refused"), h("ul", {}, lines), h("p", { class: "row" }, restore)));
    this.draw();
    this.messages.scrollIntoView({ block: "nearest" });
  }

  palette() {
    const brush = (kind, at) => {
      const input = h("input", { type: "radio", name: "brush", value: kind, class: "unseen", checked: kind === this.brush, on: { change: () => (this.brush = kind) } });
      return h("label", { class: "brush" }, input, h("span", { class: "seat sample", "aria-hidden": "true", dataset: { kind, state: kind === "GAP" ? "blocked" : "free" } }), `${t(kind === "GAP" ? "staff.layout.aisle" : `kind.${kind}`)} `, h("kbd", {}, at + 1));
    };
    this.brushes = h("fieldset", { class: "brushes" }, h("legend", {}, t("staff.layout.brush")), BRUSHES.map(brush));
    return h("div", { class: "stack" }, this.brushes, h("p", { class: "soft" }, t("staff.layout.keys")));
  }

  choose(kind) {
    this.brush = kind;
    this.brushes.querySelector(`[value=${kind}]`).checked = true;
  }

  undo() {
    if (this.plan.undo()) this.draw();
  }

  paint({ row, column }, kind = this.brush) {
    this.plan.paint(row, column, kind);
    // Painting may also change the unit of a neighbour.
    this.showRow(row);
    this.count();
  }

  cell({ row, column }) {
    return this.grid.children[row]?.querySelector(`[data-column="${column}"]`);
  }

  showRow(row) {
    for (let column = 1; column <= this.plan.columns; column++) this.show(row, column);
  }

  show(row, column) {
    const cell = this.cell({ row, column });
    const { label } = this.plan.rows[row];
    const kind = this.plan.kind(row, column);
    // A sold seat is marked at its place, or where it was.
    const lost = this.lost.get(this.plan.id(row, column)) ?? [...this.lost.values()].find((seat) => seat.row === label && seat.column === column);
    const number = this.plan.seat(row, column)?.number ?? lost?.number;
    Object.assign(cell.dataset, { kind, state: kind === "GAP" ? "blocked" : "free", lost: String(Boolean(lost)), joined: String(this.plan.isJoined(row, column)) });
    // The other kinds get a symbol by the style sheet.
    cell.textContent = kind === "STANDARD" ? String(number) : "";
    const place = number === undefined ? t("staff.layout.place", { row: label, column }) : t("seats.seat", { row: label, number });
    const name = t(kind === "GAP" ? "staff.layout.aisle" : `kind.${kind}`);
    cell.setAttribute("aria-label", [place, name, lost && t("staff.layout.somebodys")].filter(Boolean).join(", "));
  }

  draw() {
    const { plan } = this;
    this.current = { row: Math.min(this.current.row, plan.rows.length - 1), column: Math.min(this.current.column, plan.columns) };
    this.grid.style.setProperty("--columns", String(plan.columns));
    this.grid.style.setProperty("--label", `${labelWidth(plan.rows.map((row) => row.label))}rem`);
    replace(this.grid, plan.rows.map((row, at) => h("div", { class: "hall-row", role: "row" }, h("span", { class: "hall-label", role: "rowheader" }, row.label), Array.from({ length: plan.columns }, (_, place) => h("div", { class: "seat", role: "gridcell", tabindex: "-1", dataset: { row: at, column: place + 1 } })))));
    plan.rows.forEach((_, row) => this.showRow(row));
    this.shownRow = undefined;
    this.point(this.current, false);
    this.count();
  }

  count() {
    const counts = this.plan.counts();
    const all = Object.values(counts).reduce((sum, item) => sum + item, 0);
    this.sum.textContent = `${t("staff.layout.sum", { n: all })} ${Object.entries(counts).map(([kind, n]) => `${t(`kind.${kind}`)} ${n}`).join(" · ")}`;
    this.undo.disabled = !this.plan.canUndo;
  }

  point(position, focus = true) {
    if (position.row < 0) return;
    const before = this.cell(this.current);
    if (before) before.tabIndex = -1;
    const isOther = position.row !== this.shownRow;
    this.current = position;
    const cell = this.cell(position);
    cell.tabIndex = 0;
    if (focus) cell.focus();
    if (isOther) this.tools();
  }

  /** The tools for the row that was focused last. */
  tools() {
    const { row } = this.current;
    const { plan } = this;
    this.shownRow = row;
    const change = (work) => () => {
      plan.mark();
      work();
      this.draw();
    };
    const name = h("input", { class: "input short", id: "row-label", maxlength: 8, autocomplete: "off", value: plan.rows[row]?.label ?? "" });
    name.addEventListener("change", change(() => (plan.rows[row].label = name.value.trim().normalize("NFC"))));
    const button = (key, work, disabled) => h("button", { class: "button small", type: "button", disabled, on: { click: change(work) } }, t(key));
    const isFull = plan.rows.length >= ROWS_MAX;
    replace(
      this.rowTools,
      h("label", { for: "row-label" }, t("staff.layout.row")), name,
      button("staff.layout.above", () => plan.addRow(row, row), isFull),
      button("staff.layout.below", () => plan.addRow(row + 1, row), isFull),
      button("staff.layout.remove-row", () => plan.removeRow(row), plan.rows.length < 2),
      button("staff.layout.paint-row", () => { for (let column = 1; column <= plan.columns; column++) plan.paint(row, column, this.brush); }),
      button("staff.layout.wider", () => plan.columns++, plan.columns >= PLACES_MAX),
      button("staff.layout.narrower", () => plan.narrow(), plan.columns <= 1),
      h("span", { class: "soft" }, t("staff.layout.renumber")),
      ...["left", "right", "split"].map((way) => button(`staff.layout.from-${way}`, () => plan.renumber(row, way))),
    );
  }

  listen() {
    const place = (event) => {
      const cell = event.target.closest?.("[data-column]");
      return cell && { row: Number(cell.dataset.row), column: Number(cell.dataset.column) };
    };
    let drawing = false;
    this.grid.addEventListener("pointerdown", (event) => {
      const position = place(event);
      if (!position || event.button !== 0) return;
      // Without pointer capture a moving finger paints the following seats too.
      if (event.target.hasPointerCapture?.(event.pointerId)) event.target.releasePointerCapture(event.pointerId);
      event.preventDefault();
      drawing = true;
      this.plan.mark();
      this.point(position);
      this.paint(position);
    });
    this.grid.addEventListener("pointerover", (event) => {
      const position = drawing && place(event);
      if (position) this.paint(position);
    });
    addEventListener("pointerup", () => (drawing = false), { signal: this.signal });
    addEventListener("pointercancel", () => (drawing = false), { signal: this.signal });
    this.grid.addEventListener("focusin", (event) => {
      const position = place(event);
      if (position && (position.row !== this.current.row || position.column !== this.current.column)) this.point(position, false);
    });
    this.grid.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const { row, column } = this.current;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      this.undo();
      this.cell(this.current)?.focus();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const brush = BRUSHES[Number(event.key) - 1];
    if (steps[event.key]) {
      const next = { row: row + steps[event.key][0], column: column + steps[event.key][1] };
      event.preventDefault();
      if (!this.plan.rows[next.row] || next.column < 1 || next.column > this.plan.columns) return;
      this.point(next);
      if (event.shiftKey) {
        this.plan.mark();
        this.paint(next);
      }
    } else if (event.key === " " || event.key === "Enter" || event.key === "Delete" || event.key === "Backspace" || brush) {
      event.preventDefault();
      if (brush) this.choose(brush);
      this.plan.mark();
      this.paint(this.current, event.key === "Delete" || event.key === "Backspace" ? "GAP" : this.brush);
    } else if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      this.point({ row, column: event.key === "Home" ? 1 : this.plan.columns });
    }
  }
}
