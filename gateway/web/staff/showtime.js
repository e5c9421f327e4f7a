// One showtime: occupancy, and changes. The consequences of a change are shown before it is made.

import { patch } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, full, money, time } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field, form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";
import { instant, wall } from "./clock.js";
import { act, fresh, remove, sheet } from "./listing.js";
import { priceFields, pricesIn } from "./schedule.js";

/** Opens the dialog of a showtime. */
export async function showShowtime(scene, showtime) {
  const hall = scene.halls.find((item) => item.id === showtime.auditoriumId);
  const sold = scene.sold.get(showtime.id);
  const facts = h("dl", { class: "pairs" },
    h("dt", {}, t("staff.when")), h("dd", {}, `${full(showtime.startsAt, showtime.timeZone)} – ${time(showtime.endsAt, showtime.timeZone)}`),
    h("dt", {}, t("staff.hall")), h("dd", {}, showtime.auditoriumName),
    sold && [h("dt", {}, t("staff.full")), h("dd", {}, t("staff.full-words", sold))],
    h("dt", {}, t("staff.prices")), h("dd", {}, Object.entries(showtime.prices).map(([kind, price]) => `${t(`kind.${kind}`)} ${money(price)}`).join(", ")));
  const leave = (path) => () => {
    opened.close();
    return go(path);
  };
  const isOpen = showtime.status === "ON_SALE" && !isPast(showtime.startsAt);
  const opened = sheet(showtime.movieTitle, [
    facts,
    h("div", { class: "row" },
      isOpen && act(t("staff.showtimes.seats"), leave(`/showtimes/${showtime.id}`)),
      act(t("staff.showtimes.orders"), leave(`/staff/orders?showtimeId=${showtime.id}`))),
    showtime.status === "CANCELLED" && (await ended(showtime)),
    isOpen && hall && [move(showtime, sold, () => opened.close()), prices(showtime, hall, () => opened.close()), cancel(showtime, () => opened.close())],
  ]);
}

function move(showtime, sold, close) {
  const taken = (sold?.sold ?? 0) + (sold?.held ?? 0);
  const zone = showtime.timeZone;
  const made = form({
    fields: [
      taken > 0 ? message("warn", t("staff.move.sold", { n: taken })) : h("p", { class: "soft" }, t("staff.move.free")),
      h("div", { class: "two" }, field("date", t("staff.date"), { type: "date", value: dateOf(showtime.startsAt, zone) }), h("div", { dataset: { field: "startsAt" } }, field("time", t("staff.time"), { type: "time", value: wall(showtime.startsAt, zone) }))),
    ],
    label: t("staff.move.action"),
    work: async (values) => {
      const moved = await patch(`/v1/showtimes/${showtime.id}`, { startsAt: instant(values.date, values.time, zone)?.toISOString() ?? "" });
      close();
      notice(t("staff.move.done", { at: full(moved.startsAt, zone) }));
      await again();
    },
  });
  return h("details", { class: "fold" }, h("summary", {}, t("staff.move.title")), made);
}

function prices(showtime, hall, close) {
  const box = h("div", {}, priceFields(hall, showtime.prices));
  const made = form({
    fields: [h("p", { class: "soft" }, t("staff.price.about")), box],
    label: t("staff.price.action"),
    work: async () => {
      await patch(`/v1/showtimes/${showtime.id}`, { prices: pricesIn(box) });
      close();
      notice(t("staff.price.done"));
      await again();
    },
  });
  return h("details", { class: "fold" }, h("summary", {}, t("staff.price.title")), made);
}

function cancel(showtime, close) {
  return act(t("staff.off.title"), async () => {
    const now = await fresh(`/v1/admin/showtimes/${showtime.id}/cancellation`);
    const problemText = now.reservations ? t("staff.off.orders", { n: now.reservations }) : t("staff.off.nobody");
    const answer = await ask(t("staff.off.ask", { title: showtime.movieTitle, at: full(showtime.startsAt, showtime.timeZone) }), h("p", {}, problemText), [["no", t("staff.keep")], ["yes", t("staff.off.title"), "grave"]]);
    if (answer !== "yes") return;
    await remove(`/v1/showtimes/${showtime.id}`);
    close();
    notice(t("staff.off.done"));
    await again();
  }, "grave");
}

async function ended(showtime) {
  const now = await fresh(`/v1/admin/showtimes/${showtime.id}/cancellation`);
  return message(now.attention ? "bad" : "", t("staff.off.was"), h("p", {}, t("staff.off.progress", now)));
}
