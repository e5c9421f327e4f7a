// The staff pages: checks the role, draws the navigation, and loads the page of the address. Styles and modules of the
// staff are fetched here, so that moviegoers never load them.

import { Problem } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { isStaff, restore, user } from "../lib/session.js";
import { t } from "../lib/text.js";
import { message } from "../parts/notice.js";
import lost from "./lost.js";

/** The staff pages: address, entry in the navigation, module. */
const PAGES = [
  ["", "tonight", () => import("../staff/tonight.js")],
  ["showtimes", "showtimes", () => import("../staff/showtimes.js")],
  ["movies", "movies", () => import("../staff/movies.js")],
  ["movies/:id", "movies", () => import("../staff/movie.js")],
  ["genres", "genres", () => import("../staff/genres.js")],
  ["halls", "halls", () => import("../staff/halls.js")],
  ["halls/:id", "halls", () => import("../staff/layout.js")],
  ["prices", "prices", () => import("../staff/prices.js")],
  ["prices/:id", "prices", () => import("../staff/card.js")],
  ["site", "site", () => import("../staff/site.js")],
  ["sales", "sales", () => import("../staff/sales.js")],
  ["reports", "reports", () => import("../staff/reports.js")],
  ["orders", "orders", () => import("../staff/orders.js")],
  ["orders/:id", "orders", () => import("../staff/order.js")],
  ["holds", "holds", () => import("../staff/holds.js")],
  ["people", "people", () => import("../staff/people.js")],
  ["mails", "mails", () => import("../staff/mails.js")],
  ["operations", "technical", () => import("../staff/operations.js")],
  ["letters", "technical", () => import("../staff/letters.js")],
  ["letters/:sequence", "technical", () => import("../staff/letter.js")],
];
const PLACES = ["tonight", "showtimes", "movies", "genres", "halls", "prices", "site", "sales", "reports", "orders", "holds", "people", "mails", "technical"];
/** Entries whose address is not their name. */
const ADDRESSES = { tonight: "/staff", technical: "/staff/operations" };

export default async function staff({ params, query, signal }) {
  await Promise.all([restore(), loadStyles()]);
  if (!user()) throw new Problem({ status: 401, code: "token-missing" });
  if (!isStaff()) return single(t("frame.staff"), message("warn", t("staff.not-you"), h("p", {}, t("staff.not-you-text"))));
  // The schedule was at this address before.
  const rest = !params.rest && query.date ? "showtimes" : (params.rest ?? "");
  const found = find(rest);
  if (!found) return lost();
  const { default: make } = await found.load();
  const page = await make({ params: found.params, query, signal });
  const nav = places(found.place);
  const onShow = () => {
    // On a phone the navigation scrolls sideways.
    const link = nav.querySelector("[aria-current]");
    nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
    page.onShow?.();
  };
  return { ...page, node: h("div", { class: "staff" }, nav, h("div", { class: "staff-page" }, page.node)), onShow };
}

function find(rest) {
  const parts = rest.split("/").filter(Boolean);
  for (const [path, place, load] of PAGES) {
    const wanted = path.split("/").filter(Boolean);
    if (wanted.length !== parts.length) continue;
    if (!wanted.every((part, at) => part.startsWith(":") || part === parts[at])) continue;
    const given = wanted.map((part, at) => [part.slice(1), decodeURIComponent(parts[at])]);
    return { place, load, params: Object.fromEntries(given.filter((_, at) => wanted[at].startsWith(":"))) };
  }
}

function places(current) {
  const link = (name) => h("a", { href: ADDRESSES[name] ?? `/staff/${name}`, "aria-current": name === current ? "page" : undefined }, t(`staff.place.${name}`));
  return h("nav", { class: "staff-places", "aria-label": t("staff.places") }, PLACES.map(link), h("a", { href: "/door" }, t("staff.place.door")));
}

function single(title, ...content) {
  return { title, node: h("div", { class: "stack" }, h("h1", { tabindex: "-1" }, title), content) };
}

let sheet;

/** Loads the staff's style sheet. */
export function loadStyles() {
  sheet ??= new Promise((resolve) => {
    const link = h("link", { rel: "stylesheet", href: new URL("../style/staff.css", import.meta.url).href });
    // If it cannot be loaded, the page works without styles.
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
    document.head.append(link);
  });
  return sheet;
}
