// One order, from held seats to tickets or a refund. The page follows changes by `?wait=`, and always shows the state and the
// next step in words.

import { becomeGuest, get, hasLogin, newKey, post } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { shownCode } from "../lib/code.js";
import { h, replace } from "../lib/dom.js";
import { full, list, money } from "../lib/format.js";
import { groupBy } from "../lib/group.js";
import { giveBack, noteOrder, notePaying } from "../lib/holds.js";
import { guest } from "../lib/guest.js";
import { orderToken, shareOrderToken, takeOrderToken } from "../lib/order-token.js";
import { isFree, isOfTariff } from "../lib/price.js";
import { go, loginHere, note } from "../lib/router.js";
import { isStaff, restore, user } from "../lib/session.js";
import { site } from "../lib/site.js";
import { t } from "../lib/text.js";
import { requestWhileVisible } from "../lib/visible.js";
import { bill, namesOf, rows } from "../parts/bill.js";
import { storeChoice } from "../parts/choice.js";
import { countdown } from "../parts/countdown.js";
import { ask } from "../parts/dialog.js";
import { exchangeMoney } from "../parts/exchange.js";
import { cancelAsShown, giveTicketsBack, refundMessage } from "../parts/give-back.js";
import { customerForm, guestOrder } from "../parts/guest.js";
import { ics, save } from "../parts/ics.js";
import { keptOrder, orStored } from "../offline/orders.js";
import { keepTickets, storedOrder } from "../offline/page.js";
import { notice, message, waiting, problemText } from "../parts/notice.js";
import { poster } from "../parts/poster.js";
import { receipts } from "../parts/receipts.js";
import { filmBegins, showingText } from "../parts/showing.js";

/** Seconds that one request waits for a change. */
const WAIT_SECONDS = 20;
/** Pause (ms) after a failed request. */
const PAUSE_MS = 3000;
/** How long (ms) the page shows that a payment is being confirmed. Usually that takes a second. */
const CONFIRMING_MS = 30_000;

export default async function reservation(visit) {
  takeOrderToken(visit.params.id);
  const stored = await keptOrder(visit.params.id);
  return orStored(stored, () => load(visit), () => storedOrder(stored, visit.signal));
}

async function load({ params, query, signal }) {
  await restore();
  const order = await get(`/v1/reservations/${params.id}`, {}, { signal });
  const [showtime, movie, previous] = await Promise.all([
    get(`/v1/showtimes/${order.showtimeId}`, {}, { signal }),
    // The movie of an order may have been deleted.
    get(`/v1/movies/${order.movieId}`, {}, { signal }).catch(() => ({ title: order.movieTitle, genres: [] })),
    // The order whose seats this one replaces when it is paid.
    order.exchangeOf ? get(`/v1/reservations/${order.exchangeOf}`, {}, { signal }).catch(() => null) : null,
  ]);
  const page = new Order({ order, showtime, movie, previous }, query.session_id !== undefined, signal);
  if (query.session_id !== undefined) note({});
  return { title: t("order.title", { title: order.movieTitle }), node: page.node, onShow: () => requestWhileVisible((signal) => page.follow(signal), signal) };
}

class Order {
  constructor({ order, showtime, movie, previous }, paid, signal) {
    Object.assign(this, { order, showtime, previous, signal, paid: paid && performance.now() });
    this.state = h("div", { class: "stack", "aria-live": "polite" });
    this.title = h("h1", { tabindex: "-1" });
    this.details = h("dl", { class: "pairs" });
    this.node = h(
      "article",
      { class: "order" },
      h("div", { class: "order-poster" }, poster(movie, { small: true, eager: true, silent: true })),
      h("div", { class: "stack" }, this.title, this.state, h("section", { class: "card" }, this.details)),
    );
    signal.addEventListener("abort", () => this.clock.abort());
    this.draw();
    signal.addEventListener("abort", () => this.clock.abort());
  }

