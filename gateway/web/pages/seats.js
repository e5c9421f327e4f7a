// Choosing seats and ticket types. Seats are held only when the customer continues to pay; until then the map is live, and a
// chosen seat that somebody else takes is removed, with an offer of others. The choice survives a login and a reload. The order names
// the total that was shown: at another one the customer decides again.

import { becomeGuest, get, hasLogin, isSomebody, newKey, post } from "../lib/api.js";
import { add, h, replace } from "../lib/dom.js";
import { dateOf, full, list, money } from "../lib/format.js";
import { noteOrder, onHolds, ownSeats } from "../lib/holds.js";
import { isFree, isOfTariff } from "../lib/price.js";
import { live } from "../lib/live.js";
import { orderToken, shareOrderToken } from "../lib/order-token.js";
import { go, loginHere, note } from "../lib/router.js";
import { Tickets } from "../lib/tariff.js";
import { t } from "../lib/text.js";
import { basket } from "../parts/basket.js";
import { linesOf, typesOf } from "../parts/bill.js";
import { keptChoice, storeChoice } from "../parts/choice.js";
import { hall } from "../parts/hall.js";
import { bestRow, legend } from "../parts/hall-words.js";
import { notice, message, problemText } from "../parts/notice.js";
import { sale } from "../parts/sale.js";
import { filmBegins, showingBadges } from "../parts/showing.js";
import { companionsAlone, unitOf, wheelchairsFor, withoutOrphan } from "../parts/seat.js";
import { typeName, whyText } from "../parts/who.js";

/** The most seats of an order; the server's limit decides. */
const SEATS_MAX = 10;

export default async function seats({ params, query, signal }) {
  const [showtime, map, tariff, previous, exchange] = await Promise.all([
    get(`/v1/showtimes/${params.id}`, {}, { signal, isPublic: true }),
    get(`/v1/showtimes/${params.id}/seats`, {}, { signal, isPublic: true }),
    get(`/v1/showtimes/${params.id}/tariff`, {}, { signal, isPublic: true }),
    query.exchange ? get(`/v1/reservations/${query.exchange}`, {}, { signal }) : null,
    query.exchange ? import("../parts/exchange.js") : null,
  ]);
  const choice = new Choice({ showtime, map, tariff, previous, exchange, signal });
  return { title: t("seats.title", { title: showtime.movieTitle }), node: choice.node, onShow: () => choice.onShow(query) };
}

class Choice {
  /** `previous` is the order that is exchanged, if it is an exchange, and `exchange` the module for it. */
  constructor({ showtime, map, tariff, previous, exchange, signal }) {
    const tickets = new Tickets(tariff, previous?.lines);
    Object.assign(this, { showtime, previous, exchange, signal, tickets, sequence: map.sequence, chosen: [], own: new Map() });
    this.hall = hall(map.seats, { toggle: (id) => this.toggle(id), label: t("seats.grid", { hall: showtime.auditoriumName }) });
    // An exchange may keep some of the order's seats.
    this.kept = previous?.showtimeId === showtime.id ? previous.seats : [];
    this.legend = h("ul", { class: "legend", role: "list", "aria-label": t("seats.legend") });
    this.markOwn();
    this.messages = h("div", { class: "stack" });
    this.spoken = h("p", { class: "unseen", role: "status" });
    this.state = h("span", { class: "live", role: "status" });
    this.basket = basket({
      tickets, previous, exchange, state: this.state,
      hold: () => this.hold(),
      clear: () => this.clear(),
      changed: () => this.typesChanged(),
      refused: (sentence) => this.announce(sentence),
    });
    this.sale = sale(showtime, { signal, open: () => this.best(), changed: (isOpen, before) => this.saleChanged(isOpen, before) });
    this.hall.close(!this.sale.isOpen());
    this.node = this.draw();
    this.drawBar();
  }

