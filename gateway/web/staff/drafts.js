// Drafts: showtimes that customers do not see. Published one by one from the schedule, or several at once from this dialog.

import { post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { checkedIn, checks } from "./fields.js";
import { act, everything, sheet } from "./listing.js";

/** As many as one request may publish. */
const PUBLISHED_MAX = 200;

/** Opens the dialog with all drafts to come. */
export async function publishDrafts() {
  const drafts = await everything("/v1/admin/showtimes", { status: "DRAFT" });
  if (!drafts.length) return notice(t("staff.drafts.none"));
  const named = (item) => `${moment(item.startsAt, item.timeZone)} · ${item.movieTitle} · ${item.auditoriumName}`;
  const choice = checks("ids", t("staff.drafts.which"), drafts.map((item) => [item.id, named(item)]), drafts.map((item) => item.id));
  const made = form({
    fields: [h("p", { class: "soft" }, t("staff.drafts.about")), choice],
    label: t("staff.drafts.action"),
    work: async () => {
      const done = await publish(checkedIn(choice));
      close();
      notice(t("staff.drafts.done", { n: done }));
      await again();
    },
  });
  const { close } = sheet(t("staff.drafts.title"), made);
}

/** Publishes them, in as many requests as it needs. Returns how many were drafts until now. */
async function publish(ids) {
  let done = 0;
  for (let at = 0; at === 0 || at < ids.length; at += PUBLISHED_MAX) {
    const { published } = await post("/v1/showtimes/publish", { ids: ids.slice(at, at + PUBLISHED_MAX) });
    done += published.length;
  }
  return done;
}

/** The button that publishes one draft. */
export function publishOne(showtime, close) {
  return act(t("staff.drafts.publish"), async () => {
    await post(`/v1/showtimes/${showtime.id}/publish`);
    close();
    notice(t("staff.showtimes.made", { title: showtime.movieTitle, at: moment(showtime.startsAt, showtime.timeZone) }));
    await again();
  }, "main");
}
