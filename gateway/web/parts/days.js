// Days to choose from, as links: today and tomorrow by name, the others by weekday and date.

import { h } from "../lib/dom.js";
import { dateParts, later } from "../lib/format.js";
import { t } from "../lib/text.js";

/** `days` are dates, `now` is today's, `chosen` the selected one; `href(date)` is the link of a day. */
export function days({ days, now, chosen, href, label }) {
  const link = (date) => {
    const parts = dateParts(date);
    const near = date === now ? t("days.today") : date === later(now, 1) ? t("days.tomorrow") : parts.weekday;
    return h(
      "a",
      { class: "choice", href: href(date), "aria-current": date === chosen ? "date" : undefined, dataset: { date } },
      h("small", {}, near),
      h("b", {}, parts.short),
    );
  };
  return h("nav", { class: "strip", "aria-label": label }, days.map(link));
}
