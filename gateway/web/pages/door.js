// The door: a ticket is scanned or typed, and the page shows whether to admit its holder. The signature is verified here, also
// offline; with a connection the order is read too, so that a cancelled ticket is recognised.

import { Problem, all, get, hasLogin } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { full, moment, number, time } from "../lib/format.js";
import { isStaff, restore, user } from "../lib/session.js";
import { extend, t } from "../lib/text.js";
import { admit, count, removeAdmission, storeShows, shows } from "../door/book.js";
import { NoCamera, watch } from "../door/camera.js";
import { storeOffline } from "../door/offline.js";
import { Refusal, keys, fetchKeys, verify } from "../door/verify.js";
import { notice, message } from "../parts/notice.js";
import { partsOf } from "../parts/seat.js";
import de from "../text/staff-de.js";
import en from "../text/staff-en.js";
import { loadStyles } from "./staff.js";

extend({ en, de });

/** The same code within this time (ms) is the same scan. */
const SAME_MS = 4000;
/** A ticket for a show that starts later than this (ms) is too early. */
const EARLY_MS = 2 * 3600 * 1000;
const HOUR = 3600 * 1000;
/** How long (ms) to wait for the server before the signature alone decides. */
const ONLINE_MS = 1500;

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
    Object.assign(this, { signal, last: { text: "", at: -SAME_MS }, show: "" });
    this.answer = h("section", { class: "door-answer", "aria-live": "assertive", "aria-atomic": "true", tabindex: "-1" });
    this.state = h("p", { class: "live", role: "status" });
    this.tally = h("p", { class: "soft" });
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
    this.node = h("div", { class: "door" }, h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("door.title")), this.state), h("div", { class: "field" }, h("label", { for: "door-show" }, t("door.which")), this.choice)), this.answer, h("div", { class: "door-in" }, this.camera, h("div", { class: "stack" }, typed, this.tally, h("p", { class: "soft" }, t("door.about")))));
    this.showReady();
  }

  async load() {
    const from = new Date(now() - 6 * HOUR).toISOString();
    const to = new Date(now() + 18 * HOUR).toISOString();
    const [hasKeys, found] = await Promise.all([fetchKeys(), all("/v1/showtimes", { from, to }).catch(() => null)]);
    if (found) storeShows(found);
    this.showConnection(hasKeys);
    const options = Object.entries(shows()).filter(([, show]) => show.status === "ON_SALE").sort((a, b) => a[1].startsAt.localeCompare(b[1].startsAt));
    replace(this.choice, h("option", { value: "" }, t("door.every")), options.map(([id, show]) => h("option", { value: id, selected: id === this.show }, `${time(show.startsAt, show.timeZone)} ${show.auditoriumName} · ${show.movieTitle}`)));
    this.count();
  }

  onShow() {
    this.begin();
    // By now the page has fetched all of its files, so that all of them are stored for offline use.
    if (user()) storeOffline();
    // A barcode scanner types into the field, and so do people without a camera.
    if (matchMedia("(pointer: fine)").matches) this.code.focus({ preventScroll: true });
    addEventListener("online", () => this.load(), { signal: this.signal });
    addEventListener("offline", () => this.showConnection(false), { signal: this.signal });
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
    this.show = show;
    this.count();
    this.showReady();
  }

  count() {
    this.tally.textContent = t("door.count", { n: count(this.show), count: number(count(this.show)) });
  }

  showReady() {
    this.answer.dataset.kind = "wait";
    replace(this.answer, h("p", { class: "door-word" }, t("door.ready")));
  }

  scanned(text) {
    const at = performance.now();
    const isSame = this.last.text === text && at - this.last.at < SAME_MS;
    this.last = { text, at };
    if (!isSame) this.check(text);
  }

  async check(text) {
    try {
      const claims = await verify(text);
      await this.loadShow(claims.show);
      const refused = this.wrongShow(claims) ?? (await this.orderRefusal(claims));
      if (refused) return this.showResult("warn", refused.code, claims, refused);
      const first = admit(claims);
      this.count();
      if (first) this.showResult("again", "again", claims, { first });
      else this.showResult("good", "in", claims);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      this.showResult("bad", error instanceof Refusal ? error.code : "unreadable");
    }
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

  /** Why the order does not admit any more (cancelled, exchanged), or null. Needs a connection. */
  async orderRefusal(claims) {
    if (!user() || !navigator.onLine) return null;
    try {
      const order = await get(`/v1/reservations/${claims.sub}`, {}, { signal: AbortSignal.timeout(ONLINE_MS) });
      this.showConnection(true);
      if (order.status !== "CONFIRMED") return { code: "cancelled" };
      if (order.showtimeId !== claims.show || !order.seats.includes(claims.seat)) return { code: "exchanged" };
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 404) return { code: "cancelled" };
      // No answer in time: the signature decides, and the page shows that it is offline.
      this.showConnection(false);
    }
    return null;
  }

  showResult(kind, code, claims, { first } = {}) {
    const show = claims && (shows()[claims.show] ?? (this.other?.id === claims.show ? this.other : null));
    const zone = show?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    const word = t(`door.${{ good: "yes", again: "maybe", warn: "maybe", bad: "no" }[kind]}.${code}`, { at: first ? time(first, zone) : "" });
    this.answer.dataset.kind = kind;
    const back = kind === "good" && h("button", { class: "button small", type: "button", on: { click: () => {
      removeAdmission(claims);
      this.count();
      this.showReady();
      notice(t("door.undone", { seat: claims.seat }));
    } } }, t("door.undo"));
    replace(
      this.answer,
      h("p", { class: "door-word" }, h("span", { "aria-hidden": "true" }, { good: "✓", again: "!", warn: "!", bad: "✕" }[kind]), " ", word),
      claims && h("div", { class: "door-facts" }, seat(claims.seat), h("p", { class: "door-screen" }, h("small", {}, t("staff.hall")), h("b", {}, show?.auditoriumName ?? "?"))),
      show && h("p", { class: "door-film" }, `${show.movieTitle} · ${moment(show.startsAt, zone)}`),
      first && h("p", {}, t("door.first", { at: full(first, zone) })),
      back && h("p", {}, back),
    );
    // Browsers allow vibration only after a user interaction.
    if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(kind === "good" ? 80 : [120, 80, 120]);
  }
}
