// How a showtime is priced: by the price card that applies, by a chosen one, or with plain prices. Where there are no cards: with plain
// prices.

import { readPrice, refuse, writeAmount } from "../lib/amount.js";
import { currency as rulesOf, currencyCodes, defaultCurrency } from "../lib/currencies.js";
import { h, replace } from "../lib/dom.js";
import { currencyName, list, money } from "../lib/format.js";
import { nameIn, t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { message } from "../parts/notice.js";
import { invalid } from "../parts/wrong.js";
import { cardAt, weekdayName } from "./card-match.js";
import { checkedIn, checks } from "./fields.js";

export const KINDS = ["STANDARD", "LOVESEAT", "WHEELCHAIR", "COMPANION"];
/**
 * Suggested prices for a new auditorium, in multiples of the currency's least price: in euros 12, 16 and 6. The least price is worth
 * about half a euro in most currencies.
 */
const USUAL = { STANDARD: 24, LOVESEAT: 32, WHEELCHAIR: 24, COMPANION: 12 };
/** The most times that are listed for a card. */
const TIMES_SHOWN = 7;

/** The kinds of seat in an auditorium. */
const kindsOf = (hall) => KINDS.filter((kind) => hall.rows.some((row) => row.seats.some((seat) => seat.kind === kind)));

/** Fields for the price of each kind. `prices` are the current prices; all are in `currency`. */
export function priceFields(hall, prices = {}, currency = Object.values(prices)[0]?.currency ?? defaultCurrency()) {
  return h("fieldset", { class: "field prices", dataset: { field: "prices" } }, h("legend", {}, t("staff.prices")), kindsOf(hall).map((kind) => {
    const amount = prices[kind]?.currency === currency ? prices[kind].amount : USUAL[kind] * rulesOf(currency).least;
    const price = field(`price-${kind}`, `${t(`kind.${kind}`)} (${currency})`, { value: writeAmount(amount, currency), inputmode: "decimal", autocomplete: "off", dataset: { kind, currency } });
    // The server names the field `prices.STANDARD`.
    return h("div", { dataset: { field: `prices.${kind}` } }, price);
  }));
}

/** The prices in those fields; throws a problem with an explanation at each invalid one. */
export function pricesIn(box) {
  const read = [...box.querySelectorAll("[data-kind]")].map(({ value, dataset: { kind, currency } }) => ({ kind, currency, ...readPrice(value, currency) }));
  const wrong = read.filter((item) => item.wrong);
  if (wrong.length) refuse(wrong.map((item) => [`price-${item.kind}`, item.wrong]));
  return Object.fromEntries(read.map(({ kind, currency, amount }) => [kind, { amount, currency }]));
}

/** Names of surcharges; codes that the card does not have any more stay as they are. */
export const surchargeNames = (codes, card) => list(codes.map((code) => nameIn(card?.surcharges.find((item) => item.code === code)?.name) || code));

/** The values of the choice beside the ids of cards. */
const AUTOMATIC = "automatic";
const PLAIN = "plain";

/**
 * The fields in a form. `cards` in the server's order; `hall()`, `movie()` and `starts()` (a list of `{weekday, time}`) are what the form
 * has by now; `usual(hall)` are prices to suggest. A change of prices has `choices` without some of the three, `card` and `surcharges`.
 */
export class Pricing {
  constructor({ choices = [AUTOMATIC, "card", PLAIN], cards, card, surcharges = [], ...form }) {
    Object.assign(this, { cards, surcharges, ...form });
    const options = [
      choices.includes(AUTOMATIC) && [AUTOMATIC, t("staff.pricing.automatic")],
      ...cards.map((item) => [item.id, item.name]),
      choices.includes(PLAIN) && [PLAIN, t("staff.pricing.plain")],
    ].filter(Boolean);
    this.choice = field("priceCardId", t(choices.length > 1 ? "staff.prices" : "staff.cards.one"), { options, value: card?.id ?? options[0][0] });
    this.detail = h("div", { class: "stack", "aria-live": "polite" });
    this.node = h("div", { class: "stack" }, cards.length > 0 && this.choice, this.detail);
  }

  get chosen() {
    return this.cards.length ? this.choice.querySelector("select").value : PLAIN;
  }

  /** Shows what the form says by now. Called at each change in the form. */
  draw() {
    const isPlain = this.chosen === PLAIN;
    const state = JSON.stringify([this.chosen, this.hall().id, isPlain || [this.movie()?.id, this.starts()]]);
    // What was typed or chosen since stays.
    if (state === this.drawn) return;
    this.drawn = state;
    if (isPlain) this.drawPlain();
    else this.drawCards();
  }

  drawPlain() {
    const hall = this.hall();
    const prices = h("div", {}, priceFields(hall, this.usual(hall), this.currency ?? defaultCurrency()));
    const currencies = field("currency", t("staff.currency"), { options: currencyCodes().map((code) => [code, currencyName(code)]), value: this.currency ?? defaultCurrency() });
    currencies.querySelector("select").addEventListener("change", ({ target }) => {
      this.currency = target.value;
      replace(prices, priceFields(hall, this.usual(hall), this.currency));
    });
    replace(this.detail, currencies, prices);
  }

  drawCards() {
    // What was ticked stays where the card changes.
    if (this.ticks) this.surcharges = checkedIn(this.ticks);
    const card = this.cards.find((item) => item.id === this.chosen);
    const applying = card ? new Map([[card, this.starts()]]) : this.applying();
    const found = [...applying.keys()].filter(Boolean);
    this.ticks = surchargeChoice(found, this.surcharges);
    replace(this.detail, !card && answers(applying), this.ticks, byThemselves(found, this.movie()));
  }

  /** The card of each start; the starts without a card are under undefined. */
  applying() {
    const found = new Map();
    for (const start of this.starts()) {
      const card = cardAt(this.cards, start.weekday, start.time);
      found.set(card, [...(found.get(card) ?? []), start]);
    }
    return found;
  }

  /** Calls `send(the part of the request)`; what is refused about a card is shown at its choice. */
  async send(send) {
    try {
      return await send(this.body());
    } catch (problem) {
      const missing = problem.code === "price-card-missing" ? t("problem.price-card-missing") : this.chosen !== PLAIN && noPrice(problem);
      throw missing ? invalid({ field: "priceCardId", text: missing }) : problem;
    }
  }

  /** Throws a problem where a price cannot be read. */
  body() {
    const { chosen } = this;
    if (chosen === PLAIN) return { prices: pricesIn(this.detail) };
    const surcharges = checkedIn(this.ticks);
    return { ...(chosen !== AUTOMATIC && { priceCardId: chosen }), ...(surcharges.length > 0 && { surcharges }) };
  }
}

/** A sentence, if the card has no price for a kind of seat in the auditorium. */
function noPrice({ errors = [] }) {
  const kind = errors.find((error) => error.code === "price-missing")?.kind;
  return kind && t("staff.pricing.kind-missing", { kind: t(`kind.${kind}`) });
}

/** Which cards apply, and when if they are several. */
function answers(applying) {
  const times = (starts) => {
    const shown = starts.slice(0, TIMES_SHOWN).map(({ weekday, time }) => `${weekdayName(weekday)} ${time}`);
    return starts.length > TIMES_SHOWN ? `${shown.join(", ")} …` : list(shown);
  };
  const missing = applying.get(undefined);
  const cards = [...applying].filter(([card]) => card);
  const line = ([card, starts]) => t(applying.size === 1 ? "staff.pricing.applies" : "staff.pricing.applies-at", { card: card.name, times: times(starts) });
  return [
    cards.length > 0 && h("div", {}, cards.map((item) => h("p", { class: "applying" }, line(item)))),
    missing && message("warn", t("staff.pricing.none", { times: times(missing) })),
  ];
}

const amountOf = (surcharge, card) => `${nameIn(surcharge.name)} (+ ${money({ amount: surcharge.amount, currency: card.currency })})`;

/** The surcharges that staff choose: those which each of the cards has. */
function surchargeChoice(cards, chosen) {
  const codes = (card) => card.surcharges.filter((item) => item.minutesOver === undefined).map((item) => item.code);
  const everywhere = cards.length ? codes(cards[0]).filter((code) => cards.every((card) => codes(card).includes(code))) : [];
  const some = cards.flatMap((card) => card.surcharges.filter((item) => item.minutesOver === undefined && !everywhere.includes(item.code)));
  const options = everywhere.map((code) => [code, amountOf(cards[0].surcharges.find((item) => item.code === code), cards[0])]);
  const rest = [...new Set(some.map((item) => nameIn(item.name)))];
  return h("div", { class: "stack", dataset: { field: "surcharges" } },
    options.length > 0 && checks("surcharges", t("staff.pricing.surcharges"), options, chosen),
    rest.length > 0 && h("p", { class: "soft" }, t("staff.pricing.not-everywhere", { names: list(rest) })));
}

/** The surcharges that apply by the movie's length. */
function byThemselves(cards, movie) {
  const long = cards.flatMap((card) => card.surcharges.filter((item) => movie && item.minutesOver < movie.durationMinutes).map((item) => amountOf(item, card)));
  return long.length > 0 && h("p", { class: "soft" }, t("staff.pricing.by-itself", { names: list([...new Set(long)]) }));
}
