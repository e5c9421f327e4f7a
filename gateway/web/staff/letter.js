// One dead letter: the message, why it was parked, and the buttons to replay or drop it.

import { post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { full } from "../lib/format.js";
import { go } from "../lib/router.js";
import { isOwner } from "../lib/session.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { notice, message, problemText } from "../parts/notice.js";
import { act, fresh, head, remove } from "./listing.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function letter({ params, signal }) {
  const found = await fresh(`/v1/admin/dead-letters/${encodeURIComponent(params.sequence)}`, {}, { signal });
  const outcome = h("div", { "aria-live": "polite" });
  const pair = (key, value) => value && [h("dt", {}, t(key)), h("dd", {}, value)];
  const payload = typeof found.payload === "string" ? found.payload : JSON.stringify(found.payload, null, 2);
  return {
    title: t("staff.letters.one", { number: found.sequence }),
    node: h(
      "div",
      { class: "stack" },
      h("a", { class: "back", href: "/staff/letters" }, `← ${t("staff.place.letters")}`),
      head(t("staff.letters.one", { number: found.sequence }), h("code", {}, found.subject), isOwner() && [act(t("staff.letters.replay"), () => replay(found, outcome), "main"), act(t("staff.letters.drop"), () => drop(found), "grave")]),
      outcome,
      !isOwner() && message("", t("staff.letters.owner-only")),
      h("dl", { class: "pairs card" },
        pair("staff.letters.reason", found.reason),
        pair("staff.letters.consumer", found.consumer),
        pair("staff.mails.tries", String(found.attempts)),
        pair("staff.letters.parked", full(found.parkedAt, zone)),
        pair("staff.letters.event", found.eventId && h("code", {}, found.eventId)),
        pair("staff.letters.request", found.correlationId && h("code", {}, found.correlationId))),
      h("section", { class: "stack" }, h("h2", {}, t("staff.letters.payload")), h("pre", { class: "payload", tabindex: "0", role: "region", "aria-label": t("staff.letters.payload") }, payload ?? "–")),
    ),
  };
}

async function replay(found, outcome) {
  try {
    await post(`/v1/admin/dead-letters/${found.sequence}/replay`);
  } catch (problem) {
    // It is still a dead letter; the reason may have changed.
    replace(outcome, message("bad", t("staff.letters.again"), h("p", {}, problemText(problem))));
    return;
  }
  notice(t("staff.letters.handled", { subject: found.subject }));
  await go("/staff/letters");
}

async function drop(found) {
  const answer = await ask(t("staff.letters.drop-ask", { number: found.sequence }), h("p", {}, t("staff.letters.drop-about")), [["no", t("staff.keep")], ["yes", t("staff.letters.drop"), "grave"]]);
  if (answer !== "yes") return;
  await remove(`/v1/admin/dead-letters/${found.sequence}`);
  notice(t("staff.letters.dropped"));
  await go("/staff/letters");
}
