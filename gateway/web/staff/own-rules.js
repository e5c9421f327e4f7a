// What a showtime has otherwise than the cinema: the refund policy and the end of web sales. Empty fields are as the cinema's.

import { patch } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { invalid } from "../parts/wrong.js";

/** The server's bounds. */
const UNTIL_MAX = 525600;
const CUTOFF_MAX = 10080;

/** The form, folded; `close` closes the dialog that it is in. */
export function ownRules(showtime, close) {
  const { refundPolicy, salesCutoffs } = showtime.overrides ?? {};
  const number = (name, key, max, value) => field(name, t(`staff.site.${key}`), { type: "number", min: 0, max, value: value ?? "" });
  const made = form({
    fields: [
      h("p", { class: "soft" }, t("staff.own-rules.about")),
      h("div", { class: "two" },
        number("overrides.refundPolicy.untilMinutes", "until", UNTIL_MAX, refundPolicy?.untilMinutes),
        number("overrides.refundPolicy.percent", "percent", 100, refundPolicy?.percent),
        number("overrides.salesCutoffs.webMinutes", "cutoff", CUTOFF_MAX, salesCutoffs?.webMinutes)),
    ],
    label: t("staff.save"),
    work: async (values) => {
      await patch(`/v1/showtimes/${showtime.id}`, { overrides: overridesOf(values) });
      close();
      notice(t("staff.own-rules.done"));
      await again();
    },
  });
  return h("details", { class: "fold" }, h("summary", {}, t("staff.own-rules.title")), made);
}

/** A refund policy needs both of its numbers. */
function overridesOf(values) {
  const given = (name) => (values[`overrides.${name}`].trim() ? Number(values[`overrides.${name}`]) : undefined);
  const [untilMinutes, percent, webMinutes] = ["refundPolicy.untilMinutes", "refundPolicy.percent", "salesCutoffs.webMinutes"].map(given);
  const one = untilMinutes === undefined ? "untilMinutes" : "percent";
  if ((untilMinutes === undefined) !== (percent === undefined)) throw invalid({ field: `overrides.refundPolicy.${one}`, code: "required" });
  return {
    refundPolicy: percent === undefined ? undefined : { untilMinutes, percent },
    salesCutoffs: webMinutes === undefined ? undefined : { webMinutes },
  };
}
