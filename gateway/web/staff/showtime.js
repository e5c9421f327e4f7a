// One showtime: occupancy, and changes. The consequences of a change are shown before it is made.

import { call, patch } from "../lib/api.js";
import { isPast } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { dateOf, full, money, time } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field, form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";
import { filmBegins, showingText } from "../parts/showing.js";
import { wall } from "./clock.js";
import { UNDO_SECONDS, sendLater } from "./later.js";
import { act, fresh, sheet } from "./listing.js";
import { cardAt, weekdayOf } from "./card-match.js";
import { publishOne } from "./drafts.js";
import { ownRules } from "./own-rules.js";
import { Pricing, priceFields, pricesIn, surchargeNames } from "./pricing.js";
import { startIn } from "./schedule.js";
import { showingForm } from "./showing.js";

/** Opens the dialog of a showtime. */
export async function showShowtime(scene, showtime) {
  const hall = scene.halls.find((item) => item.id === showtime.auditoriumId);
  const sold = scene.sold.get(showtime.id);
  const facts = h("dl", { class: "pairs" },
    h("dt", {}, t("staff.when")), h("dd", {}, `${full(showtime.startsAt, showtime.timeZone)} – ${time(showtime.endsAt, showtime.timeZone)}`),
    h("dt", {}, t("staff.hall")), h("dd", {}, showtime.auditoriumName),
    sold && [h("dt", {}, t("staff.full")), h("dd", {}, t("staff.full-words", sold))],
    h("dt", {}, t("staff.prices")), h("dd", {}, Object.entries(showtime.prices).map(([kind, price]) => `${t(`kind.${kind}`)} ${money(price)}`).join(", ")),
    filmBegins(showtime) && [h("dt", {}, t("order.film-begins")), h("dd", {}, filmBegins(showtime))],
    showingText(showtime) && [h("dt", {}, t("order.version")), h("dd", {}, showingText(showtime))],
    showtime.onSaleAt && [h("dt", {}, t("staff.showing.on-sale-at")), h("dd", {}, full(showtime.onSaleAt, showtime.timeZone))],
    showtime.priceCard && [h("dt", {}, t("staff.cards.one")), h("dd", {}, showtime.priceCard.name)],
    showtime.surcharges?.length > 0 && [h("dt", {}, t("staff.pricing.surcharges")), h("dd", {}, surchargeNames(showtime.surcharges, cardOf(scene, showtime)))]);
  const leave = (path) => () => {
    opened.close();
    return go(path);
  };
  const isDraft = showtime.status === "DRAFT";
  const isOpen = showtime.status === "ON_SALE" && !isPast(showtime.startsAt);
  const canChange = (isOpen || isDraft) && !isPast(showtime.startsAt);
  const shut = () => opened.close();
  const opened = sheet(showtime.movieTitle, [
    facts,
    h("div", { class: "row" },
      isOpen && act(t("staff.showtimes.seats"), leave(`/showtimes/${showtime.id}`)),
      isDraft && canChange && publishOne(showtime, shut),
      !isDraft && act(t("staff.showtimes.orders"), leave(`/staff/orders?showtimeId=${showtime.id}`))),
    showtime.status === "CANCELLED" && (await ended(showtime)),
    isDraft && message("", t("staff.drafts.about")),
    canChange && hall && [move(showtime, sold, shut), showingForm(scene, showtime, shut), scene.cards.length > 0 && fromCard(scene, showtime, hall, shut), prices(showtime, hall, shut), ownRules(showtime, shut)],
    isDraft ? discard(showtime, shut) : isOpen && hall && cancel(showtime, shut),
  ]);
}

function move(showtime, sold, close) {
  const taken = (sold?.sold ?? 0) + (sold?.held ?? 0);
  const zone = showtime.timeZone;
  const made = form({
    fields: [
      taken > 0 ? message("warn", t("staff.move.sold", { n: taken })) : h("p", { class: "soft" }, t("staff.move.free")),
      h("div", { class: "two" }, field("date", t("staff.date"), { type: "date", required: true, value: dateOf(showtime.startsAt, zone) }), h("div", { dataset: { field: "startsAt" } }, field("time", t("staff.time"), { type: "time", required: true, value: wall(showtime.startsAt, zone) }))),
    ],
    label: t("staff.move.action"),
    work: async (values) => {
      const moved = await patch(`/v1/showtimes/${showtime.id}`, { startsAt: startIn(values, zone) });
      close();
      notice(t("staff.move.done", { at: full(moved.startsAt, zone) }));
      await again();
    },
  });
  return h("details", { class: "fold" }, h("summary", {}, t("staff.move.title")), made);
}

