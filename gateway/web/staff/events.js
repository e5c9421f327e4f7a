// The live stream of events: the latest ones, then each new one, newest first. It can be paused (new events are counted
// meanwhile) and filtered by kind or text. Its data covers every order and user, so it is for ADMIN.

import { Problem, events } from "../lib/api.js";
import { shownCode } from "../lib/code.js";
import { h, replace } from "../lib/dom.js";
import { money, number } from "../lib/format.js";
import { locale, t } from "../lib/text.js";
import { requestWhileVisible } from "../lib/visible.js";
import { problemText } from "../parts/notice.js";
import { short } from "./listing.js";

/** The most rows on the page. */
const MOST = 200;
/** Pauses (ms) after the stream ended or was refused; the first is short, since a renewed login ends the stream too. */
const PAUSES = [500, 2000, 5000, 15_000];
const NOUNS = ["reservation", "payment", "refund", "showtime", "movie", "user"];

/** The section with the events; the stream is open while the tab is visible, until `signal` aborts. */
export function liveEvents(signal) {
  const tape = new Tape();
  requestWhileVisible((visible) => listen(tape, visible), signal);
  return tape.node;
}

async function listen(tape, signal) {
  for (let failed = 0; !signal.aborted; failed++) {
    try {
      for await (const { name, data } of events("/v1/admin/events", signal)) {
        failed = 0;
        tape.state("live", t("staff.events.live"));
        if (name === "missed") tape.missed(data.events);
        else tape.add(data);
      }
      tape.state("away", t("staff.events.away"));
    } catch (problem) {
      if (signal.aborted) return;
      tape.state("away", problem instanceof Problem && problem.status ? problemText(problem) : t("staff.events.away"));
    }
    await new Promise((done) => setTimeout(done, PAUSES[Math.min(failed, PAUSES.length - 1)]));
  }
}

class Tape {
  constructor() {
    Object.assign(this, { ids: new Set(), all: [], held: [], paused: false, due: false });
    this.mark = h("p", { class: "live", role: "status", dataset: { state: "away" } }, t("staff.events.opening"));
    this.pause = h("button", { class: "button small", type: "button", "aria-pressed": "false", on: { click: () => this.hold(!this.paused) } }, t("staff.events.pause"));
    this.noun = h("select", { class: "input", id: "events-noun", on: { change: () => this.draw() } }, h("option", { value: "" }, t("staff.all")), NOUNS.map((noun) => h("option", { value: noun }, t(`staff.events.noun.${noun}`))));
    this.word = h("input", { class: "input", id: "events-word", type: "search", autocomplete: "off", spellcheck: "false", on: { input: () => this.draw() } });
    this.list = h("ol", { class: "events", tabindex: "0", role: "list", "aria-label": t("staff.events.title") });
    this.none = h("p", { class: "soft events-none" }, t("staff.events.none"));
    this.node = h("section", { class: "stack" },
      h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h2", {}, t("staff.events.title")), this.mark), this.pause),
      h("div", { class: "two" }, h("div", { class: "field" }, h("label", { for: "events-noun" }, t("staff.events.kind")), this.noun), h("div", { class: "field" }, h("label", { for: "events-word" }, t("staff.events.word")), this.word)),
      h("div", { class: "events-box" }, this.list, this.none));
  }

  state(is, text) {
    if (this.mark.textContent === text) return;
    this.mark.dataset.state = is;
    this.mark.textContent = text;
  }

  add(event) {
    if (event.id && this.ids.has(event.id)) return;
    this.ids.add(event.id);
    (this.paused ? this.held : this.all).unshift(event);
    this.scheduleDraw();
  }

  missed(events) {
    (this.paused ? this.held : this.all).unshift({ missed: events });
    this.scheduleDraw();
  }

  /** Draws within 100 ms, so that many events are drawn at once. */
  scheduleDraw() {
    if (this.due) return;
    this.due = true;
    setTimeout(() => {
      this.due = false;
      this.held.length = Math.min(this.held.length, MOST);
      if (this.paused) this.label();
      else this.draw();
    }, 100);
  }

  hold(paused) {
    this.paused = paused;
    if (!paused) {
      this.all.unshift(...this.held);
      this.held = [];
      this.draw();
    }
    this.pause.setAttribute("aria-pressed", String(paused));
    this.label();
  }

  label() {
    const n = this.held.length;
    this.pause.textContent = this.paused ? t("staff.events.go-on", { n, count: n === MOST ? `${number(n)}+` : number(n) }) : t("staff.events.pause");
  }

  draw() {
    this.all.length = Math.min(this.all.length, MOST);
    const word = this.word.value.trim().toLowerCase();
    const wanted = this.all.filter((event) => event.missed || ((!this.noun.value || event.subject.startsWith(`${this.noun.value}.`)) && (!word || text(event).includes(word))));
    // Existing rows are kept as they are: opened, or with the focus inside.
    for (const event of wanted) event.row ??= row(event);
    const rows = wanted.map((event) => event.row);
    for (const old of [...this.list.children]) if (!rows.includes(old)) old.remove();
    rows.forEach((row, at) => this.list.children[at] !== row && this.list.insertBefore(row, this.list.children[at] ?? null));
    this.none.hidden = rows.length > 0;
  }
}

/** The text that the filter searches. */
const text = (event) => (event.text ??= `${event.subject} ${event.id} ${event.correlationId ?? ""} ${JSON.stringify(event.data)}`.toLowerCase());

function row(event) {
  if (event.missed) return h("li", { class: "event", dataset: { noun: "missed" } }, h("p", {}, t("staff.events.missed", { n: event.missed, count: number(event.missed) })));
  const at = new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 }).format(new Date(event.time));
  const inside = h("div", { class: "event-inside" });
  const fold = h("details", {}, h("summary", {}, h("time", { datetime: event.time }, at), h("b", {}, event.subject), h("span", {}, gist(event.data))), inside);
  // The details are created only when the row is opened.
  fold.addEventListener("toggle", () => fold.open && !inside.hasChildNodes() && replace(inside, details(event)));
  return h("li", { class: "event", dataset: { noun: event.subject.split(".")[0] } }, fold);
}

/** A summary of an event in one line. */
function gist(data) {
  if (typeof data !== "object" || data === null) return String(data);
  const seats = Array.isArray(data.seats) && data.seats.every((seat) => typeof seat === "string") ? data.seats.join(", ") : null;
  const parts = [data.movieTitle ?? data.title, seats, data.total?.currency && money(data.total), data.role, data.reason ?? data.code, data.email];
  return parts.filter(Boolean).join(" · ");
}

function details({ id, source, correlationId, data }) {
  const pair = (key, value) => value && [h("dt", {}, t(key)), h("dd", {}, h("code", {}, value))];
  return [
    data?.reservationId && h("p", {}, h("a", { href: `/staff/orders/${data.reservationId}` }, t("staff.events.order"), " ", data.code ? shownCode(data.code) : short(data.reservationId))),
    h("dl", { class: "pairs" }, pair("staff.letters.event", id), pair("staff.events.source", source), pair("staff.letters.request", correlationId)),
    h("pre", { class: "payload", tabindex: "0", role: "region", "aria-label": t("staff.letters.payload") }, JSON.stringify(data, null, 2)),
  ];
}
