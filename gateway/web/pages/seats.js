// Choosing seats. Seats are held only when the customer continues to pay; until then the seat map is live, and a chosen seat that
// somebody else takes is removed with a message and an offer of others. The choice survives a login and a reload (session storage).

import { get, isKnown, post } from "../lib/api.js";
import { add, h, replace } from "../lib/dom.js";
import { full, list, money } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { live } from "../lib/live.js";
import { go, loginHere, note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { hall } from "../parts/hall.js";
import { notice, say, waiting, words } from "../parts/notice.js";
import { companionsAlone, unitOf, withoutOrphan } from "../parts/seat.js";
import { isOpen } from "../parts/times.js";

/** The most seats of an order; the server's limit decides. */
const MOST = 10;
const keptAs = (id) => `marquee.choice.${id}`;

/** Stores the chosen seats of a showtime, for the next time that the page is shown. */
export function remember(showtimeId, seats) {
  if (seats.length) sessionStorage.setItem(keptAs(showtimeId), JSON.stringify(seats));
  else sessionStorage.removeItem(keptAs(showtimeId));
}

export default async function seats({ params, query, signal }) {
  const [showtime, map, previous] = await Promise.all([
    get(`/v1/showtimes/${params.id}`, {}, { signal }),
    get(`/v1/showtimes/${params.id}/seats`, {}, { signal }),
    query.exchange ? get(`/v1/reservations/${query.exchange}`, {}, { signal }) : null,
  ]);
  const choice = new Choice(showtime, map, previous, signal);
  return { title: t("seats.title", { title: showtime.movieTitle }), node: choice.node, there: () => choice.there(query) };
}

class Choice {
  constructor(showtime, map, previous, signal) {
    Object.assign(this, { showtime, previous, signal, sequence: map.sequence, chosen: [] });
    this.hall = hall(map.seats, { toggle: (id) => this.toggle(id), label: t("seats.grid", { hall: showtime.auditoriumName }) });
    if (previous?.showtimeId === showtime.id) this.hall.own(previous.seats);
    this.words = h("div", { class: "stack" });
    this.spoken = h("p", { class: "unseen", role: "status" });
    this.bar = h("div", { class: "basket" });
    this.state = h("span", { class: "live", role: "status" });
    this.node = this.draw();
    this.tell();
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
      this.previous && say("", t(isFree(this.previous.total) ? "seats.instead-free" : "seats.instead", { seats: list(this.previous.seats), total: money(this.previous.total) })),
      isOpen(showtime) ? this.best() : say("warn", t(showtime.status === "CANCELLED" ? "problem.showtime-cancelled" : "problem.showtime-started")),
      this.words,
      this.hall.node,
      this.legend(),
      this.bar,
      this.spoken,
    );
  }

  /** Called when the page is shown: restores an earlier choice and opens the live stream. */
  there(query) {
    const scroller = this.hall.node;
    scroller.scrollLeft = (scroller.scrollWidth - scroller.clientWidth) / 2;
    live(`/v1/showtimes/${this.showtime.id}/seats/events`, {
      snapshot: (event) => this.hear(event.sequence, event.seats),
      seats: (event) => this.hear(event.sequence, event.changes),
    }, { signal: this.signal, state: (state) => this.connection(state) });
    const kept = JSON.parse(sessionStorage.getItem(keptAs(this.showtime.id)) ?? "[]");
    const gone = kept.filter((id) => this.hall.seat(id)?.status !== "FREE");
    for (const id of kept.filter((id) => !gone.includes(id)).slice(0, MOST)) this.choose(id, true);
    if (gone.length) this.lost(gone, kept);
    this.tell();
    if (query.hold && isKnown() && !gone.length && this.chosen.length) this.hold();
    if (query.hold) note({ exchange: query.exchange });
  }

  connection(state) {
    this.state.dataset.state = state;
    this.state.textContent = t(`seats.${state}`);
  }

  hear(sequence, changes) {
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
    this.chosen = chosen ? [...this.chosen, id] : this.chosen.filter((one) => one !== id);
    remember(this.showtime.id, this.chosen);
  }

  toggle(id) {
    if (this.holding || !isOpen(this.showtime)) return;
    const isChosen = this.chosen.includes(id);
    // Seats of a unit are chosen and removed together.
    const unit = unitOf(this.hall.seats(), this.hall.seat(id));
    const changed = isChosen ? this.giveBack(unit) : this.add(unit);
    if (!changed) return;
    replace(this.words);
    this.tell();
    this.speak(`${t(isChosen ? "seats.out" : "seats.in", { n: changed.length, seat: list(changed) })} ${this.sum()}`);
  }

  /** Chooses seats that are sold together if all are free. Returns the ids, or null after showing the reason. */
  add(unit) {
    const ids = unit.map((seat) => seat.id);
    const wanted = unit.filter((seat) => !this.chosen.includes(seat.id));
    const taken = wanted.find((seat) => seat.status !== "FREE" || !seat.price);
    if (taken) {
      this.speak(t("seats.not-free", { seat: taken.id }));
      return null;
    }
    if (this.chosen.length + wanted.length > MOST) {
      notice(t("seats.most", { n: MOST }));
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
  giveBack(unit) {
    const left = this.seats().filter((seat) => !unit.includes(seat));
    const gone = [...unit, ...companionsAlone(this.hall.seats(), left)].map((seat) => seat.id);
    for (const id of gone) if (this.chosen.includes(id)) this.choose(id, false);
    return gone;
  }

  /** The chosen seats. */
  seats() {
    return this.chosen.map((id) => this.hall.seat(id));
  }

  speak(text) {
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
  tell() {
    const some = this.chosen.length > 0;
    const names = some ? list(this.sorted()) : t("seats.none");
    const label = this.previous ? t("seats.exchange-action") : t("seats.hold");
    const button = h("button", { class: "button main", type: "button", disabled: !some, on: { click: () => this.hold() } }, label);
    replace(
      this.bar,
      h("div", { class: "basket-words" }, h("strong", {}, some ? price(this.total()) : ""), h("span", {}, names)),
      this.state,
      button,
    );
  }

  sorted() {
    const order = this.hall.seats().map((seat) => seat.id);
    return this.chosen.toSorted((a, b) => order.indexOf(a) - order.indexOf(b));
  }

  best() {
    const count = h("select", { class: "input", id: "best-count", "aria-label": t("seats.best-count") }, Array.from({ length: MOST }, (_, at) => h("option", { value: at + 1, selected: at === 1 }, at + 1)));
    const pick = async () => {
      try {
        const { seats, together } = await this.ask({ count: count.value, kind: "STANDARD" });
        this.take(seats);
        if (!together) replace(this.words, say("warn", t("seats.apart", { seats: list(this.sorted()) })));
      } catch (problem) {
        if (problem.name === "AbortError") return;
        replace(this.words, say("warn", words(problem)));
      }
    };
    return h("div", { class: "row best" }, h("span", {}, t("seats.best")), count, h("span", {}, t("seats.together")), h("button", { class: "button", type: "button", on: { click: pick } }, t("seats.pick")));
  }

  /** The seats that the server would choose for an order. */
  ask(query) {
    return get(`/v1/showtimes/${this.showtime.id}/seats/best`, query, { signal: this.signal });
  }

  /** Replaces the choice by these seats. */
  take(ids) {
    for (const id of [...this.chosen]) this.choose(id, false);
    for (const id of ids) this.choose(id, true);
    replace(this.words);
    this.tell();
    this.speak(`${t("seats.taken-for-you", { seats: list(this.sorted()) })} ${this.sum()}`);
    this.hall.focus(this.sorted()[0]);
  }

  /** Chosen seats were taken by somebody else: shows which, and offers free seats nearby. */
  async lost(gone, wanted) {
    const all = this.hall.seats();
    for (const seat of gone.map((id) => this.hall.seat(id))) if (seat) this.giveBack(unitOf(all, seat));
    const lost = say("bad", t("seats.went", { n: gone.length, seats: list(gone) }));
    replace(this.words, lost);
    this.words.scrollIntoView({ block: "nearest" });
    this.tell();
    const known = wanted.filter((id) => this.hall.seat(id));
    const kinds = new Set(known.map((id) => this.hall.seat(id).kind));
    // A wheelchair space with its companion seat is chosen by the customer.
    if (kinds.size !== 1 || kinds.has("COMPANION")) return;
    // Without a response there is no offer.
    const found = await this.ask({ count: wanted.length, kind: [...kinds][0], near: known.join(",") }).catch(() => null);
    if (!found || !lost.isConnected) return;
    const offer = h("button", { class: "button", type: "button", on: { click: () => this.take(found.seats) } }, t("seats.instead-take", { seats: list(found.seats) }));
    add(lost, h("p", {}, t(found.together ? "seats.near" : "seats.near-apart")), h("p", { class: "row" }, offer));
  }

  /** Warns once of each choice that leaves a single seat where the adjacent seats would not. Returns whether it warned. */
  warns() {
    const better = withoutOrphan(this.hall.seats(), this.seats());
    const choice = this.sorted().join();
    if (!better || this.warned === choice) return false;
    this.warned = choice;
    const order = this.hall.seats().filter((seat) => better.seats.includes(seat)).map((seat) => seat.id);
    const take = h("button", { class: "button", type: "button", on: { click: () => this.take(order) } }, t("seats.instead-take", { seats: list(order) }));
    replace(this.words, say("warn", t("seats.orphan", { seat: better.alone.id }), h("p", {}, t("seats.orphan-about", { seats: list(order) })), h("p", { class: "row" }, take)));
    this.words.scrollIntoView({ block: "nearest" });
    return true;
  }

  async hold() {
    if (this.holding || !this.chosen.length || this.warns()) return;
    if (!isKnown()) {
      note({ exchange: this.previous?.id, hold: 1 });
      return go(loginHere());
    }
    this.holding = true;
    const seats = this.sorted();
    replace(this.bar, waiting(t("seats.holding", { seats: list(seats) })));
    try {
      const made = await this.order(seats);
      if (!made) return this.tell();
      remember(this.showtime.id, made.status === "PENDING" ? seats : []);
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
    return (await this.agrees(plan)) ? post(path, { showtimeId, seats, version: plan.version }, { key }) : null;
  }

  /** Asks for confirmation if the refund is less than the price difference. */
  async agrees({ total, refund, payable }) {
    const less = { ...total, amount: this.previous.total.amount - total.amount };
    if (payable.amount > 0 || refund.amount >= less.amount) return true;
    const back = t(refund.amount > 0 ? "exchange.part-back" : "exchange.nothing-back", { less: money(less), back: money(refund) });
    return (await ask(t("exchange.title"), say("warn", back), [["no", t("exchange.no")], ["yes", t("exchange.yes"), "grave"]])) === "yes";
  }

  refused(problem, seats) {
    this.tell();
    if (problem.status === 401) {
      note({ exchange: this.previous?.id, hold: 1 });
      go(loginHere());
    } else if (problem.code === "seats-taken" || problem.code === "seat-blocked") {
      for (const id of problem.seats ?? []) this.hall.change(id, "HELD");
      this.lost(problem.seats ?? [], seats);
    } else {
      const more = problem.code === "hold-limit" && problem.limit?.of !== "NETWORK" && h("a", { href: "/tickets" }, t("seats.to-orders"));
      replace(this.words, say("bad", words(problem), more));
      this.words.scrollIntoView({ block: "nearest" });
    }
  }

  legend() {
    const kinds = new Map(this.hall.seats().filter((seat) => seat.price).map((seat) => [seat.kind, seat.price]));
    const sample = (state, kind) => h("span", { class: "seat sample", "aria-hidden": "true", dataset: { state, kind: kind ?? "STANDARD" } });
    const items = [...kinds].map(([kind, one]) => [sample("free", kind), `${t(`kind.${kind}`)} ${price(one)}`]);
    items.push([sample("chosen"), t("seats.state.chosen")], [sample("held"), t("seats.state.held")], [sample("sold"), t("seats.state.sold")]);
    const box = h("ul", { class: "legend", role: "list", "aria-label": t("seats.legend") });
    return add(box, items.map(([seat, text]) => h("li", {}, seat, h("span", {}, text))));
  }
}
