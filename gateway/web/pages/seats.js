// Choosing seats. Nothing is held until one goes on to pay; until then the hall is live, and what somebody else takes is
// taken out of the choice, said, and replaced by an offer. The choice survives a login and a reload (this tab's storage).

import { get, post } from "../lib/api.js";
import { add, h, replace } from "../lib/dom.js";
import { full, list, money } from "../lib/format.js";
import { live } from "../lib/live.js";
import { go, loginHere, note } from "../lib/router.js";
import { user } from "../lib/session.js";
import { t } from "../lib/text.js";
import { middle, nearest, sweetSpot } from "../parts/best.js";
import { hall } from "../parts/hall.js";
import { notice, say, waiting, words } from "../parts/notice.js";
import { isOpen } from "../parts/times.js";

/** As many as an order may have; the server's own limit decides. */
const MOST = 10;
const keptAs = (id) => `marquee.choice.${id}`;

/** Keeps a choice of seats for a showtime, for when the page is shown again. */
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
      this.previous && say("", t("seats.instead", { seats: list(this.previous.seats), total: money(this.previous.total) })),
      isOpen(showtime) ? this.best() : say("warn", t(showtime.status === "CANCELLED" ? "problem.showtime-cancelled" : "problem.showtime-started")),
      this.words,
      this.hall.node,
      this.legend(),
      this.bar,
      this.spoken,
    );
  }

  /** On the page now: an earlier choice, and what changes from here on. */
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
    if (query.hold && user() && !gone.length && this.chosen.length) this.hold();
    if (query.hold) note({ exchange: query.exchange });
  }

  connection(state) {
    this.state.dataset.state = state;
    this.state.textContent = t(`seats.${state}`);
  }

  hear(sequence, changes) {
    // A snapshot may be of now or of just before what we have; changes never are.
    if (sequence < this.sequence) return;
    this.sequence = sequence;
    const gone = [];
    for (const { id, status } of changes) {
      this.hall.change(id, status);
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
    const seat = this.hall.seat(id);
    const isChosen = this.chosen.includes(id);
    if (!isChosen && (seat.status !== "FREE" || !seat.price)) {
      this.speak(t("seats.not-free", { seat: id }));
      return;
    }
    if (!isChosen && this.chosen.length >= MOST) {
      notice(t("seats.most", { n: MOST }));
      return;
    }
    this.choose(id, !isChosen);
    replace(this.words);
    this.tell();
    this.speak(`${t(isChosen ? "seats.out" : "seats.in", { seat: id })} ${this.sum()}`);
  }

  speak(text) {
    this.spoken.textContent = text;
  }

  total() {
    const prices = this.chosen.map((id) => this.hall.seat(id).price);
    return { amount: prices.reduce((sum, price) => sum + price.amount, 0), currency: prices[0]?.currency ?? "EUR" };
  }

  sum() {
    return this.chosen.length ? t("seats.sum", { n: this.chosen.length, total: money(this.total()) }) : t("seats.none");
  }

  /** The bar: what is chosen, what it costs, and the way on. */
  tell() {
    const some = this.chosen.length > 0;
    const names = some ? list(this.sorted()) : t("seats.none");
    const label = this.previous ? t("seats.exchange-action") : t("seats.hold");
    const button = h("button", { class: "button main", type: "button", disabled: !some, on: { click: () => this.hold() } }, label);
    replace(
      this.bar,
      h("div", { class: "basket-words" }, h("strong", {}, some ? money(this.total()) : ""), h("span", {}, names)),
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
    const pick = () => {
      const seats = this.hall.seats();
      this.take(nearest(seats, Number(count.value), sweetSpot(seats), ["STANDARD"]));
    };
    return h("div", { class: "row best" }, h("span", {}, t("seats.best")), count, h("span", {}, t("seats.together")), h("button", { class: "button", type: "button", on: { click: pick } }, t("seats.pick")));
  }

  /** Chooses these instead of what was chosen. */
  take(seats) {
    if (!seats.length) {
      replace(this.words, say("warn", t("problem.not-enough-seats")));
      return;
    }
    for (const id of [...this.chosen]) this.choose(id, false);
    for (const seat of seats) this.choose(seat.id, true);
    replace(this.words);
    this.tell();
    this.speak(`${t("seats.taken-for-you", { seats: list(this.sorted()) })} ${this.sum()}`);
    this.hall.focus(this.sorted()[0]);
  }

  /** Seats went to somebody else: which, and what is near and free. */
  lost(gone, wanted) {
    for (const id of gone) if (this.chosen.includes(id)) this.choose(id, false);
    const seats = this.hall.seats();
    const kinds = [...new Set(wanted.map((id) => this.hall.seat(id)?.kind).filter(Boolean))];
    const near = nearest(seats, wanted.length, middle(seats, wanted), kinds.length ? kinds : ["STANDARD"]);
    const offer = near.length === wanted.length && h("button", { class: "button", type: "button", on: { click: () => this.take(near) } }, t("seats.instead-take", { seats: list(near.map((seat) => seat.id)) }));
    replace(this.words, say("bad", t("seats.went", { n: gone.length, seats: list(gone) }), offer && h("p", {}, t("seats.near")), offer && h("p", { class: "row" }, offer)));
    this.words.scrollIntoView({ block: "nearest" });
    this.tell();
  }

  async hold() {
    if (this.holding || !this.chosen.length) return;
    if (!user()) {
      note({ exchange: this.previous?.id, hold: 1 });
      return go(loginHere());
    }
    this.holding = true;
    const seats = this.sorted();
    replace(this.bar, waiting(t("seats.holding", { seats: list(seats) })));
    try {
      const key = crypto.randomUUID();
      const body = { showtimeId: this.showtime.id, seats };
      const path = this.previous ? `/v1/reservations/${this.previous.id}/exchange` : "/v1/reservations";
      const made = await post(path, body, { key });
      remember(this.showtime.id, made.status === "PENDING" ? seats : []);
      await go(`/reservations/${made.id}`);
    } catch (problem) {
      this.refused(problem, seats);
    } finally {
      this.holding = false;
    }
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
      const more = problem.code === "hold-limit" && h("a", { href: "/tickets" }, t("seats.to-orders"));
      replace(this.words, say("bad", words(problem), more));
      this.words.scrollIntoView({ block: "nearest" });
    }
  }

  legend() {
    const kinds = new Map(this.hall.seats().filter((seat) => seat.price).map((seat) => [seat.kind, seat.price]));
    const sample = (state, kind) => h("span", { class: "seat sample", "aria-hidden": "true", dataset: { state, kind: kind ?? "STANDARD" } }, { WHEELCHAIR: "♿\uFE0E", COMPANION: "+1", LOVESEAT: "♥\uFE0E" }[kind] ?? "");
    const items = [...kinds].map(([kind, price]) => [sample("free", kind), `${t(`kind.${kind}`)} ${money(price)}`]);
    items.push([sample("chosen"), t("seats.state.chosen")], [sample("held"), t("seats.state.held")], [sample("sold"), t("seats.state.sold")]);
    const box = h("ul", { class: "legend", role: "list", "aria-label": t("seats.legend") });
    return add(box, items.map(([seat, text]) => h("li", {}, seat, h("span", {}, text))));
  }
}
