// The door: a ticket is scanned, or an order's code typed, and the page shows whether to admit. The signature is verified here,
// also offline; with a connection the order is read too, so that a cancelled ticket is recognised. An answer that was given
// without the server is marked as such. Each answer ends after some seconds, so that none is taken for that to the next ticket.

import { Problem, all, get, hasLogin } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { readCode } from "../lib/code.js";
import { h, replace } from "../lib/dom.js";
import { full, moment, number, time } from "../lib/format.js";
import { isStaff, restore, user } from "../lib/session.js";
import { t } from "../lib/text.js";
import { admit, count, removeAdmission, storeShows, storeTypes, shows } from "../door/book.js";
import { NoCamera, watch } from "../door/camera.js";
import { findOrder, orderSeats } from "../door/order.js";
import { readings } from "../door/scanner.js";
import { play } from "../door/sound.js";
import { typeOf } from "../door/type.js";
import { Refusal, keys, fetchKeys, verify } from "../door/verify.js";
import { storeOffline } from "../offline/files.js";
import { notice, message } from "../parts/notice.js";
import { partsOf } from "../parts/seat.js";
import { loadStyles } from "./staff.js";

/** The same code within this time (ms) is the same scan. */
const SAME_MS = 4000;
/** A ticket for a show that starts later than this (ms) is too early. */
const EARLY_MS = 2 * 3600 * 1000;
const HOUR = 3600 * 1000;
/** How long (ms) to wait for the server before the signature alone decides. */
const ONLINE_MS = 1500;
/** How long (ms) to wait for an order whose code was typed. */
const ORDER_MS = 8000;
/** The part of the texts for each kind of answer. */
const WORDS = { good: "yes", unsure: "yes", again: "maybe", warn: "maybe", bad: "no" };
/** How long (ms) an answer is shown, and between two steps of its bar. */
const ANSWER_MS = 5000;
const BAR_MS = 100;
/** How often (ms) the number of sold seats is read again. */
const SOLD_MS = 60_000;
/** Of several refusals of one text, read by several layouts of a keyboard, the one that says most. */
const SAYS_MOST = ["old", "forged", "unknown-key", "no-keys", "other", "unreadable"];

export default async function door({ signal }) {
  await Promise.all([restore(), loadStyles()]);
  // A device with a login may work while the server is away: keys and showtimes are public.
  if (!user() && !hasLogin()) throw new Problem({ status: 401, code: "token-missing" });
  if (user() && !isStaff()) return { title: t("door.title"), node: h("div", { class: "stack" }, h("h1", { tabindex: "-1" }, t("door.title")), message("warn", t("staff.not-you"))) };
  const page = new DoorPage(signal);
  // With stored keys the page can start; newer keys are loaded in the background.
  const loaded = page.load();
  if (!keys().length) await loaded;
  return { title: t("door.title"), node: page.node, onShow: () => page.onShow() };
}

/** Row and number, as they are written on the seat. */
function seat(id) {
  const { row, number: onSeat } = partsOf(id);
  const fact = (name, key, text) => h("p", { class: name }, h("small", {}, t(key)), h("b", {}, text));
  return [fact("door-row", "door.row", row), fact("door-seat", "door.seat", onSeat)];
}

