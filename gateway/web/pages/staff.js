// The staff pages: checks the role, draws the navigation, and loads the page of the address. Texts, styles and modules of
// the staff are fetched here, so that moviegoers never load them.

import { Problem } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { isStaff, restore, user } from "../lib/session.js";
import { extend, t } from "../lib/text.js";
import { message } from "../parts/notice.js";
import de from "../text/staff-de.js";
import en from "../text/staff-en.js";

extend({ en, de });

/** The staff pages: address, entry in the navigation, module. */
const PAGES = [
  ["", "showtimes", () => import("../staff/showtimes.js")],
  ["movies", "movies", () => import("../staff/movies.js")],
  ["movies/:id", "movies", () => import("../staff/movie.js")],
  ["genres", "genres", () => import("../staff/genres.js")],
  ["halls", "halls", () => import("../staff/halls.js")],
  ["halls/:id", "halls", () => import("../staff/layout.js")],
  ["sales", "sales", () => import("../staff/sales.js")],
  ["orders", "orders", () => import("../staff/orders.js")],
  ["orders/:id", "orders", () => import("../staff/order.js")],
  ["holds", "holds", () => import("../staff/holds.js")],
  ["people", "people", () => import("../staff/people.js")],
  ["mails", "mails", () => import("../staff/mails.js")],
  ["operations", "operations", () => import("../staff/operations.js")],
  ["letters", "letters", () => import("../staff/letters.js")],
  ["letters/:sequence", "letters", () => import("../staff/letter.js")],
];
const PLACES = ["showtimes", "movies", "genres", "halls", "sales", "orders", "holds", "people", "mails", "operations", "letters"];

export default async function staff({ params, query, signal }) {
  await Promise.all([restore(), loadStyles()]);
  if (!user()) throw new Problem({ status: 401, code: "token-missing" });
  if (!isStaff()) return single(t("frame.staff"), message("warn", t("staff.not-you"), h("p", {}, t("staff.not-you-text"))));
  const found = find(params.rest ?? "");
  if (!found) return (await import("./lost.js")).default({});
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
  const link = (name) => h("a", { href: name === "showtimes" ? "/staff" : `/staff/${name}`, "aria-current": name === current ? "page" : undefined }, t(`staff.place.${name}`));
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
