// Who is coming: how many tickets of each type, with a button for one more and one less of each. There are as many tickets as chosen
// seats, so each step takes from the default type or gives back to it. A button that can do nothing says why when it is pressed.

import { h, replace, unique } from "../lib/dom.js";
import { money } from "../lib/format.js";
import { price } from "../lib/price.js";
import { nameIn, t } from "../lib/text.js";
import { countedText } from "./bill.js";

/** The types are behind a button, so that they do not cover the hall; but on such a screen so many of them need only one line. */
const WIDE = "(min-width: 64rem) and (min-height: 40rem)";
const IN_LINE = 3;

/** The name of a ticket type; types of plain prices have none. */
export const typeName = (type) => nameIn(type.name) || type.code;

/** Why a step is not possible, as a sentence. */
export function whyText({ why, type, other, n }) {
  return t(`types.why-${why}`, { type: typeName(type), other: other ? typeName(other) : type.accompanies, n });
}

/** The part of the basket in which types are chosen. Calls `changed()` after a step and `refused(sentence)` instead of one. */
export function who(tickets, { changed, refused }) {
  const listId = unique("who");
  const summary = h("span", {});
  const toggle = h("button", { class: "who-toggle", type: "button", "aria-controls": listId }, h("span", {}, t("types.title")), summary);
  const types = h("ul", { class: "who-types", id: listId, role: "list" });
  const why = h("p", { class: "who-why" });
  const node = h("section", { class: "who", hidden: true, "aria-label": t("types.title") }, h("h2", {}, toggle), types, why);
  const rows = new Map();
  let shown;

  const open = (is) => {
    node.dataset.open = String(is);
    toggle.setAttribute("aria-expanded", String(is));
  };
  toggle.addEventListener("click", () => open(node.dataset.open !== "true"));
  open(matchMedia(WIDE).matches && tickets.tariff.types.length <= IN_LINE);

  function press(code, by) {
    const result = tickets.step(code, by);
    why.textContent = result.counts ? "" : whyText(result);
    if (!result.counts) return refused(why.textContent);
    tickets.set(result.counts);
    changed();
  }

  /** A row, made once: its buttons keep the focus while the numbers change. */
  function row(type, isFirst) {
    const count = h("b", {});
    const cost = h("span", {});
    const button = (by, sign, key) => h("button", { class: "button step", type: "button", "aria-label": t(key, { type: typeName(type) }), on: { click: () => press(type.code, by) } }, sign);
    const [less, more] = isFirst ? [] : [button(-1, "−", "types.less"), button(1, "+", "types.more")];
    const about = h("span", { class: "who-name" }, h("b", {}, typeName(type)), cost, nameIn(type.proof) && h("small", { class: "soft" }, nameIn(type.proof)));
    rows.set(type.code, { count, cost, less, more });
    return h("li", {}, about, h("span", { class: "who-count" }, less, count, more));
  }

  function draw() {
    const { tariff, counts, seats } = tickets;
    node.hidden = seats.length === 0 || tariff.types.length === 1;
    if (shown !== tariff) {
      shown = tariff;
      rows.clear();
      replace(types, tariff.types.map((type, at) => row(type, at === 0)));
    }
    summary.textContent = countedText(tariff.types.map((type) => [counts[type.code] ?? 0, typeName(type)]));
    for (const type of tariff.types) {
      const { count, cost, less, more } = rows.get(type.code);
      count.textContent = String(counts[type.code] ?? 0);
      cost.textContent = costOf(type, seats);
      less?.setAttribute("aria-disabled", String(!tickets.step(type.code, -1).counts));
      more?.setAttribute("aria-disabled", String(!tickets.step(type.code, 1).counts));
    }
    why.textContent = "";
  }

  return { node, draw };
}

/** What a ticket of a type costs on the chosen seats. */
function costOf({ prices }, seats) {
  const sold = seats.map((seat) => prices[seat.kind]).filter(Boolean);
  if (!sold.length) return t("types.not-here");
  const least = sold.reduce((a, b) => (b.amount < a.amount ? b : a));
  return sold.every(({ amount }) => amount === least.amount) ? price(least) : t("times.from", { price: money(least) });
}
