// Choosing seats. Seats are held only when the customer continues to pay; until then the seat map is live, and a chosen seat that
// somebody else takes is removed with a message and an offer of others. The choice survives a login and a reload (session storage).

import { get, hasLogin, post } from "../lib/api.js";
import { add, h, replace } from "../lib/dom.js";
import { full, list, money } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { live } from "../lib/live.js";
import { go, loginHere, note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { hall } from "../parts/hall.js";
import { notice, message, waiting, problemText } from "../parts/notice.js";
import { companionsAlone, unitOf, withoutOrphan } from "../parts/seat.js";
import { isOpen } from "../parts/times.js";

/** The most seats of an order; the server's limit decides. */
const SEATS_MAX = 10;
const storageKey = (id) => `marquee.choice.${id}`;

/** Stores the chosen seats of a showtime, for the next time that the page is shown. */
export function storeChoice(showtimeId, seats) {
  if (seats.length) sessionStorage.setItem(storageKey(showtimeId), JSON.stringify(seats));
  else sessionStorage.removeItem(storageKey(showtimeId));
}

export default async function seats({ params, query, signal }) {
  const [showtime, map, previous] = await Promise.all([
    get(`/v1/showtimes/${params.id}`, {}, { signal }),
    get(`/v1/showtimes/${params.id}/seats`, {}, { signal }),
    query.exchange ? get(`/v1/reservations/${query.exchange}`, {}, { signal }) : null,
  ]);
  const choice = new Choice(showtime, map, previous, signal);
  return { title: t("seats.title", { title: showtime.movieTitle }), node: choice.node, onShow: () => choice.onShow(query) };
}

class Choice {
  constructor(showtime, map, previous, signal) {
    Object.assign(this, { showtime, previous, signal, sequence: map.sequence, chosen: [] });
    this.hall = hall(map.seats, { toggle: (id) => this.toggle(id), label: t("seats.grid", { hall: showtime.auditoriumName }) });
    if (previous?.showtimeId === showtime.id) this.hall.own(previous.seats);
    this.messages = h("div", { class: "stack" });
    this.spoken = h("p", { class: "unseen", role: "status" });
    this.bar = h("div", { class: "basket" });
    this.state = h("span", { class: "live", role: "status" });
    this.node = this.draw();
    this.drawBar();
  }

  draw() {
    const { showtime } = this;
    const back = this.previous ? `/reservations/${this.previous.id}` : `/movies/${showtime.movieId}`;
    return h(
      "div",
      { class: "seats" },
      h("div", { class: "head" },
        h("a", { class: "back", href: back }, `← ${this.previous ? t("seats.keep") : showtime.movieTitle}`),
        h("h1", { tabindex: "-1" }, t(this.previous ? "seats.exchange" : "seats.choose")),
        h("p", {}, `${showtime.movieTitle} · ${full(showtime.startsAt, showtime.timeZone)} · ${showtime.auditoriumName}`)),
      this.previous && message("", t(isFree(this.previous.total) ? "seats.instead-free" : "seats.instead", { seats: list(this.previous.seats), total: money(this.previous.total) })),
      isOpen(showtime) ? this.best() : message("warn", t(showtime.status === "CANCELLED" ? "problem.showtime-cancelled" : "problem.showtime-started")),
      this.messages,
      this.hall.node,
      this.legend(),
      this.bar,
      this.spoken,
    );
  }

  /** Called when the page is shown: restores an earlier choice and opens the live stream. */
  onShow(query) {
    const scroller = this.hall.node;
    scroller.scrollLeft = (scroller.scrollWidth - scroller.clientWidth) / 2;
    live(`/v1/showtimes/${this.showtime.id}/seats/events`, {
      snapshot: (event) => this.applyChanges(event.sequence, event.seats),
      seats: (event) => this.applyChanges(event.sequence, event.changes),
    }, { signal: this.signal, state: (state) => this.connection(state) });
    const stored = JSON.parse(sessionStorage.getItem(storageKey(this.showtime.id)) ?? "[]");
    const gone = stored.filter((id) => this.hall.seat(id)?.status !== "FREE");
    for (const id of stored.filter((id) => !gone.includes(id)).slice(0, SEATS_MAX)) this.choose(id, true);
    if (gone.length) this.lost(gone, stored);
    this.drawBar();
    if (query.hold && hasLogin() && !gone.length && this.chosen.length) this.hold();
    if (query.hold) note({ exchange: query.exchange });
  }

  connection(state) {
    this.state.dataset.state = state;
    this.state.textContent = t(`seats.${state}`);
  }

  applyChanges(sequence, changes) {
    // A snapshot may be older than the map that is shown; changes never are.
    if (sequence < this.sequence) return;
    this.sequence = sequence;
    const gone = [];
    for (const { id, status, price } of changes) {
      this.hall.change(id, status, price);
      if (status !== "FREE" && this.chosen.includes(id) && !this.holding) gone.push(id);
    }
    if (gone.length) this.lost(gone, [...this.chosen]);
  }

  choose(id, chosen) {
    this.hall.choose(id, chosen);
    this.chosen = chosen ? [...this.chosen, id] : this.chosen.filter((other) => other !== id);
    storeChoice(this.showtime.id, this.chosen);
  }

  toggle(id) {
    if (this.holding || !isOpen(this.showtime)) return;
    const isChosen = this.chosen.includes(id);
    // Seats of a unit are chosen and removed together.
    const unit = unitOf(this.hall.seats(), this.hall.seat(id));
    const changed = isChosen ? this.removeUnit(unit) : this.add(unit);
    if (!changed) return;
    replace(this.messages);
    this.drawBar();
    this.announce(`${t(isChosen ? "seats.out" : "seats.in", { n: changed.length, seat: list(changed) })} ${this.sum()}`);
  }

  /** Chooses seats that are sold together if all are free. Returns the ids, or null after showing the reason. */
  add(unit) {
    const ids = unit.map((seat) => seat.id);
    const wanted = unit.filter((seat) => !this.chosen.includes(seat.id));
    const taken = wanted.find((seat) => seat.status !== "FREE" || !seat.price);
    if (taken) {
      this.announce(t("seats.not-free", { seat: taken.id }));
      return null;
    }
    if (this.chosen.length + wanted.length > SEATS_MAX) {
      notice(t("seats.most", { n: SEATS_MAX }));
      return null;
    }
    const alone = companionsAlone(this.hall.seats(), [...this.seats(), ...wanted]);
    if (alone.length) {
      notice(t("problem.companion-alone", { n: alone.length, seats: list(alone.map((seat) => seat.id)) }));
      return null;
    }
    for (const seat of wanted) this.choose(seat.id, true);
    return ids;
  }

  /** Removes seats from the choice, and companion seats that lose their wheelchair space by it. */
  removeUnit(unit) {
    const left = this.seats().filter((seat) => !unit.includes(seat));
    const gone = [...unit, ...companionsAlone(this.hall.seats(), left)].map((seat) => seat.id);
    for (const id of gone) if (this.chosen.includes(id)) this.choose(id, false);
    return gone;
  }

  /** The chosen seats. */
  seats() {
    return this.chosen.map((id) => this.hall.seat(id));
  }

  announce(text) {
    this.spoken.textContent = text;
  }

  total() {
    const prices = this.chosen.map((id) => this.hall.seat(id).price);
    return { amount: prices.reduce((sum, price) => sum + price.amount, 0), currency: prices[0]?.currency ?? "EUR" };
  }

  sum() {
    if (!this.chosen.length) return t("seats.none");
    const total = this.total();
    return t(isFree(total) ? "seats.sum-free" : "seats.sum", { n: this.chosen.length, total: money(total) });
  }

  /** Draws the bar: the chosen seats, their price, and the button to continue. */
  drawBar() {
    const hasChoice = this.chosen.length > 0;
    const names = hasChoice ? list(this.sorted()) : t("seats.none");
    const label = this.previous ? t("seats.exchange-action") : t("seats.hold");
    const button = h("button", { class: "button main", type: "button", disabled: !hasChoice, on: { click: () => this.hold() } }, label);
    replace(
      this.bar,
      h("div", { class: "basket-words" }, h("strong", {}, hasChoice ? price(this.total()) : ""), h("span", {}, names)),
      this.state,
      button,
    );
  }

  sorted() {
    const order = this.hall.seats().map((seat) => seat.id);
    return this.chosen.toSorted((a, b) => order.indexOf(a) - order.indexOf(b));
  }

  best() {
    const count = h("select", { class: "input", id: "best-count", "aria-label": t("seats.best-count") }, Array.from({ length: SEATS_MAX }, (_, at) => h("option", { value: at + 1, selected: at === 1 }, at + 1)));
    const pick = async () => {
      try {
        const { seats, together } = await this.bestSeats({ count: count.value, kind: "STANDARD" });
        this.replaceChoice(seats);
        if (!together) replace(this.messages, message("warn", t("seats.apart", { seats: list(this.sorted()) })));
      } catch (problem) {
        if (problem.name === "AbortError") return;
        replace(this.messages, message("warn", problemText(problem)));
      }
    };
    return h("div", { class: "row best" }, h("span", {}, t("seats.best")), count, h("span", {}, t("seats.together")), h("button", { class: "button", type: "button", on: { click: pick } }, t("seats.pick")));
  }

  /** The seats that the server would choose for an order. */
  bestSeats(query) {
    return get(`/v1/showtimes/${this.showtime.id}/seats/best`, query, { signal: this.signal });
  }

  /** Replaces the choice by these seats. */
  replaceChoice(ids) {
    for (const id of [...this.chosen]) this.choose(id, false);
    for (const id of ids) this.choose(id, true);
    replace(this.messages);
    this.drawBar();
    this.announce(`${t("seats.taken-for-you", { seats: list(this.sorted()) })} ${this.sum()}`);
    this.hall.focus(this.sorted()[0]);
  }

  /** Chosen seats were taken by somebody else: shows which, and offers free seats nearby. */
  async lost(gone, wanted) {
    const all = this.hall.seats();
    for (const seat of gone.map((id) => this.hall.seat(id))) if (seat) this.removeUnit(unitOf(all, seat));
    const lost = message("bad", t("seats.went", { n: gone.length, seats: list(gone) }));
    replace(this.messages, lost);
    this.messages.scrollIntoView({ block: "nearest" });
    this.drawBar();
    const existing = wanted.filter((id) => this.hall.seat(id));
    const kinds = new Set(existing.map((id) => this.hall.seat(id).kind));
    // A wheelchair space with its companion seat is chosen by the customer.
    if (kinds.size !== 1 || kinds.has("COMPANION")) return;
    // Without a response there is no offer.
    const found = await this.bestSeats({ count: wanted.length, kind: [...kinds][0], near: existing.join(",") }).catch(() => null);
    if (!found || !lost.isConnected) return;
    const offer = h("button", { class: "button", type: "button", on: { click: () => this.replaceChoice(found.seats) } }, t("seats.instead-take", { seats: list(found.seats) }));
    add(lost, h("p", {}, t(found.together ? "seats.near" : "seats.near-apart")), h("p", { class: "row" }, offer));
  }

  /** Warns once of each choice that leaves a single seat where the adjacent seats would not. Returns whether it warned. */
  warnOfOrphan() {
    const better = withoutOrphan(this.hall.seats(), this.seats());
    const choice = this.sorted().join();
    if (!better || this.warned === choice) return false;
    this.warned = choice;
    const order = this.hall.seats().filter((seat) => better.seats.includes(seat)).map((seat) => seat.id);
    const button = h("button", { class: "button", type: "button", on: { click: () => this.replaceChoice(order) } }, t("seats.instead-take", { seats: list(order) }));
    replace(this.messages, message("warn", t("seats.orphan", { seat: better.alone.id }), h("p", {}, t("seats.orphan-about", { seats: list(order) })), h("p", { class: "row" }, button)));
    this.messages.scrollIntoView({ block: "nearest" });
    return true;
  }

  async hold() {
    if (this.holding || !this.chosen.length || this.warnOfOrphan()) return;
    if (!hasLogin()) {
      note({ exchange: this.previous?.id, hold: 1 });
      return go(loginHere());
    }
    this.holding = true;
    const seats = this.sorted();
    replace(this.bar, waiting(t("seats.holding", { seats: list(seats) })));
    try {
      const made = await this.order(seats);
      if (!made) return this.drawBar();
      storeChoice(this.showtime.id, made.status === "PENDING" ? seats : []);
      await go(`/reservations/${made.id}`);
    } catch (problem) {
      this.refused(problem, seats);
    } finally {
      this.holding = false;
    }
  }

  /** Creates the order, or returns null if the customer declined. An exchange is done only with the plan that the customer accepted. */
  async order(seats) {
    const showtimeId = this.showtime.id;
    const key = crypto.randomUUID();
    if (!this.previous) return post("/v1/reservations", { showtimeId, seats }, { key });
    const path = `/v1/reservations/${this.previous.id}/exchange`;
    const plan = await get(path, { showtimeId, seats: seats.join(",") });
    return (await this.confirmRefund(plan)) ? post(path, { showtimeId, seats, version: plan.version }, { key }) : null;
  }

  /** Asks for confirmation if the refund is less than the price difference. */
  async confirmRefund({ total, refund, payable }) {
    const less = { ...total, amount: this.previous.total.amount - total.amount };
    if (payable.amount > 0 || refund.amount >= less.amount) return true;
    const back = t(refund.amount > 0 ? "exchange.part-back" : "exchange.nothing-back", { less: money(less), back: money(refund) });
    return (await ask(t("exchange.title"), message("warn", back), [["no", t("exchange.no")], ["yes", t("exchange.yes"), "grave"]])) === "yes";
  }

  refused(problem, seats) {
    this.drawBar();
    if (problem.status === 401) {
      note({ exchange: this.previous?.id, hold: 1 });
      go(loginHere());
    } else if (problem.code === "seats-taken" || problem.code === "seat-blocked") {
      for (const id of problem.seats ?? []) this.hall.change(id, "HELD");
      this.lost(problem.seats ?? [], seats);
    } else {
      const more = problem.code === "hold-limit" && problem.limit?.of !== "NETWORK" && h("a", { href: "/tickets" }, t("seats.to-orders"));
      replace(this.messages, message("bad", problemText(problem), more));
      this.messages.scrollIntoView({ block: "nearest" });
    }
  }

  legend() {
    const kinds = new Map(this.hall.seats().filter((seat) => seat.price).map((seat) => [seat.kind, seat.price]));
    const sample = (state, kind) => h("span", { class: "seat sample", "aria-hidden": "true", dataset: { state, kind: kind ?? "STANDARD" } });
    const items = [...kinds].map(([kind, seatPrice]) => [sample("free", kind), `${t(`kind.${kind}`)} ${price(seatPrice)}`]);
    items.push([sample("chosen"), t("seats.state.chosen")], [sample("held"), t("seats.state.held")], [sample("sold"), t("seats.state.sold")]);
    const box = h("ul", { class: "legend", role: "list", "aria-label": t("seats.legend") });
    return add(box, items.map(([seat, text]) => h("li", {}, seat, h("span", {}, text))));
  }
}
