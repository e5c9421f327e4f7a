// All auditoriums, each with a small picture of its layout.

import { h, s } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { everything, head } from "./listing.js";

export default async function halls() {
  const found = (await everything("/v1/auditoriums")).sort((a, b) => a.name.localeCompare(b.name));
  return {
    title: t("staff.place.halls"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.halls"), null, h("a", { class: "button main", href: "/staff/halls/new" }, t("staff.halls.new"))),
      found.length === 0 && h("p", { class: "card soft" }, t("staff.nothing")),
      h("ul", { class: "hall-cards", role: "list" }, found.map(card)),
    ),
  };
}

function card(hall) {
  const seats = hall.rows.flatMap((row) => row.seats).filter((seat) => seat.kind !== "GAP").length;
  return h("li", {}, h("a", { class: "card hall-card", href: `/staff/halls/${hall.id}` }, plan(hall), h("b", {}, hall.name), h("span", { class: "soft" }, t("staff.halls.size", { n: seats, rows: hall.rows.length }))));
}

/** A layout as a picture: a square per seat, coloured by its kind. */
function plan(hall) {
  const columns = hall.rows.flatMap((row) => row.seats.map((seat) => seat.column));
  const [least, most] = [Math.min(...columns), Math.max(...columns)];
  const squares = hall.rows.flatMap((row, at) => row.seats.filter((seat) => seat.kind !== "GAP").map((seat) => s("rect", { x: (seat.column - least) * 4, y: at * 4 + 5, width: 3, height: 3, rx: 0.8, "data-kind": seat.kind })));
  return s("svg", { class: "plan", viewBox: `0 0 ${(most - least + 1) * 4} ${hall.rows.length * 4 + 5}`, "aria-hidden": "true" }, s("rect", { class: "plan-screen", x: 4, y: 0, width: Math.max(4, (most - least - 1) * 4), height: 1.2, rx: 0.6 }), squares);
}
