// One price card: its prices, surcharges, fees, tax, and when it applies. Or a new card, or a copy of one.

import { Problem, post, put } from "../lib/api.js";
import { currencyCodes } from "../lib/currencies.js";
import { h } from "../lib/dom.js";
import { currencyName } from "../lib/format.js";
import { go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";
import { bodyOf, draftOf } from "./card-draft.js";
import { priceGrid } from "./card-grid.js";
import { WEEKDAYS, weekdayName } from "./card-match.js";
import { versioned } from "./changed.js";
import { fees, surcharges } from "./extras.js";
import { checkedIn, checks } from "./fields.js";
import { head } from "./listing.js";
import { readCards } from "./price-cards.js";
import { readTypes } from "./ticket-types.js";

const PATH = "/v1/price-cards";

export default async function card({ params, query }) {
  const [types, cards] = await Promise.all([readTypes(), readCards()]);
  const isNew = params.id === "new";
  const found = isNew ? null : find(cards, params.id);
  const source = isNew && cards.find((item) => item.id === query.from);
  const load = async () => find(await readCards(), params.id);
  // Last: a card that applies always must not hide the others.
  const position = Math.max(-1, ...cards.map((item) => item.position)) + 1;
  const first = source ? { ...source, name: "" } : null;
  const title = isNew ? t("staff.cards.new") : found.name;
  const editor = versioned({ found, draftOf: (item) => draftOf(item ?? first), load, make: (given) => cardForm({ ...given, types, position, isNew }) });
  return {
    title,
    node: h("div", { class: "stack" },
      h("a", { class: "back", href: "/staff/prices" }, `← ${t("staff.place.prices")}`),
      head(title, t("staff.card.about")),
      types.length ? editor : message("warn", t("staff.cards.no-types"))),
  };
}

function find(cards, id) {
  const found = cards.find((item) => item.id === id);
  if (!found) throw new Problem({ status: 404, code: "not-found" });
  return found;
}

function cardForm({ draft, save, redraw, types, position, isNew }) {
  const { currency } = draft;
  const grid = priceGrid(types, draft);
  const lists = { surcharges: surcharges(draft.surcharges, currency), fees: fees(draft.fees, currency) };
  const days = checks("weekdays", t("staff.card.weekdays"), WEEKDAYS.map((day) => [day, weekdayName(day)]), draft.weekdays);
  const section = (name, ...content) => h("section", { class: "card stack" }, h("h2", {}, t(`staff.card.${name}`)), h("p", { class: "soft" }, t(`staff.card.${name}-about`)), content);
  const percent = (part) => field(`tax.${part}`, t(`staff.card.tax-${part}`), { value: draft.tax[part], inputmode: "decimal", autocomplete: "off", required: true });
  const made = form({
    fields: [
      h("section", { class: "card stack" }, h("div", { class: "two" },
        field("name", t("staff.name"), { value: draft.name, required: true, maxlength: 60, autocomplete: "off" }),
        field("currency", t("staff.currency"), { options: currencyCodes().map((code) => [code, currencyName(code)]), value: currency }))),
      section("prices", grid.node),
      section("surcharges", lists.surcharges.node),
      section("fees", lists.fees.node),
      section("tax", h("div", { class: "two" }, percent("tickets"), percent("fees"), field("tax.included", t("staff.card.tax-how"), { options: [["true", t("staff.card.tax-included")], ["false", t("staff.card.tax-on-top")]], value: draft.tax.included }))),
      section("when", days, h("div", { class: "two" },
        field("from", t("staff.card.from"), { type: "time", value: draft.from, hint: t("staff.card.from-hint") }),
        field("until", t("staff.card.until"), { type: "time", value: draft.until, hint: t("staff.card.until-hint") }))),
    ],
    // A type that has no row here.
    place: (name) => /^prices\.(\w+)/.exec(name ?? "")?.[1],
    label: t(isNew ? "staff.card.create" : "staff.save"),
    work: async () => {
      const body = bodyOf(read());
      const saved = await save((current) => (current ? put(`${PATH}/${current.id}`, { ...body, position: current.position, version: current.version }) : post(PATH, { ...body, position })));
      if (!saved) return;
      notice(t("staff.saved", { name: saved.name }));
      await go("/staff/prices");
    },
  });
  const value = (name) => made.elements[name].value;
  const read = () => ({
    name: value("name"),
    currency: value("currency"),
    cells: grid.read(),
    surcharges: lists.surcharges.read(),
    fees: lists.fees.read(),
    tax: { tickets: value("tax.tickets"), fees: value("tax.fees"), included: value("tax.included") },
    weekdays: checkedIn(days),
    from: value("from"),
    until: value("until"),
  });
  made.elements.currency.addEventListener("change", () => {
    // The labels name the currency.
    redraw();
    document.querySelector("main [name=currency]").focus();
  });
  return { node: made, read };
}
