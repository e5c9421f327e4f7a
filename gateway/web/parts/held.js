// The bar with the held seats on every page: the time left, the way to pay, and giving the seats back. The time is in the tab's
// title, too.

import { h, replace } from "../lib/dom.js";
import { list } from "../lib/format.js";
import { giveBack, holds, onHolds, readHolds, untilEnded } from "../lib/holds.js";
import { t } from "../lib/text.js";
import { setTitleClock } from "../lib/title.js";
import { countdown } from "./countdown.js";
import { watchLeaving } from "./leaving.js";
import { notice, problemText } from "./notice.js";

const bar = h("section", { class: "held-bar", hidden: true });
/** What the bar shows, so that it is drawn only when that changes. */
let drawn = "";
let clock = new AbortController();
/** Orders whose time is over. */
const ends = new Set();

onHolds(() => heldBar());
document.addEventListener("visibilitychange", () => !document.hidden && readHolds());

/** The bar for the current address. The page of an order has its own clock and buttons. */
export function heldBar() {
  const all = holds();
  const [first] = all;
  if (all.length) watchLeaving();
  const isOwnPage = location.pathname === `/reservations/${first?.id}`;
  const state = JSON.stringify([all, isOwnPage, t("held.label")]);
  if (state === drawn) return bar;
  drawn = state;
  clock.abort();
  clock = new AbortController();
  bar.hidden = !first || isOwnPage;
  bar.setAttribute("aria-label", t("held.label"));
  setTitleClock("");
  replace(bar, first && content(first, all.length - 1));
  return bar;
}

function content(hold, more) {
  const left = countdown(hold.expiresAt, { signal: clock.signal, words: hold.isFree ? "hold.left-free" : "hold.left", tick: setTitleClock, over: () => ending(hold) });
  const back = h("button", { class: "button small", type: "button", on: { click: () => release(hold, back) } }, t("held.give-back"));
  return h("div", { class: "held-row" },
    left,
    h("span", { class: "held-words" }, `${list(hold.seats)} · ${hold.movieTitle}`),
    more > 0 && h("a", { href: "/tickets" }, `+${more}`, h("span", { class: "unseen" }, ` ${t("held.more", { n: more })}`)),
    h("a", { class: "button small main", href: `/reservations/${hold.id}` }, t(hold.isFree ? "pay.free-action" : "held.pay")),
    back);
}

async function release(hold, button) {
  button.disabled = true;
  try {
    await giveBack(hold.id);
    notice(t("hold.given-back"));
  } catch (problem) {
    notice(problemText(problem), "bad");
    readHolds();
  } finally {
    button.disabled = false;
  }
}

/** The time is over: the server decides what becomes of the order, which may just have been paid. */
async function ending(hold) {
  setTitleClock("");
  if (ends.has(hold.id)) return;
  ends.add(hold.id);
  const order = await untilEnded(hold.id);
  const isShown = location.pathname === `/reservations/${hold.id}`;
  if (order?.reason === "HOLD_EXPIRED" && !isShown) notice(t("held.over", { n: hold.seats.length, seats: list(hold.seats) }));
}
