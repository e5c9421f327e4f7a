// Whether the hall of a showtime is sold now, above the hall: the way to choose the best seats, or a sentence that says why no seat
// can be chosen. When the sale begins or ends while the page is open, it changes without a reload.

import { h, replace } from "../lib/dom.js";
import { full, time } from "../lib/format.js";
import { onUser } from "../lib/session.js";
import { t } from "../lib/text.js";
import { message } from "./notice.js";
import { saleChangesIn, saleOf } from "./showing.js";

/** The clock is read at least so often (ms): a device that sleeps stops its timers. */
const READ_MS = 30_000;

/**
 * `open()` makes what is shown while seats are sold; `changed(isOpen, before)` is called when that begins or ends, with the state
 * before as `saleOf` names it, until `signal` aborts.
 */
export function sale(showtime, { signal, open, changed }) {
  const node = h("div", { class: "sale" });
  let state;
  let timer;
  const draw = () => {
    const next = saleOf(showtime);
    if (next === state) return;
    const before = state;
    state = next;
    const isOpen = next === "open";
    replace(node, isOpen ? open() : message("warn", why(showtime, state)));
    if (before !== undefined && isOpen !== (before === "open")) changed(isOpen, before);
  };
  const watch = () => {
    draw();
    const wait = saleChangesIn(showtime);
    clearTimeout(timer);
    if (wait !== null && !signal.aborted) timer = setTimeout(watch, Math.min(wait, READ_MS));
  };
  // Staff sell until the start.
  const forget = onUser(watch);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    forget();
  });
  watch();
  return { node, isOpen: () => state === "open", why: () => why(showtime, state) };
}

/** Why no seat can be chosen, as a sentence. */
function why(showtime, state) {
  const { timeZone } = showtime;
  switch (state) {
    case "not-yet": return t("showing.not-yet", { at: full(showtime.onSaleAt, timeZone) });
    case "ended": return t("showing.ended", { at: time(showtime.salesEndAt, timeZone) });
    case "cancelled": return t("problem.showtime-cancelled");
    default: return t("problem.showtime-started");
  }
}
