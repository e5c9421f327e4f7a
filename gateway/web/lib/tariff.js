// Which ticket types the chosen seats get, by a showtime's tariff. Pure: the server decides what is sold and at which price.
//
// An order has a ticket for each seat. Tickets are of the default type, the first one of the tariff, unless another was chosen.

import { groupBy } from "./group.js";

/** Whether the prices are plain: neither types nor fees. */
export const isPlain = ({ types, orderFee }) => types.length === 1 && !Object.keys(types[0].name).length && orderFee.amount === 0;

const find = (tariff, code) => tariff.types.find((type) => type.code === code);

/** The tickets of an order that is being chosen. */
export class Tickets {
  /** `lines`: of the order that is exchanged; its seats are replaced in this order, each with its type, as on the server. */
  constructor(tariff, lines) {
    Object.assign(this, { tariff, lines, wanted: {} });
    this.choose([]);
  }

  get first() {
    return this.tariff.types[0];
  }

  /** Another tariff, for example after a change of prices. */
  price(tariff) {
    this.tariff = tariff;
    this.choose(this.seats);
  }

  /**
   * Sets the seats. The chosen types stay: with fewer seats, tickets of the default type go first, and what does not fit any more is
   * remembered for more seats.
   */
  choose(seats) {
    this.seats = seats;
    const counts = { [this.first.code]: seats.length };
    this.counts = this.lines ? countOf(this.kept()) : counts;
    for (let isMore = !this.lines; isMore; ) {
      isMore = false;
      for (const { code } of this.tariff.types.slice(1)) {
        while ((this.counts[code] ?? 0) < (this.wanted[code] ?? 0)) {
          const { counts } = this.step(code, 1);
          if (!counts) break;
          this.counts = counts;
          // A type that accompanies this one may fit now.
          isMore = true;
        }
      }
    }
  }

  /** The types that the seats of an exchange get. */
  kept() {
    const isSold = (line) => line && find(this.tariff, line.type);
    return this.seats.map((_, at) => (isSold(this.lines[at]) ? this.lines[at].type : this.first.code));
  }

  /** The numbers of tickets after one more (`by` 1) or less (-1) of a type, which the default type gives or takes: `{counts}`; otherwise why not: `{why, …}`. */
  step(code, by) {
    const { first, tariff } = this;
    const type = find(tariff, code);
    const counts = { ...this.counts, [code]: (this.counts[code] ?? 0) + by, [first.code]: this.counts[first.code] - by };
    if (counts[code] < 0) return { why: "none", type };
    if (counts[first.code] < 0) return { why: "all", type: first };
    // Fewer tickets of the default type are right also where there are still too many of it.
    const refused = refusal(tariff, by > 0 ? tariff.types.slice(1) : tariff.types, counts);
    if (refused) return refused;
    return place(tariff, codesOf(tariff, counts), this.seats) ? { counts } : { why: "seats", type };
  }

  /** Takes the numbers of tickets that `step` gave. */
  set(counts) {
    this.counts = counts;
    this.wanted = Object.fromEntries(Object.entries(counts).filter(([code, n]) => n > 0 && code !== this.first.code));
  }

  /** Why these tickets cannot be ordered, as `step` says it, or null. */
  refusal() {
    return refusal(this.tariff, this.tariff.types, this.counts);
  }

  /** `[{seat, type}]`, in the order of the seats; in an exchange in that of the lines. */
  list() {
    const codes = this.lines ? this.kept() : codesOf(this.tariff, this.counts);
    const placed = place(this.tariff, codes, this.seats) ?? this.seats;
    const tickets = placed.map((seat, at) => ({ seat: seat.id, type: codes[at] }));
    const order = this.seats.map((seat) => seat.id);
    return this.lines ? tickets : tickets.sort((a, b) => order.indexOf(a.seat) - order.indexOf(b.seat));
  }

  /** The tickets as lines of an order, at the prices first shown: `[{seat, type, name, price}]`. */
  priced() {
    const byId = new Map(this.seats.map((seat) => [seat.id, seat]));
    return this.list().map((ticket) => {
      const seat = byId.get(ticket.seat);
      const { name, prices } = find(this.tariff, ticket.type);
      // Where the type is not sold on this kind of seat, the server will say so.
      return { ...ticket, name, price: prices[seat.kind] ?? seat.price };
    });
  }

  /** The order's total, as the server computes it: an order of free tickets has no fee. */
  total() {
    const { currency, orderFee } = this.tariff;
    const amount = this.priced().reduce((sum, { price }) => sum + price.amount, 0);
    return { amount: amount > 0 ? amount + orderFee.amount : 0, currency };
  }
}

function countOf(codes) {
  const counts = {};
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

/** A code for each ticket, in the tariff's order. */
const codesOf = (tariff, counts) => tariff.types.flatMap(({ code }) => Array(counts[code] ?? 0).fill(code));

/** Which limit of these types the numbers of tickets break, or null. */
function refusal(tariff, types, counts) {
  for (const type of types) {
    const n = counts[type.code] ?? 0;
    if (n > (type.mostPerOrder ?? Infinity)) return { why: "most", type, n: type.mostPerOrder };
    const needs = type.accompanies;
    if (needs && n > (counts[needs] ?? 0)) return { why: "alone", type, other: find(tariff, needs) };
  }
  return null;
}

/**
 * A seat for each code, so that every type is sold on its kind of seat and the sum is the lowest; or null. Seats of one kind cost the
 * same, so only kinds are tried.
 */
function place(tariff, codes, seats) {
  const free = groupBy(seats, (seat) => seat.kind);
  const kinds = [...free.keys()];
  const known = new Map();
  /** The cheapest way for the codes from `at` on, with so many seats `left` of each kind. */
  const best = (at, left) => {
    if (at === codes.length) return { sum: 0 };
    const key = left.join();
    if (known.has(key)) return known.get(key);
    let found = null;
    for (const [index, kind] of kinds.entries()) {
      const price = find(tariff, codes[at])?.prices[kind];
      const rest = price && left[index] > 0 && best(at + 1, left.map((n, other) => (other === index ? n - 1 : n)));
      if (rest && (!found || price.amount + rest.sum < found.sum)) found = { sum: price.amount + rest.sum, kind, rest };
    }
    known.set(key, found);
    return found;
  };
  let way = best(0, kinds.map((kind) => free.get(kind).length));
  if (!way) return null;
  const placed = [];
  for (; way.rest; way = way.rest) placed.push(free.get(way.kind).shift());
  return placed;
}
