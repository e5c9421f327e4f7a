// Prices: the ticket types and the price cards.

import { h } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { head } from "./listing.js";
import { cardSection, readCards } from "./price-cards.js";
import { readTypes, typeSection } from "./ticket-types.js";

export default async function prices() {
  const [types, cards] = await Promise.all([readTypes(), readCards()]);
  return {
    title: t("staff.place.prices"),
    node: h("div", { class: "stack" }, head(t("staff.place.prices"), t("staff.prices-about")), cardSection(cards, types.length > 0), typeSection(types)),
  };
}
