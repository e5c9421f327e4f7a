// The door: a ticket is scanned or typed, and the page shows whether to admit its holder. The signature is verified here, also
// offline; with a connection the order is read too, so that a cancelled ticket is recognised.

import { Problem, all, get, isKnown } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { full, moment, number, time } from "../lib/format.js";
import { isStaff, restore, user } from "../lib/session.js";
import { extend, t } from "../lib/text.js";
import { admit, count, forget, keepShows, shows } from "../door/book.js";
import { NoCamera, watch } from "../door/camera.js";
import { stay } from "../door/offline.js";
import { Refusal, keys, learnKeys, verify } from "../door/verify.js";
import { notice, say } from "../parts/notice.js";
import { partsOf } from "../parts/seat.js";
import de from "../text/staff-de.js";
import en from "../text/staff-en.js";
import { dressed } from "./staff.js";

extend({ en, de });

/** The same code within this time (ms) is the same scan. */
const SAME_MS = 4000;
/** A ticket for a show that starts later than this (ms) is too early. */
const EARLY_MS = 2 * 3600 * 1000;
const HOUR = 3600 * 1000;
/** How long (ms) to wait for the server before the signature alone decides. */
const ONLINE_MS = 1500;

export default async function door({ signal }) {
  await Promise.all([restore(), dressed()]);
  // A device with a login may work while the server is away: keys and showtimes are public.
  if (!user() && !isKnown()) throw new Problem({ status: 401, code: "token-missing" });
  if (user() && !isStaff()) return { title: t("door.title"), node: h("div", { class: "stack" }, h("h1", { tabindex: "-1" }, t("door.title")), say("warn", t("staff.not-you"))) };
  const desk = new Desk(signal);
  // With stored keys the page can start; newer keys are loaded in the background.
  const learnt = desk.learn();
  if (!keys().length) await learnt;
  return { title: t("door.title"), node: desk.node, there: () => desk.there() };
}

/** Row and number, as they are written on the seat. */
function seat(id) {
  const { row, number: onSeat } = partsOf(id);
  const fact = (name, key, text) => h("p", { class: name }, h("small", {}, t(key)), h("b", {}, text));
  return [fact("door-row", "door.row", row), fact("door-seat", "door.seat", onSeat)];
}

class Desk {
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
      if (text) this.take(text);
      this.code.value = "";
    });
    this.node = h("div", { class: "door" }, h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, t("door.title")), this.state), h("div", { class: "field" }, h("label", { for: "door-show" }, t("door.which")), this.choice)), this.answer, h("div", { class: "door-in" }, this.camera, h("div", { class: "stack" }, typed, this.tally, h("p", { class: "soft" }, t("door.about")))));
    this.wait();
  }

  async learn() {
    const from = new Date(now() - 6 * HOUR).toISOString();
    const to = new Date(now() + 18 * HOUR).toISOString();
    const [known, found] = await Promise.all([learnKeys(), all("/v1/showtimes", { from, to }).catch(() => null)]);
    if (found) keepShows(found);
    this.online(known);
    const options = Object.entries(shows()).filter(([, one]) => one.status === "ON_SALE").sort((a, b) => a[1].startsAt.localeCompare(b[1].startsAt));
    replace(this.choice, h("option", { value: "" }, t("door.every")), options.map(([id, one]) => h("option", { value: id, selected: id === this.show }, `${time(one.startsAt, one.timeZone)} ${one.auditoriumName} · ${one.movieTitle}`)));
    this.count();
  }

  there() {
    this.begin();
    // By now the page has fetched all of its files, so that all of them are stored for offline use.
    if (user()) stay();
    // A barcode scanner types into the field, and so do people without a camera.
    if (matchMedia("(pointer: fine)").matches) this.code.focus({ preventScroll: true });
    addEventListener("online", () => this.learn(), { signal: this.signal });
    addEventListener("offline", () => this.online(false), { signal: this.signal });
  }

  begin() {
    const start = async () => {
      replace(this.camera, this.video, h("p", { class: "soft" }, t("door.hold")));
      try {
        await watch(this.video, (text) => this.seen(text), this.signal);
      } catch (error) {
        if (!(error instanceof NoCamera)) console.error(error);
        replace(this.camera, say("warn", t(`door.camera-${error.code ?? "none"}`)));
      }
    };
    replace(this.camera, h("button", { class: "button main wide", type: "button", on: { click: start } }, t("door.start")));
  }

  online(is) {
    this.state.dataset.state = is ? "live" : "away";
    this.state.textContent = t(is ? "door.online" : "door.offline");
  }

  choose(show) {
    this.show = show;
    this.count();
    this.wait();
  }

  count() {
    this.tally.textContent = t("door.count", { n: count(this.show), count: number(count(this.show)) });
  }

  wait() {
    this.answer.dataset.kind = "wait";
    replace(this.answer, h("p", { class: "door-word" }, t("door.ready")));
  }

  seen(text) {
    const at = performance.now();
    const isSame = this.last.text === text && at - this.last.at < SAME_MS;
    this.last = { text, at };
    if (!isSame) this.take(text);
  }

  async take(text) {
    try {
      const claims = await verify(text);
      await this.know(claims.show);
      const refused = this.elsewhere(claims) ?? (await this.ended(claims));
      if (refused) return this.tell("warn", refused.code, claims, refused);
      const first = admit(claims);
      this.count();
      if (first) this.tell("again", "again", claims, { first });
      else this.tell("good", "in", claims);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      this.tell("bad", error instanceof Refusal ? error.code : "unreadable");
    }
  }

  /** Loads a showtime that is not among the stored ones, to show what the ticket is for. */
  async know(id) {
    if (shows()[id] || !navigator.onLine) return;
    const found = await get(`/v1/showtimes/${id}`, {}, { signal: AbortSignal.timeout(ONLINE_MS) }).catch(() => null);
    if (found) this.other = found;
  }

  /** Why a valid ticket is not for this show or this time, or null. */
  elsewhere(claims) {
    const show = shows()[claims.show];
    if (this.show && this.show !== claims.show) return { code: "other-show" };
    if (show && new Date(show.startsAt) - now() > EARLY_MS && !this.show) return { code: "early" };
    // A show that is not among those of these hours is on another day.
    if (!show && Object.keys(shows()).length) return { code: "other-day" };
    return null;
  }

  /** Why the order does not admit any more (cancelled, exchanged), or null. Needs a connection. */
  async ended(claims) {
    if (!user() || !navigator.onLine) return null;
    try {
      const order = await get(`/v1/reservations/${claims.sub}`, {}, { signal: AbortSignal.timeout(ONLINE_MS) });
      this.online(true);
      if (order.status !== "CONFIRMED") return { code: "cancelled" };
      if (order.showtimeId !== claims.show || !order.seats.includes(claims.seat)) return { code: "exchanged" };
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 404) return { code: "cancelled" };
      // No answer in time: the signature decides, and the page shows that it is offline.
      this.online(false);
    }
    return null;
  }

  tell(kind, code, claims, { first } = {}) {
    const show = claims && (shows()[claims.show] ?? (this.other?.id === claims.show ? this.other : null));
    const zone = show?.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    const word = t(`door.${{ good: "yes", again: "maybe", warn: "maybe", bad: "no" }[kind]}.${code}`, { at: first ? time(first, zone) : "" });
    this.answer.dataset.kind = kind;
    const back = kind === "good" && h("button", { class: "button small", type: "button", on: { click: () => {
      forget(claims);
      this.count();
      this.wait();
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