class DoorPage {
  constructor(signal) {
    Object.assign(this, { signal, last: { text: "", at: -SAME_MS }, show: "", sold: null, number: 0 });
    this.answer = h("section", { class: "door-answer", "aria-live": "assertive", "aria-atomic": "true", tabindex: "-1" });
    this.state = h("p", { class: "live", role: "status" });
    this.tally = h("p", { class: "door-tally" });
    this.undo = h("p", { class: "row soft" });
    this.video = h("video", { class: "door-video", muted: true, playsinline: true, "aria-label": t("door.camera") });
    this.camera = h("div", { class: "stack" });
    this.choice = h("select", { class: "input", id: "door-show", on: { change: () => this.choose(this.choice.value) } });
    this.code = h("input", { class: "input", id: "door-code", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": "door-code-hint" });
    const typed = h("form", { class: "door-typed" }, h("div", { class: "field" }, h("label", { for: "door-code" }, t("door.code")), this.code, h("span", { class: "hint", id: "door-code-hint" }, t("door.code-hint"))), h("button", { class: "button main", type: "submit" }, t("door.check")));
    typed.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.code.value.trim();
      if (text) this.check(text);
      this.code.value = "";
    });
    this.node = h("div", { class: "door" }, h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("door.title")), this.state), h("div", { class: "field" }, h("label", { for: "door-show" }, t("door.which")), this.choice)), this.answer, h("div", { class: "door-in" }, this.camera, h("div", { class: "stack" }, typed, this.tally, this.undo, h("p", { class: "soft" }, t("door.about")))));
    this.showReady();
  }

  async load() {
    const from = new Date(now() - 6 * HOUR).toISOString();
    const to = new Date(now() + 18 * HOUR).toISOString();
    const [hasKeys, found, types] = await Promise.all([fetchKeys(), all("/v1/showtimes", { from, to }).catch(() => null), all("/v1/ticket-types").catch(() => null)]);
    if (found) storeShows(found);
    if (types) storeTypes(types);
    this.showConnection(hasKeys);
    const options = Object.entries(shows()).filter(([, show]) => show.status === "ON_SALE").sort((a, b) => a[1].startsAt.localeCompare(b[1].startsAt));
    replace(this.choice, h("option", { value: "" }, t("door.every")), options.map(([id, show]) => h("option", { value: id, selected: id === this.show }, `${time(show.startsAt, show.timeZone)} ${show.auditoriumName} · ${show.movieTitle}`)));
    this.count();
  }

  onShow() {
    this.begin();
    // By now the page has fetched all of its files, so that all of them are stored for offline use.
    if (user()) storeOffline("door");
    // A barcode scanner types into the field, and so do people without a camera.
    if (matchMedia("(pointer: fine)").matches) this.code.focus({ preventScroll: true });
    addEventListener("online", () => this.load(), { signal: this.signal });
    addEventListener("offline", () => this.showConnection(false), { signal: this.signal });
    // A scanner types wherever the focus is.
    addEventListener("keydown", (event) => {
      const isLetter = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
      if (isLetter && !event.target.closest("input, select, textarea")) this.code.focus({ preventScroll: true });
    }, { signal: this.signal });
    const soldAgain = setInterval(() => this.loadSold(), SOLD_MS);
    this.signal.addEventListener("abort", () => {
      clearInterval(soldAgain);
      clearInterval(this.bar);
    });
  }

  begin() {
    const start = async () => {
      replace(this.camera, this.video, h("p", { class: "soft" }, t("door.hold")));
      try {
        await watch(this.video, (text) => this.scanned(text), this.signal);
      } catch (error) {
        if (!(error instanceof NoCamera)) console.error(error);
        replace(this.camera, message("warn", t(`door.camera-${error.code ?? "none"}`)));
      }
    };
    replace(this.camera, h("button", { class: "button main wide", type: "button", on: { click: start } }, t("door.start")));
  }

  showConnection(is) {
    this.state.dataset.state = is ? "live" : "away";
    this.state.textContent = t(is ? "door.online" : "door.offline");
  }

  choose(show) {
    Object.assign(this, { show, sold: null });
    this.count();
    this.showReady();
    this.loadSold();
  }

  /** Loads how many seats of the chosen show are sold. */
  async loadSold() {
    const { show } = this;
    if (!show || document.hidden) return;
    const map = await get(`/v1/showtimes/${show}/seats`, {}, { signal: this.signal }).catch(() => null);
    if (!map || show !== this.show) return;
    this.sold = map.seats.filter((one) => one.status === "SOLD").length;
    this.count();
  }

  count() {
    const n = count(this.show);
    const values = { n, count: number(n), sold: this.sold === null ? "" : number(this.sold) };
    this.tally.textContent = t(this.sold === null ? "door.count" : "door.count-of", values);
  }

  showReady() {
    clearInterval(this.bar);
    this.answer.dataset.kind = "wait";
    replace(this.answer, h("p", { class: "door-word" }, t("door.ready")));
  }

  /** Ends the answer after some seconds, which a shrinking bar shows. */
  endAnswer() {
    const bar = h("div", { class: "door-bar", "aria-hidden": "true" });
    this.answer.append(bar);
    clearInterval(this.bar);
    const began = performance.now();
    this.bar = setInterval(() => {
      const left = 1 - (performance.now() - began) / ANSWER_MS;
      if (left <= 0) return this.showReady();
      bar.style.setProperty("--left", left.toFixed(3));
    }, BAR_MS);
  }

  scanned(text) {
    const at = performance.now();
    const isSame = this.last.text === text && at - this.last.at < SAME_MS;
    this.last = { text, at };
    if (!isSame) this.check(text);
  }

  async check(text) {
    const code = readCode(text);
    if (code) return this.checkCode(code);
    this.number++;
    try {
      const claims = await this.verifyAny(text);
      await this.loadShow(claims.show);
      const order = this.wrongShow(claims) ?? (await this.orderAnswer(claims));
      if (order?.code) return this.showResult("warn", order.code, claims);
      const first = admit(claims);
      this.count();
      if (first) this.showResult("again", "again", claims, { first });
      else this.showResult(order.isKnown ? "good" : "unsure", order.isKnown ? "in" : "unsure", claims);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      this.showResult("bad", error instanceof Refusal ? error.code : "unreadable");
    }
  }

  /** The claims of a ticket that was scanned with any layout of the keyboard. */
  async verifyAny(text) {
    const refusals = [new Refusal("unreadable")];
    for (const reading of readings(text)) {
      try {
        return await verify(reading);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refusals.push(error);
      }
    }
    throw refusals.sort((a, b) => SAYS_MOST.indexOf(a.code) - SAYS_MOST.indexOf(b.code))[0];
  }

  /** Shows the seats of an order. The list stays until the next ticket, since several people may have to pass. */
  async checkCode(code) {
    const current = ++this.number;
    let order;
    try {
      order = await findOrder(code, AbortSignal.timeout(ORDER_MS));
    } catch (problem) {
      if (current === this.number) this.showResult("bad", problem instanceof Problem && problem.status ? "unreadable" : "code-offline");
      return;
    }
    if (current !== this.number) return;
    if (!order) return this.showResult("bad", "no-order");
    await this.loadShow(order.showtimeId);
    const show = this.showOf(order.showtimeId);
    const zone = show?.timeZone ?? this.zone();
    clearInterval(this.bar);
    this.answer.dataset.kind = "order";
    replace(this.answer, orderSeats(order, zone, (claims) => this.wrongShow(claims), (kind) => {
      this.count();
      this.signalKind(kind);
    }), show && h("p", { class: "door-film" }, `${show.movieTitle} · ${show.auditoriumName} · ${moment(show.startsAt, zone)}`), h("p", {}, h("button", { class: "button small", type: "button", on: { click: () => this.showReady() } }, t("door.done"))));
    this.answer.focus({ preventScroll: true });
  }

  /** Loads a showtime that is not among the stored ones, to show what the ticket is for. */
  async loadShow(id) {
    if (shows()[id] || !navigator.onLine) return;
    const found = await get(`/v1/showtimes/${id}`, {}, { signal: AbortSignal.timeout(ONLINE_MS) }).catch(() => null);
    if (found) this.other = found;
  }

  /** Why a valid ticket is not for this show or this time, or null. */
  wrongShow(claims) {
    const show = shows()[claims.show];
    if (this.show && this.show !== claims.show) return { code: "other-show" };
    if (show && new Date(show.startsAt) - now() > EARLY_MS && !this.show) return { code: "early" };
    // A show that is not among those of these hours is on another day.
    if (!show && Object.keys(shows()).length) return { code: "other-day" };
    return null;
  }

  /** What the server knows of the order: `code`, why it does not admit any more (cancelled, exchanged), or whether it answered (`isKnown`). */
  async orderAnswer(claims) {
    if (!user() || !navigator.onLine) return { isKnown: false };
    try {
      const order = await get(`/v1/reservations/${claims.sub}`, {}, { signal: AbortSignal.timeout(ONLINE_MS) });
      this.showConnection(true);
      if (order.status !== "CONFIRMED") return { code: "cancelled" };
      if (order.showtimeId !== claims.show || !order.seats.includes(claims.seat)) return { code: "exchanged" };
      return { isKnown: true };
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 404) return { code: "cancelled" };
      // No answer in time: the signature decides, and the page shows that it is offline.
      this.showConnection(false);
      return { isKnown: false };
    }
  }

  /** A showtime as far as it is known, or null. */
  showOf(id) {
    return shows()[id] ?? (this.other?.id === id ? this.other : null);
  }

  zone() {
    return Intl.DateTimeFormat().resolvedOptions().timeZone;
  }

  showResult(kind, code, claims, { first } = {}) {
    const show = claims && this.showOf(claims.show);
    const zone = show?.timeZone ?? this.zone();
    const word = t(`door.${WORDS[kind]}.${code}`, { at: first ? time(first, zone) : "" });
    this.answer.dataset.kind = kind;
    replace(
      this.answer,
      h("p", { class: "door-word" }, h("span", { "aria-hidden": "true" }, { good: "✓", unsure: "?", again: "!", warn: "!", bad: "✕" }[kind]), " ", word),
      kind === "unsure" && h("p", {}, t("door.unsure")),
      code === "code-offline" && h("p", {}, t("door.code-offline")),
      claims && h("div", { class: "door-facts" }, seat(claims.seat), h("p", { class: "door-screen" }, h("small", {}, t("staff.hall")), h("b", {}, show?.auditoriumName ?? "?"))),
      claims?.type && h("p", {}, typeOf(claims.type)),
      show && h("p", { class: "door-film" }, `${show.movieTitle} · ${moment(show.startsAt, zone)}`),
      first && h("p", {}, t("door.first", { at: full(first, zone) })),
    );
    replace(this.undo, ["good", "unsure"].includes(kind) && this.undoOf(claims));
    this.endAnswer();
    this.signalKind(kind);
  }

  /** Takes the last admission back; it stays after the answer has ended. */
  undoOf(claims) {
    const work = () => {
      removeAdmission(claims);
      this.count();
      this.showReady();
      replace(this.undo);
      notice(t("door.undone", { seat: claims.seat }));
    };
    return [h("span", {}, t("door.last", { seat: claims.seat })), h("button", { class: "button small", type: "button", on: { click: work } }, t("door.undo"))];
  }

  signalKind(kind) {
    play(kind);
    // Browsers allow vibration only after a user interaction.
    if (kind && navigator.userActivation?.hasBeenActive) navigator.vibrate?.(kind === "good" ? 80 : [120, 80, 120]);
  }
}