/** The showtime's own card as it is now, if it was not deleted. */
const cardOf = (scene, showtime) => scene.cards.find((card) => card.id === showtime.priceCard?.id);

/** Makes the prices anew from a card: its own, or else the one that applies. */
function fromCard(scene, showtime, hall, close) {
  const zone = showtime.timeZone;
  const start = { weekday: weekdayOf(dateOf(showtime.startsAt, zone)), time: wall(showtime.startsAt, zone) };
  const pricing = new Pricing({
    choices: ["card"],
    cards: scene.cards,
    card: cardOf(scene, showtime) ?? cardAt(scene.cards, start.weekday, start.time),
    surcharges: showtime.surcharges,
    hall: () => hall,
    movie: () => scene.movies.find((movie) => movie.id === showtime.movieId),
    starts: () => [start],
  });
  const made = form({
    fields: [h("p", { class: "soft" }, t("staff.price.about")), pricing.node],
    label: t("staff.price.from-card-action"),
    work: async () => {
      await pricing.send((prices) => patch(`/v1/showtimes/${showtime.id}`, prices));
      close();
      notice(t("staff.price.done"));
      await again();
    },
  });
  made.addEventListener("change", () => pricing.draw());
  pricing.draw();
  return h("details", { class: "fold" }, h("summary", {}, t("staff.price.from-card")), made);
}

function prices(showtime, hall, close) {
  const box = h("div", {}, priceFields(hall, showtime.prices));
  const made = form({
    fields: [h("p", { class: "soft" }, t("staff.price.about")), showtime.priceCard && message("warn", t("staff.price.plain-about", { card: showtime.priceCard.name })), box],
    label: t("staff.price.action"),
    work: async () => {
      await patch(`/v1/showtimes/${showtime.id}`, { prices: pricesIn(box) });
      close();
      notice(t("staff.price.done"));
      await again();
    },
  });
  return h("details", { class: "fold" }, h("summary", {}, t(showtime.priceCard ? "staff.price.plain" : "staff.price.title")), made);
}

function cancel(showtime, close) {
  return act(t("staff.off.title"), async () => {
    const now = await fresh(`/v1/admin/showtimes/${showtime.id}/cancellation`);
    const problemText = now.reservations ? t("staff.off.orders", { n: now.reservations }) : t("staff.off.nobody");
    const answer = await ask(t("staff.off.ask", { title: showtime.movieTitle, at: full(showtime.startsAt, showtime.timeZone) }), h("div", { class: "stack" }, h("p", {}, problemText), h("p", {}, t("staff.off.undo", { n: UNDO_SECONDS }))), [["no", t("staff.keep")], ["yes", t("staff.off.title"), "grave"]]);
    if (answer !== "yes") return;
    close();
    const text = t("staff.off.soon", { title: showtime.movieTitle, at: time(showtime.startsAt, showtime.timeZone) });
    sendLater(text, (options) => call("DELETE", `/v1/showtimes/${showtime.id}`, options), async () => {
      notice(t("staff.off.done"));
      // The schedule shows it; another page that is open by now is left alone.
      if (location.pathname === "/staff/showtimes") await again();
    });
  }, "grave");
}

/** Deletes a draft, which nobody has seen. */
function discard(showtime, close) {
  return act(t("staff.drafts.delete"), async () => {
    const answer = await ask(t("staff.drafts.delete-ask", { title: showtime.movieTitle, at: full(showtime.startsAt, showtime.timeZone) }), h("p", {}, t("staff.drafts.about")), [["no", t("staff.keep")], ["yes", t("staff.drafts.delete"), "grave"]]);
    if (answer !== "yes") return;
    await call("DELETE", `/v1/showtimes/${showtime.id}`);
    close();
    notice(t("staff.drafts.deleted"));
    await again();
  }, "grave");
}

async function ended(showtime) {
  const now = await fresh(`/v1/admin/showtimes/${showtime.id}/cancellation`);
  return message(now.attention ? "bad" : "", t("staff.off.was"), h("p", {}, t("staff.off.progress", now)));
}
