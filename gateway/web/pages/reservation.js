// One order, from held seats to tickets or a refund. The page follows changes by `?wait=`, and always shows the state and the
// next step in words.

import { get, post } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { h, replace } from "../lib/dom.js";
import { full, list, money, moment } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { go, note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { countdown } from "../parts/countdown.js";
import { ask } from "../parts/dialog.js";
import { ics, save } from "../parts/ics.js";
import { leaving } from "../parts/leaving.js";
import { notice, message, waiting, problemText } from "../parts/notice.js";
import { poster } from "../parts/poster.js";
import { storeChoice } from "./seats.js";

/** Seconds that one request waits for a change. */
const WAIT_SECONDS = 20;
/** Pause (ms) after a failed request. */
const PAUSE_MS = 3000;
/** How long (ms) the page shows that a payment is being confirmed. Usually that takes a second. */
const CONFIRMING_MS = 30_000;

export default async function reservation({ params, query, signal }) {
  const order = await get(`/v1/reservations/${params.id}`, {}, { signal });
  const [showtime, movie] = await Promise.all([
    get(`/v1/showtimes/${order.showtimeId}`, {}, { signal }),
    // The movie of an order may have been deleted.
    get(`/v1/movies/${order.movieId}`, {}, { signal }).catch(() => ({ title: order.movieTitle, genres: [] })),
  ]);
  const page = new Order(order, showtime, movie, query.session_id !== undefined, signal);
  if (query.session_id !== undefined) note({});
  return { title: t("order.title", { title: order.movieTitle }), node: page.node, onShow: () => page.follow(), leave: () => page.leave() };
}

class Order {
  constructor(order, showtime, movie, paid, signal) {
    Object.assign(this, { order, showtime, signal, paid: paid && performance.now() });
    this.state = h("div", { class: "stack", "aria-live": "polite" });
    this.title = h("h1", { tabindex: "-1" });
    this.details = h("dl", { class: "pairs" });
    this.node = h(
      "article",
      { class: "order" },
      h("div", { class: "order-poster" }, poster(movie, { small: true, eager: true, silent: true })),
      h("div", { class: "stack" }, this.title, this.state, h("section", { class: "card" }, this.details)),
    );
    // Leaving the page releases the seats, unless a payment has begun.
    this.release = leaving(order, { signal, keep: () => this.going || this.order.status !== "PENDING" || Boolean(this.order.payment) });
    this.draw();
  }

  leave() {
    const given = this.release();
    if (given) given.then(() => notice(t("hold.given-back")));
  }

  /** Waits for changes, as long as the order can change. */
  async follow() {
    while (!this.signal.aborted && this.isMoving()) {
      try {
        const order = await get(`/v1/reservations/${this.order.id}`, { wait: WAIT_SECONDS, since: this.order.version }, { signal: this.signal });
        if (order.version > this.order.version) {
          this.order = order;
          this.draw();
        }
      } catch (problem) {
        if (problem.name === "AbortError") return;
        await new Promise((done) => setTimeout(done, PAUSE_MS));
      }
    }
  }

  isMoving() {
    const { status, refund, exchangingTo } = this.order;
    return status === "PENDING" || Boolean(exchangingTo) || (status === "CANCELLED" && refund?.status === "REQUESTED") || status === "CONFIRMED";
  }

  draw() {
    this.clock?.abort();
    this.clock = new AbortController();
    const state = { PENDING: () => this.pending(), CONFIRMED: () => this.confirmed(), CANCELLED: () => this.cancelled(), REFUNDED: () => this.cancelled() };
    const [title, ...content] = state[this.order.status]();
    this.title.textContent = title;
    replace(this.state, this.order.attention && message("warn", t("order.attention")), content);
    this.drawDetails();
  }

  drawDetails() {
    const { order, showtime } = this;
    const pairs = [
      ["film", order.movieTitle],
      ["when", full(order.startsAt, showtime.timeZone)],
      ["hall", showtime.auditoriumName],
      ["seats", list(order.seats)],
      ["total", price(order.total)],
      ["number", order.id.slice(-8).toUpperCase()],
    ];
    replace(this.details, pairs.map(([key, value]) => [h("dt", {}, t(`order.${key}`)), h("dd", {}, value)]));
  }

  button(text, look, work) {
    const button = h("button", { class: `button ${look}`, type: "button" }, text);
    button.addEventListener("click", async () => {
      if (button.getAttribute("aria-busy")) return;
      button.setAttribute("aria-busy", "true");
      try {
        await work();
      } catch (problem) {
        this.showProblem(problem);
      } finally {
        button.removeAttribute("aria-busy");
      }
    });
    return button;
  }

  showProblem(problem) {
    if (this.signal.aborted) return;
    this.trouble?.remove();
    this.trouble = message("bad", problemText(problem));
    this.state.prepend(this.trouble);
  }

  // States: held, not yet paid

  pending() {
    const { order } = this;
    const free = isFree(order.total);
    // At zero the server decides whether the hold has ended.
    const left = countdown(order.expiresAt, { signal: AbortSignal.any([this.signal, this.clock.signal]), over: () => this.overdue(), words: free ? "hold.left-free" : "hold.left" });
    const kept = h("p", { class: "held" }, left, h("span", {}, t(free ? "hold.kept-free" : "hold.kept", { n: order.seats.length, seats: list(order.seats) })));
    const back = this.button(t("hold.give-back"), "bare", () => this.cancelHold());
    if (this.paid && performance.now() - this.paid < CONFIRMING_MS) {
      setTimeout(() => !this.signal.aborted && this.order.status === "PENDING" && this.draw(), CONFIRMING_MS - (performance.now() - this.paid) + 50);
      return [t("pay.confirming"), free ? waiting(t("pay.free-confirming")) : waiting(t("pay.confirming-words"), t("pay.confirming-detail"))];
    }
    if (free) return [t("hold.title"), kept, h("div", { class: "row" }, this.button(t("pay.free-action"), "main", () => this.pay()), back), h("p", { class: "soft" }, t("pay.free-how"))];
    const begun = Boolean(order.payment);
    const why = h("div", {});
    if (begun) this.explain(why);
    const label = t(begun ? "pay.again" : "pay.action", { total: money(order.total) });
    return [t("hold.title"), kept, why, h("div", { class: "row" }, this.button(label, "main", () => this.pay()), back), h("p", { class: "soft" }, t(begun ? "pay.still-held" : "pay.how"))];
  }

  /** Shows why the last attempt to pay did not succeed, if the provider gave a reason. */
  async explain(place) {
    const payment = await get(`/v1/payments/${this.order.payment.id}`, {}, { signal: this.signal }).catch(() => null);
    const last = payment?.attempts.findLast((attempt) => attempt.code);
    if (!payment) return;
    if (last) replace(place, message("bad", t("pay.declined"), h("p", {}, reason(last.code))));
    else replace(place, message("warn", t("pay.not-finished")));
  }

  async pay() {
    const { order } = this;
    this.going = true;
    replace(this.state, isFree(order.total) ? waiting(t("pay.free-confirming")) : waiting(t("pay.going"), t("pay.going-detail")));
    try {
      const payment = await post("/v1/payments", { reservationId: order.id }, { key: crypto.randomUUID() });
      if (!payment.checkoutUrl) {
        this.paid = performance.now();
        return this.draw();
      }
      location.assign(payment.checkoutUrl);
    } catch (problem) {
      this.going = false;
      this.order = await get(`/v1/reservations/${order.id}`).catch(() => this.order);
      this.draw();
      throw problem;
    }
  }

  async cancelHold() {
    this.order = await post(`/v1/reservations/${this.order.id}/cancel`);
    notice(t("hold.given-back"));
    go(`/showtimes/${this.order.showtimeId}`);
  }

  overdue() {
    if (this.order.status !== "PENDING" || this.going) return;
    this.title.textContent = t(isFree(this.order.total) ? "hold.over-free" : "hold.over");
    replace(this.state, waiting(t("hold.ending"), t("hold.ending-detail")));
  }

  // States: paid

  confirmed() {
    const { order, showtime } = this;
    const isOver = isPast(showtime.endsAt);
    const title = isOver ? t("order.past") : t("order.confirmed");
    const buttons = [
      this.button(t("tickets.show"), "main", async () => (await import("../parts/tickets.js")).showTickets(order, showtime)),
      this.button(t("tickets.calendar"), "", () => this.calendar()),
    ];
    const partial = order.partialRefunds?.map((refund) => h("p", {}, t(`refund.${refund.status}`, { total: money(refund.total) })));
    if (isOver) return [title, partial];
    const { cancellation } = order;
    return [
      title,
      h("p", { class: "synopsis" }, t(isFree(order.total) ? "order.enjoy-free" : "order.enjoy", { n: order.seats.length })),
      partial,
      order.exchangingTo && message("warn", t("order.exchanging"), h("a", { href: `/reservations/${order.exchangingTo}` }, t("order.to-new"))),
      h("div", { class: "row" }, buttons),
      cancellation && h("div", { class: "row" }, !order.exchangingTo && this.exchanges(), this.button(t("order.cancel"), "bare", () => this.cancel())),
    ];
  }

  exchanges() {
    const { id, showtimeId, movieId } = this.order;
    return [
      h("a", { class: "button bare", href: `/showtimes/${showtimeId}?exchange=${id}` }, t("order.exchange")),
      h("a", { class: "button bare", href: `/movies/${movieId}?exchange=${id}` }, t("order.other-time")),
    ];
  }

  calendar({ isOff = false } = {}) {
    const { order, showtime } = this;
    const about = t("tickets.calendar-text", { seats: list(order.seats) });
    const entry = { id: order.id, title: order.movieTitle, place: showtime.auditoriumName, startsAt: showtime.startsAt, endsAt: showtime.endsAt, about, url: location.href, sequence: order.version, isOff };
    save(ics(entry), `${order.movieTitle.replace(/[^\p{L}\p{N}]+/gu, "-")}.ics`);
  }

  /** Shows the refund before cancelling; if it has changed meanwhile, shows the new one and asks again. */
  async cancel() {
    this.order = await get(`/v1/reservations/${this.order.id}`);
    const { cancellation } = this.order;
    if (!cancellation) return this.draw();
    const isSome = cancellation.refund.amount > 0;
    const zone = this.showtime.timeZone;
    const [nothing, without] = isFree(this.order.total) ? ["cancel.free", "order.cancel"] : ["cancel.nothing", "cancel.yes-nothing"];
    const content = h("div", { class: "stack" },
      h("p", {}, t("cancel.seats", { seats: list(this.order.seats) })),
      message(isSome ? "good" : "warn", isSome ? t("cancel.refund", { total: money(cancellation.refund) }) : t(nothing), isSome && h("p", {}, t("cancel.until", { until: moment(cancellation.until, zone) }))));
    const answer = await ask(t("cancel.title"), content, [["no", t("cancel.no")], ["yes", isSome ? t("cancel.yes", { total: money(cancellation.refund) }) : t(without), "grave"]]);
    if (answer !== "yes") return;
    const cancelled = await this.cancelAsShown(cancellation.refund);
    if (!cancelled) return this.cancel();
    this.order = cancelled;
    this.draw();
    this.title.focus();
  }

  /** Cancels only if the refund is still the one that was shown; otherwise returns null. */
  async cancelAsShown(refund) {
    let { version } = this.order;
    for (;;) {
      try {
        return await post(`/v1/reservations/${this.order.id}/cancel`, { version }, { key: crypto.randomUUID() });
      } catch (problem) {
        if (problem.code !== "plan-changed" || !problem.plan) throw problem;
        if (problem.plan.refund.amount !== refund.amount) {
          notice(problemText(problem));
          return null;
        }
        // Another version with the same refund, for example after an earlier refund has been completed.
        ({ version } = problem.plan);
      }
    }
  }

  // States: cancelled or refunded

  cancelled() {
    const { order } = this;
    const { reason } = order;
    const free = isFree(order.total);
    // A free order has no refund, even in the state REFUNDED.
    const refund = order.refund && !isFree(order.refund.total) && order.refund;
    const over = reason === "HOLD_EXPIRED" && (free ? "hold.over-free" : "hold.over");
    const title = t(refund ? "order.cancelled-paid" : over || "order.cancelled");
    const back = refund && this.refunded(refund);
    const why = message(reason === "SHOWTIME_CANCELLED" ? "warn" : "", t(free && over ? "order.not-taken" : `order.reason.${reason ?? "USER_REQUEST"}`));
    const isFuture = !isPast(order.startsAt) && this.showtime.status === "ON_SALE";
    const again = isFuture && reason !== "EXCHANGED" && this.button(t("hold.again", { seats: list(order.seats) }), "main", () => this.again());
    const others = isFuture && h("a", { class: "button", href: `/showtimes/${order.showtimeId}` }, t("hold.others"));
    // A paid order had tickets, and perhaps an entry in a calendar.
    const wasPaid = ["SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"].includes(order.payment?.status);
    const off = wasPaid && !isPast(order.startsAt) && this.button(t("tickets.calendar-off"), "", async () => this.calendar({ isOff: true }));
    return [title, why, back, h("div", { class: "row" }, again, others, off, h("a", { class: "button bare", href: "/" }, t("lost.home")))];
  }

  refunded(refund) {
    return message(refund.status === "COMPLETED" ? "good" : refund.status === "FAILED" ? "bad" : "warn", t(`refund.${refund.status}`, { total: money(refund.total) }), h("p", {}, t(`refund.about-${refund.status}`)));
  }

  /** Orders the same seats again; if some are taken, goes to the seat map, which offers seats nearby. */
  async again() {
    const { showtimeId, seats } = this.order;
    try {
      const made = await post("/v1/reservations", { showtimeId, seats }, { key: crypto.randomUUID() });
      storeChoice(showtimeId, seats);
      go(`/reservations/${made.id}`);
    } catch (problem) {
      if (problem.code !== "seats-taken") throw problem;
      storeChoice(showtimeId, seats);
      go(`/showtimes/${showtimeId}`);
    }
  }
}

/** The text for a decline code. */
function reason(code) {
  const codes = ["insufficient_funds", "expired_card", "incorrect_cvc", "card_declined", "generic_decline"];
  return t(`pay.code.${codes.includes(code) ? code : "other"}`, { code });
}