  draw() {
    const { showtime } = this;
    const back = this.previous ? `/reservations/${this.previous.id}` : `/movies/${showtime.movieId}?date=${dateOf(showtime.startsAt, showtime.timeZone)}`;
    return h(
      "div",
      { class: "seats" },
      h("div", { class: "head" },
        h("a", { class: "back", href: back }, `← ${this.previous ? t("seats.keep") : showtime.movieTitle}`),
        h("h1", { tabindex: "-1" }, t(this.previous ? "seats.exchange" : "seats.choose")),
        h("p", {}, this.about())),
      this.previous && message("", t(isFree(this.previous.total) ? "seats.instead-free" : "seats.instead", { seats: list(this.previous.seats), total: money(this.previous.total) }), typesOf(this.previous.lines) && h("p", {}, typesOf(this.previous.lines))),
      this.sale.node,
      this.messages,
      this.hall.node,
      this.legend,
      this.basket.node,
      this.spoken,
    );
  }

  /** In one short paragraph, so that a phone shows the whole hall and its legend. The link back has the film's title, but for an exchange. */
  about() {
    const { showtime } = this;
    const begins = filmBegins(showtime);
    const facts = [this.previous && showtime.movieTitle, full(showtime.startsAt, showtime.timeZone), showtime.auditoriumName];
    return [facts.filter(Boolean).join(" · "), " ", showingBadges(showtime), begins && h("span", { class: "film-begins" }, " ", t("showing.film-begins", { at: begins }))];
  }

  /** Called when the page is shown: restores an earlier choice and opens the live stream. */
  onShow(query) {
    this.hall.measure();
    live(`/v1/showtimes/${this.showtime.id}/seats/events`, {
      snapshot: (event) => this.applySnapshot(event),
      seats: (event) => this.applyChanges(event.sequence, event.changes),
    }, { signal: this.signal, state: (state) => this.connection(state) });
    // Held or given back in another window.
    onHolds(() => this.readOwn(), this.signal);
    this.restore(query);
  }

  async restore(query) {
    // A choice of before the end of the sale waits for the next one.
    if (!this.sale.isOpen()) return this.readOwn();
    const { seats: kept, types } = keptChoice(this.showtime.id);
    this.tickets.wanted = types;
    const gone = kept.filter((id) => !this.isAvailable(this.hall.seat(id)));
    for (const id of kept.filter((id) => !gone.includes(id)).slice(0, SEATS_MAX)) this.choose(id, true);
    this.drawBar();
    if (query.hold && hasLogin() && !gone.length && this.chosen.length) this.hold();
    if (query.hold) note({ exchange: query.exchange });
    await this.readOwn();
    const lost = gone.filter((id) => !this.own.has(id));
    if (lost.length) this.lost(lost, kept);
  }

  /** Reads which seats are the user's, which may have changed in another tab. */
  async readOwn() {
    this.own = await ownSeats(this.showtime.id, this.signal);
    this.markOwn();
  }

  markOwn() {
    this.hall.own([...this.own.keys(), ...this.kept], this.kept);
    this.drawLegend();
  }

  isAvailable(seat) {
    return Boolean(seat?.price) && (seat.status === "FREE" || this.kept.includes(seat.id));
  }

  /** The sale has begun or ended while the page is open; or staff were logged in, who sell until the start. */
  saleChanged(isOpen, before) {
    this.hall.close(!isOpen);
    if (isOpen) {
      if (before === "not-yet") replace(this.messages, message("good", t("showing.open-now")));
      return this.restore({});
    }
    if (this.holding) return;
    for (const id of [...this.chosen]) this.choose(id, false);
    replace(this.messages);
    this.drawBar();
  }

  connection(state) {
    this.state.dataset.state = state;
    this.state.textContent = t(`seats.${state}`);
  }

  /** The first snapshot, or one after an interruption, for example in another tab. */
  applySnapshot({ sequence, seats }) {
    if (this.isReturning) this.readOwn();
    this.isReturning = true;
    this.applyChanges(sequence, seats);
  }

  applyChanges(sequence, changes) {
    // A snapshot may be older than the map that is shown; changes never are.
    if (sequence < this.sequence) return;
    this.sequence = sequence;
    const gone = [];
    for (const { id, status, price } of changes) {
      this.hall.change(id, status, price);
      if (this.chosen.includes(id) && !this.holding && !this.isAvailable(this.hall.seat(id))) gone.push(id);
    }
    if (gone.length) this.went(gone, [...this.chosen]);
    if (changes.some((change) => change.price && this.isRepriced(change))) this.reprice();
  }

