// The price cards: listed in the order in which they are tried, with when each applies; and which card applies at a time and over
// the week.

import { h, replace } from "../lib/dom.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { WEEKDAYS, week, weekdayName, whenText } from "./card-match.js";
import { act, everything, fresh, remove, table } from "./listing.js";
import { movers } from "./sequence.js";

const PATH = "/v1/price-cards";

/** Every card, in the order in which they are tried. */
export const readCards = () => everything(PATH);

/** The section of the page of prices. Without ticket types no card can be made. */
export function cardSection(cards, hasTypes) {
  const applying = new Set(week(cards).flatMap((row) => row.cards));
  const columns = [
    [t("staff.name"), (card) => [h("a", { href: address(card) }, card.name), !applying.has(card) && h("p", { class: "soft" }, t("staff.cards.hidden"))]],
    [t("staff.cards.when"), whenText],
    [t("staff.currency"), (card) => card.currency],
    [t("staff.order-in-list"), (card) => movers(cards, cards.indexOf(card), PATH, card.name)],
    [t("staff.actions"), (card) => h("div", { class: "row actions" },
      h("a", { class: "button small", href: `/staff/prices/new?from=${card.id}`, "aria-label": t("staff.cards.copy-of", { name: card.name }) }, t("staff.cards.copy")),
      deleteButton(card))],
  ];
  return h("section", { class: "stack" },
    h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h2", {}, t("staff.cards.title")), h("p", {}, t("staff.cards.about"))), hasTypes && h("a", { class: "button main", href: "/staff/prices/new" }, t("staff.cards.new"))),
    table(t("staff.cards.title"), columns, cards, t(hasTypes ? "staff.cards.none" : "staff.cards.no-types")),
    cards.length > 0 && [preview(), overview(cards)]);
}

const address = (card) => `/staff/prices/${card.id}`;

function deleteButton(card) {
  const made = act(t("staff.delete"), async () => {
    const answer = await ask(t("staff.cards.delete-ask", { name: card.name }), h("p", {}, t("staff.cards.delete-about")), [["no", t("staff.keep")], ["yes", t("staff.delete"), "grave"]]);
    if (answer !== "yes") return;
    await remove(`${PATH}/${card.id}`);
    notice(t("staff.deleted", { name: card.name }));
    await again();
  }, "small grave");
  made.setAttribute("aria-label", t("staff.cards.delete-of", { name: card.name }));
  return made;
}

/** Asks the server which card a showtime would get. */
function preview() {
  const answer = h("p", { class: "card-answer", role: "status" });
  const made = form({
    fields: h("div", { class: "two" },
      field("weekday", t("staff.cards.weekday"), { options: WEEKDAYS.map((day) => [day, weekdayName(day, "long")]), value: "TUESDAY" }),
      field("time", t("staff.time"), { type: "time", required: true, value: "17:30" })),
    label: t("staff.cards.ask"),
    work: async ({ weekday, time }) => {
      const { card } = await fresh(`${PATH}/match`, { weekday, time });
      const when = `${weekdayName(weekday)} ${time} → `;
      replace(answer, when, card ? h("a", { href: address(card) }, card.name) : t("staff.cards.no-match"));
    },
  });
  return h("section", { class: "card stack card-preview" }, h("h3", {}, t("staff.cards.preview")), made, answer);
}

/** Which card applies on each day, by the time at which a show begins. */
function overview(cards) {
  const columns = [
    [t("staff.cards.begins"), ({ from, until }) => t("staff.cards.between", { from, until })],
    ...WEEKDAYS.map((day, at) => [weekdayName(day), (row) => row.cards[at]?.name ?? h("span", { class: "soft" }, t("staff.cards.no-card"))]),
  ];
  return h("section", { class: "stack" }, h("h3", {}, t("staff.cards.week")), table(t("staff.cards.week"), columns, week(cards)));
}