  /** Waits for changes, as long as the order can change and `signal` does not abort. */
  async follow(signal) {
    while (!signal.aborted && this.isMoving()) {
      try {
        const order = await get(`/v1/reservations/${this.order.id}`, { wait: WAIT_SECONDS, since: this.order.version }, { signal });
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
    noteOrder(this.order);
    shareOrderToken(this.order.id, this.order.exchangingTo);
    this.clock?.abort();
    this.clock = new AbortController();
    const state = { PENDING: () => this.pending(), CONFIRMED: () => this.confirmed(), CANCELLED: () => this.cancelled(), REFUNDED: () => this.cancelled() };
    const [title, ...content] = state[this.order.status]();
    this.title.textContent = title;
    replace(this.state, this.order.attention && message("warn", t("order.attention")), content);
    this.drawDetails();
    keepTickets(this.order, this.showtime, this.clock.signal);
  }

  drawDetails() {
    const { order, showtime } = this;
    const pairs = [
      ["film", order.movieTitle],
      ["when", full(order.startsAt, showtime.timeZone)],
      ["film-begins", filmBegins(showtime)],
      ["version", showingText(showtime)],
      ["hall", showtime.auditoriumName],
      ["seats", list(order.seats)],
    ];
    replace(this.details, rows([...pairs.filter(([, value]) => value).map(([key, value]) => [t(`order.${key}`), value]), ...bill(order), [t("order.number"), shownCode(order.code)]]));
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
    const due = order.due ?? order.total;
    const free = isFree(due);
    // At zero the server decides whether the hold has ended.
    const left = countdown(order.expiresAt, { signal: this.clock.signal, over: () => this.overdue(), words: free ? "hold.left-free" : "hold.left" });
    const kept = h("p", { class: "held" }, left, h("span", {}, t(free ? "hold.kept-free" : "hold.kept", { n: order.seats.length, seats: list(order.seats) })));
    if (!this.isMine()) return [t("hold.title"), kept, this.toLogin()];
    const back = this.button(t("hold.give-back"), "bare", () => this.cancelHold());
    if (this.paid && performance.now() - this.paid < CONFIRMING_MS) {
      setTimeout(() => !this.signal.aborted && this.order.status === "PENDING" && this.draw(), CONFIRMING_MS - (performance.now() - this.paid) + 50);
      return [t("pay.confirming"), free ? waiting(t("pay.free-confirming")) : waiting(t("pay.confirming-words"), t("pay.confirming-detail"))];
    }
    if (free) return [t("hold.title"), kept, this.exchange(), h("div", { class: "row" }, this.button(t("pay.free-action"), "main", () => this.pay()), back), h("p", { class: "soft" }, t("pay.free-how"))];
    if (!order.customer) return [t("hold.title"), kept, this.askCustomer(due), h("div", { class: "row" }, back)];
    const begun = Boolean(order.payment);
    const why = h("div", {});
    if (begun) this.explain(why);
    const label = t(begun ? "pay.again" : "pay.action", { total: money(due) });
    return [t("hold.title"), kept, why, this.exchange(), h("div", { class: "row" }, this.button(label, "main", () => this.pay()), back), h("p", { class: "soft" }, t(begun ? "pay.still-held" : "pay.how"))];
  }

  /** Asks a guest for the address of the order, and pays. The form is kept while the order is drawn again. */
  askCustomer(due) {
    const pay = async (order) => {
      this.order = order;
      await this.pay().catch((problem) => this.showProblem(problem));
    };
    this.customer ??= customerForm(this.order, due, pay, { failed: (problem) => this.showProblem(problem), signal: this.signal });
    return this.customer;
  }

  /** What an exchange costs, if this order is one. */
  exchange() {
    const { order, previous } = this;
    if (!order.exchangeOf) return null;
    const nothing = { ...order.total, amount: 0 };
    const plan = { total: order.total, payable: order.due ?? nothing, refund: nothing };
    return h("section", { class: "stack" }, h("h2", {}, t("exchange.order")), previous && exchangeMoney(plan, previous));
  }

  /** Shows why the last attempt to pay did not succeed, if the provider gave a reason. */
  async explain(place) {
    const payment = await get(`/v1/payments/${this.order.payment.id}`, {}, { signal: this.signal, order: this.order.id }).catch(() => null);
    const last = payment?.attempts.findLast((attempt) => attempt.code);
    if (!payment) return;
    if (last) replace(place, message("bad", t("pay.declined"), h("p", {}, reason(last.code))));
    else replace(place, message("warn", t("pay.not-finished")));
  }

  async pay() {
    const { order } = this;
    this.going = true;
    notePaying(order.id);
    replace(this.state, isFree(order.due ?? order.total) ? waiting(t("pay.free-confirming")) : waiting(t("pay.going"), t("pay.going-detail")));
    try {
      const payment = await post("/v1/payments", { reservationId: order.id }, { key: newKey(), order: order.id });
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
    this.going = true;
    await giveBack(this.order.id).finally(() => (this.going = false));
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
    if (isOver) return [title, partial, this.receipts()];
    const { cancellation } = order;
    return [
      title,
      h("p", { class: "synopsis" }, t(isFree(order.total) ? "order.enjoy-free" : "order.enjoy", { n: order.seats.length })),
      order.guest && !hasLogin() && guestOrder(order, this.isOwner(), { button: (...about) => this.button(...about), done: (changed) => this.changeTo(changed) }),
      partial,
      order.exchangingTo && message("warn", t("order.exchanging"), h("a", { href: `/reservations/${order.exchangingTo}` }, t("order.to-new"))),
      h("div", { class: "row" }, buttons),
      cancellation && !this.isMine() && this.toLogin(),
      cancellation && this.isMine() && h("div", { class: "row" }, !order.exchangingTo && [this.exchanges(), order.seats.length > 1 && this.button(t("order.give-back"), "bare small", () => this.giveBack())], this.button(t("order.cancel"), "bare small", () => this.cancel())),
      this.receipts(),
    ];
  }

  /** Whether the reader may pay, exchange and cancel the order: its owner, staff, and by a mail's link. */
  isMine() {
    return this.isOwner() || orderToken(this.order.id) !== null;
  }

  /** Whether the reader may also correct its address and the buyer on its receipts. */
  isOwner() {
    return isStaff() || (hasLogin() ? user()?.id : guest()?.userId) === this.order.userId;
  }

  toLogin() {
    return h("p", { class: "soft" }, h("a", { href: loginHere() }, t("order.log-in")));
  }

  exchanges() {
    const { id, showtimeId, movieId } = this.order;
    return [
      h("a", { class: "button bare small", href: `/showtimes/${showtimeId}?exchange=${id}` }, t("order.exchange")),
      h("a", { class: "button bare small", href: `/movies/${movieId}?exchange=${id}` }, t("order.other-time")),
    ];
  }

  calendar({ isOff = false } = {}) {
    const { order, showtime } = this;
    const about = t("tickets.calendar-text", { seats: list(order.seats) });
    const entry = { id: order.id, title: order.movieTitle, place: [showtime.auditoriumName, site.name, site.address].filter(Boolean).join(", "), startsAt: showtime.startsAt, endsAt: showtime.endsAt, about, url: location.href, sequence: order.version, isOff };
    save(ics(entry), `${order.movieTitle.replace(/[^\p{L}\p{N}]+/gu, "-")}.ics`);
  }

  /** Shows the refund before cancelling; if it has changed meanwhile, shows the new one and asks again. */
  async cancel() {
    this.order = await get(`/v1/reservations/${this.order.id}`);
    const { cancellation } = this.order;
    if (!cancellation) return this.draw();
    const { id, version, seats, total } = this.order;
    const { refund } = cancellation;
    const without = isFree(total) ? "order.cancel" : "cancel.yes-nothing";
    const content = h("div", { class: "stack" }, h("p", {}, t("cancel.seats", { seats: list(seats) })), refundMessage(cancellation, isFree(total), this.showtime.timeZone));
    const answer = await ask(t("cancel.title"), content, [["no", t("cancel.no")], ["yes", refund.amount > 0 ? t("cancel.yes", { total: money(refund) }) : t(without), "grave"]]);
    if (answer !== "yes") return;
    const cancelled = await cancelAsShown(id, { version, refund, total: { ...total, amount: 0 } });
    if (!cancelled) return this.cancel();
    this.changeTo(cancelled);
  }

  async giveBack() {
    this.order = await get(`/v1/reservations/${this.order.id}`);
    if (!this.order.cancellation) return this.draw();
    const changed = await giveTicketsBack(this.order, this.showtime.timeZone);
    if (changed) this.changeTo(changed);
  }

  /** Shows the order as the user has changed it. */
  changeTo(order) {
    this.order = order;
    this.draw();
    this.title.focus();
  }

  // States: cancelled or refunded

  cancelled() {
    const { order } = this;
    const { reason } = order;
    const free = isFree(order.total);
    // A free order has no refund, even in the state REFUNDED.
    const refund = order.refund && !isFree(order.refund.total) && order.refund;
    // A paid order had tickets, and perhaps an entry in a calendar.
    const wasPaid = ["SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"].includes(order.payment?.status);
    const over = reason === "HOLD_EXPIRED" && (free ? "hold.over-free" : "hold.over");
    // Also when the last tab was closed.
    const returned = reason === "USER_REQUEST" && !wasPaid && "order.returned";
    const title = t(refund ? "order.cancelled-paid" : over || returned || "order.cancelled");
    const back = refund && this.refunded(refund);
    const why = message(reason === "SHOWTIME_CANCELLED" ? "warn" : "", t(free && over ? "order.not-taken" : returned ? "order.returned-about" : `order.reason.${reason ?? "USER_REQUEST"}`));
    const isFuture = !isPast(order.startsAt) && this.showtime.status === "ON_SALE";
    const again = isFuture && reason !== "EXCHANGED" && this.button(t("hold.again", { seats: list(order.seats) }), "main", () => this.again());
    const others = isFuture && h("a", { class: "button", href: `/showtimes/${order.showtimeId}` }, t("hold.others"));
    const off = wasPaid && !isPast(order.startsAt) && this.button(t("tickets.calendar-off"), "", async () => this.calendar({ isOff: true }));
    return [title, why, back, h("div", { class: "row" }, again, others, off, h("a", { class: "button bare", href: "/" }, t("lost.home"))), wasPaid && this.receipts()];
  }

  /** Of what was paid; a free order has none. */
  receipts() {
    return !isFree(this.order.total) && receipts(this.order, this.isOwner(), this.clock.signal);
  }

  refunded(refund) {
    return message(refund.status === "COMPLETED" ? "good" : refund.status === "FAILED" ? "bad" : "warn", t(`refund.${refund.status}`, { total: money(refund.total) }), h("p", {}, t(`refund.about-${refund.status}`)));
  }

  /**
   * Orders the same tickets again for the same total. If seats are taken or the price is another, goes to the seat map, which shows
   * what is left and what it costs.
   */
  async again() {
    const { showtimeId, seats, lines, total } = this.order;
    const tickets = lines.map(({ seat, type }) => ({ seat, type }));
    try {
      await becomeGuest();
      const made = await post("/v1/reservations", { showtimeId, tickets, expectedTotal: total }, { key: newKey() });
      go(`/reservations/${made.id}`);
    } catch (problem) {
      if (problem.code !== "seats-taken" && !isOfTariff(problem)) throw problem;
      if (isOfTariff(problem)) notice(problemText(problem, namesOf(problem, lines)));
      storeChoice(showtimeId, seats, Object.fromEntries([...groupBy(lines, (line) => line.type)].map(([type, of]) => [type, of.length])));
      go(`/showtimes/${showtimeId}`);
    }
  }
}

/** The text for a decline code. */
function reason(code) {
  const codes = ["insufficient_funds", "expired_card", "incorrect_cvc", "card_declined", "generic_decline"];
  return t(`pay.code.${codes.includes(code) ? code : "other"}`, { code });
}