  /** Whether a seat of the map has another price than by the tariff that the page has. */
  isRepriced({ id, price }) {
    return this.tickets.first.prices[this.hall.seat(id)?.kind]?.amount !== price.amount;
  }

  /** Prices of the map have changed: says what the chosen seats cost now. */
  async reprice() {
    const before = this.tickets.total();
    await this.readTariff().catch(() => {});
    if (this.holding || this.signal.aborted) return;
    this.drawBar();
    const total = this.tickets.total();
    if (total.amount !== before.amount || total.currency !== before.currency) replace(this.messages, message("warn", t("problem.price-changed", { total: money(total) })));
  }

  async readTariff() {
    const tariff = await get(`/v1/showtimes/${this.showtime.id}/tariff`, {}, { signal: this.signal, isPublic: true, cache: "no-cache" });
    this.tickets.price(tariff);
    this.drawLegend();
  }

  /** Chosen seats are held or sold now: by the user in another tab, or by somebody else. */
  async went(gone, wanted) {
    if (isSomebody()) await this.readOwn();
    const own = gone.filter((id) => this.own.has(id));
    const lost = gone.filter((id) => !this.own.has(id));
    for (const id of own) this.choose(id, false);
    this.drawBar();
    if (lost.length) return this.lost(lost, wanted);
    const order = h("a", { href: `/reservations/${this.own.get(own[0]).id}` }, t("seats.to-order"));
    replace(this.messages, message("", t("seats.own", { n: own.length, seats: list(own) }), h("p", {}, order)));
  }

  choose(id, chosen) {
    this.hall.choose(id, chosen);
    this.chosen = chosen ? [...this.chosen, id] : this.chosen.filter((other) => other !== id);
    this.tickets.choose(this.sorted().map((id) => this.hall.seat(id)));
    this.store();
  }

  store() {
    storeChoice(this.showtime.id, this.chosen, this.tickets.wanted);
  }

  /** One more ticket of a type, or one less. */
  typesChanged() {
    this.store();
    replace(this.messages);
    this.drawBar();
    this.announce(`${typesOf(linesOf(this.tickets))}. ${this.sum()}`);
  }

  toggle(id) {
    if (this.holding) return;
    if (!this.sale.isOpen()) return this.announce(this.sale.why());
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
    const all = this.hall.seats();
    // A companion seat brings its wheelchair space.
    const alone = companionsAlone(all, [...this.seats(), ...unit]);
    const spaces = wheelchairsFor(all, alone);
    const wanted = [...unit, ...(spaces ?? [])].filter((seat) => !this.chosen.includes(seat.id));
    const taken = wanted.find((seat) => !this.isAvailable(seat));
    if (taken) {
      this.announce(t("seats.not-free", { seat: taken.id }));
      return null;
    }
    if (this.chosen.length + wanted.length > SEATS_MAX) {
      notice(t("seats.most", { n: SEATS_MAX }));
      return null;
    }
    if (!spaces) {
      notice(t("problem.companion-alone", { n: alone.length, seats: list(alone.map((seat) => seat.id)) }));
      return null;
    }
    for (const seat of wanted) this.choose(seat.id, true);
    return wanted.map((seat) => seat.id);
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

  sum() {
    if (!this.chosen.length) return t("seats.none");
    const total = this.tickets.total();
    return t(isFree(total) ? "seats.sum-free" : "seats.sum", { n: this.chosen.length, total: money(total) });
  }

  drawBar() {
    this.basket.draw(this.sorted());
  }

  sorted() {
    const order = this.hall.seats().map((seat) => seat.id);
    return this.chosen.toSorted((a, b) => order.indexOf(a) - order.indexOf(b));
  }

  best() {
    return bestRow(SEATS_MAX, async (count) => {
      try {
        const { seats, together } = await this.bestSeats({ count, kind: "STANDARD" });
        this.replaceChoice(seats);
        if (!together) replace(this.messages, message("warn", t("seats.apart", { seats: list(this.sorted()) })));
      } catch (problem) {
        if (problem.name === "AbortError") return;
        replace(this.messages, message("warn", problemText(problem)));
      }
    });
  }

  /** The seats that the server would choose for an order. */
  bestSeats(query) {
    return get(`/v1/showtimes/${this.showtime.id}/seats/best`, query, { signal: this.signal });
  }

  clear() {
    this.tickets.wanted = {};
    for (const id of [...this.chosen]) this.choose(id, false);
    replace(this.messages);
    this.drawBar();
    this.announce(t("seats.none"));
    this.basket.focus();
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
    this.show(lost);
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
    this.show(message("warn", t("seats.orphan", { seat: better.alone.id }), h("p", {}, t("seats.orphan-about", { seats: list(order) })), h("p", { class: "row" }, button)));
    return true;
  }

  async hold() {
    if (this.holding || !this.chosen.length || this.warnOfTypes() || this.warnOfOrphan()) return;
    if (this.previous && !isSomebody() && !orderToken(this.previous.id)) return this.toLogin();
    this.holding = true;
    const seats = this.sorted();
    this.basket.wait(seats);
    try {
      const made = await this.order();
      if (!made) return this.drawBar();
      storeChoice(this.showtime.id, []);
      noteOrder(made);
      await go(`/reservations/${made.id}`);
    } catch (problem) {
      await this.refused(problem, seats);
    } finally {
      this.holding = false;
    }
  }

  /** Logs in first; the choice is held afterwards. */
  toLogin() {
    note({ exchange: this.previous?.id, hold: 1 });
    return go(loginHere());
  }

  /** Creates the order, or returns null if the customer declined an exchange. */
  async order() {
    const { showtime, previous, tickets } = this;
    if (previous) {
      const made = await this.exchange.exchange(previous, { showtime, tickets });
      shareOrderToken(previous.id, made?.id);
      return made;
    }
    await becomeGuest();
    const order = { showtimeId: showtime.id, tickets: tickets.list(), expectedTotal: tickets.total() };
    return post("/v1/reservations", order, { key: newKey() });
  }

  async refused(problem, seats) {
    if (isOfTariff(problem)) return this.otherTariff(problem);
    this.drawBar();
    // Free seats are only for an account whose address is proven.
    if (problem.status === 401 || (problem.code === "email-unproven" && !hasLogin())) {
      this.toLogin();
    } else if (problem.code === "seats-taken" || problem.code === "seat-blocked") {
      for (const id of problem.seats ?? []) this.hall.change(id, "HELD");
      this.went(problem.seats ?? [], seats);
    } else {
      const more = problem.code === "hold-limit" && problem.limit?.of !== "NETWORK" && h("a", { href: "/tickets" }, t("seats.to-orders"));
      this.show(message("bad", problemText(problem), more));
    }
  }

  /** The order was refused by its tickets or their price: shows what they cost now, and the customer decides again. */
  async otherTariff(problem) {
    // A type that is not sold any more has its name only in the tariff before.
    const [type, other] = (problem.ticketTypes ?? []).map((code) => typeName(this.tickets.tariff.types.find((type) => type.code === code) ?? { code }));
    await this.readTariff().catch(() => {});
    if (this.signal.aborted) return;
    this.drawBar();
    this.show(message("warn", problemText(problem, { type, other }), h("p", {}, t("seats.decide"))));
  }

  /** Says why these tickets cannot be ordered, if the page knows. Returns whether it did. */
  warnOfTypes() {
    const refused = !this.previous && this.tickets.refusal();
    if (refused) this.show(message("warn", whyText(refused)));
    return Boolean(refused);
  }

  /** Shows a message above the hall. */
  show(node) {
    replace(this.messages, node);
    this.messages.scrollIntoView({ block: "nearest" });
  }

  drawLegend() {
    const isMine = this.own.size > 0 || this.kept.length > 0;
    replace(this.legend, legend(this.hall.seats(), { isMine, orderFee: this.tickets.tariff.orderFee }));
  }
}
