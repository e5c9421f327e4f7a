// One order: its data, its payment, the steps of its saga, and what staff can do.

import { patch, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { readRefund, refuse } from "../lib/amount.js";
import { full, list, moment, money } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { again } from "../lib/router.js";
import { isOwner } from "../lib/session.js";
import { has, locale, t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";
import { act, badge, everything, fresh, head, sheet, table } from "./listing.js";
import { statusBadge } from "./orders.js";

export default async function order({ params, signal }) {
  const saga = await fresh(`/v1/admin/sagas/${params.id}`, {}, { signal });
  const { reservation } = saga;
  const [showtime, payment, mails] = await Promise.all([
    fresh(`/v1/showtimes/${reservation.showtimeId}`, {}, { signal }).catch(() => null),
    reservation.payment ? fresh(`/v1/payments/${reservation.payment.id}`, {}, { signal }).catch(() => null) : null,
    everything("/v1/notifications", { reservationId: reservation.id }).catch(() => []),
  ]);
  const zone = showtime?.timeZone ?? "UTC";
  const who = reservation.email || mails.find((mail) => mail.recipient)?.recipient;
  return {
    title: t("staff.order.title", { number: reservation.id.slice(-8) }),
    node: h(
      "div",
      { class: "stack" },
      h("a", { class: "back", href: "/staff/orders" }, `← ${t("staff.place.orders")}`),
      head(t("staff.order.title", { number: reservation.id.slice(-8) }), [reservation.movieTitle, full(reservation.startsAt, zone)].join(" · "), actions(saga, payment)),
      saga.attention && message("bad", t("staff.order.attention"), h("p", {}, t(isOwner() ? "staff.order.resume-about" : "staff.order.resume-owner"))),
      h("div", { class: "order-parts" },
        h("section", { class: "card stack" }, h("h2", {}, t("staff.order.facts")), facts(reservation, saga, showtime, who, zone)),
        h("section", { class: "card stack" }, h("h2", {}, t("staff.order.money")), balance(saga, payment, zone))),
      h("section", { class: "card stack" }, h("h2", {}, t("staff.order.story")), story(saga.steps.map((step) => ({ at: step.at, title: `${step.input} → ${step.state}`, detail: step.detail, by: step.by, mark: `v${step.version}` })), zone)),
      payment?.log?.length > 0 && h("section", { class: "card stack" }, h("h2", {}, t("staff.order.payment-story")), story(payment.log.map((item) => ({ at: item.at, title: item.entry, detail: item.detail })), zone)),
      h("section", { class: "stack" }, h("h2", {}, t("staff.order.mails")), table(t("staff.order.mails"), [[t("staff.mails.kind"), (mail) => h("a", { href: `/staff/mails?reservationId=${reservation.id}` }, t(`staff.mail.${mail.kind}`))], [t("staff.state"), (mail) => t(`staff.mail-status.${mail.status}`)], [t("staff.made"), (mail) => moment(mail.createdAt, zone)]], mails)),
    ),
  };
}

function facts(reservation, saga, showtime, who, zone) {
  const pair = (key, value) => value && [h("dt", {}, t(key)), h("dd", {}, value)];
  const state = `staff.saga.${saga.state}`;
  return h("dl", { class: "pairs" },
    pair("staff.state", [statusBadge(reservation.status), " ", badge(has(state) ? t(state) : saga.state, saga.attention ? "bad" : "")]),
    pair("staff.why", reservation.reason && t(`staff.reason.${reservation.reason}`)),
    pair("staff.order.who", h("a", { href: `/staff/orders?userId=${reservation.userId}` }, who ?? reservation.userId)),
    pair("staff.hall", showtime?.auditoriumName),
    pair("order.seats", list(reservation.seats)),
    pair("staff.made", full(reservation.createdAt, zone)),
    pair("staff.order.deadline", saga.deadline && full(saga.deadline, zone)),
    pair("order.number", h("code", {}, reservation.id)));
}

function balance(saga, payment, zone) {
  const { reservation } = saga;
  const line = (text, total, look) => h("li", { class: look }, h("span", {}, text), h("b", {}, total));
  const refunds = saga.refunds.map((item) => line(`${t(`staff.refund.${item.status}`)} · ${item.reason}`, `− ${money(item.total)}`));
  return h("div", { class: "stack" },
    h("ul", { class: "balance", role: "list" }, line(t("order.total"), price(reservation.total)), isPaid(saga) && line(t("staff.order.captured"), money(saga.captured)), refunds),
    payment?.attention && message("bad", t("staff.attention"), h("p", {}, payment.attention)),
    payment?.attempts?.length > 0 && h("ul", { class: "soft", role: "list" }, payment.attempts.map((item) => h("li", {}, [t("staff.order.attempt", { n: item.number }), t(`staff.attempt.${item.status}`), item.code, moment(item.createdAt, zone)].filter(Boolean).join(" · ")))),
    !payment && h("p", { class: "soft" }, t("staff.order.unpaid")),
    payment?.attention && isOwner() && act(t("staff.order.resume-payment"), async () => {
      await post(`/v1/admin/payments/${payment.id}/resume`);
      notice(t("staff.order.resumed"));
      await again();
    }));
}

/** The steps of a saga or payment, oldest first. */
function story(steps, zone) {
  const step = (item) => h("li", {}, h("time", { datetime: item.at }, new Intl.DateTimeFormat(locale(), { dateStyle: "short", timeStyle: "medium", timeZone: zone }).format(new Date(item.at))), h("div", {}, h("b", {}, item.title), item.mark && h("small", { class: "soft" }, ` ${item.mark}`), item.detail && h("p", { class: "soft" }, item.detail), item.by && h("p", { class: "soft" }, t("staff.order.by"), " ", h("code", {}, item.by))));
  return h("ol", { class: "story", role: "list" }, steps.map(step));
}

function actions(saga, payment) {
  const { reservation } = saga;
  const isOpen = ["PENDING", "CONFIRMED"].includes(reservation.status);
  return [
    act(t("staff.order.readdress"), () => readdress(reservation)),
    isOpen && act(t("staff.order.cancel"), () => cancel(saga), "grave"),
    payment && isPaid(saga) && reservation.status === "CONFIRMED" && act(t("staff.order.refund"), () => refund(saga, payment)),
    saga.attention && isOwner() && act(t("staff.order.resume"), async () => {
      await post(`/v1/admin/sagas/${reservation.id}/resume`);
      notice(t("staff.order.resumed"));
      await again();
    }, "main"),
  ];
}

/** Whether money was captured; a free order has nothing to refund. */
const isPaid = ({ captured }) => Boolean(captured) && !isFree(captured);

/** Corrects a mistyped e-mail address: the tickets are sent to the new one, and all later mails. */
function readdress(reservation) {
  const made = form({
    fields: [
      h("p", {}, t(reservation.status === "CONFIRMED" ? "staff.order.readdress-tickets" : "staff.order.readdress-about")),
      field("email", t("staff.order.email"), { type: "email", autocomplete: "off", maxlength: 254, value: reservation.email }),
    ],
    label: t("staff.order.readdress-action"),
    work: async ({ email }) => {
      await patch(`/v1/reservations/${reservation.id}`, { email: email.trim() });
      close();
      notice(t("staff.order.readdressed", { email: email.trim() }));
      await again();
    },
  });
  const { close } = sheet(t("staff.order.readdress"), made);
}

function cancel(saga) {
  const { reservation, captured } = saga;
  const policy = reservation.cancellation ? money(reservation.cancellation.refund) : t("staff.order.nothing");
  const made = form({
    fields: [
      h("p", {}, t("staff.order.cancel-about", { seats: list(reservation.seats) })),
      isPaid(saga) && field("how", t("staff.order.back"), { options: [["", t("staff.order.back-policy", { total: policy })], ["100", t("staff.order.back-all", { total: money(captured) })], ["50", t("staff.order.back-half")], ["0", t("staff.order.back-none")]], value: "100" }),
      field("reason", t("staff.order.reason"), { maxlength: 500, hint: t("staff.order.reason-hint") }),
    ],
    label: t("staff.order.cancel"),
    work: async ({ how, reason }) => {
      await post(`/v1/reservations/${reservation.id}/cancel`, { reason: reason.trim() || undefined, refundPercent: how ? Number(how) : undefined });
      close();
      notice(t("staff.order.cancelled"));
      await again();
    },
  });
  const { close } = sheet(t("staff.order.cancel-ask"), made);
}

function refund(saga, payment) {
  const { currency } = saga.captured;
  const back = saga.refunds.reduce((sum, item) => sum + item.total.amount, 0);
  const left = { amount: saga.captured.amount - back, currency };
  const made = form({
    fields: [
      message("warn", t("staff.order.refund-about", { left: money(left) })),
      field("amount", `${t("staff.order.amount")} (${currency})`, { inputmode: "decimal", autocomplete: "off", hint: t("staff.order.amount-hint") }),
      field("reason", t("staff.order.reason"), { maxlength: 500 }),
    ],
    label: t("staff.order.refund"),
    work: async ({ amount, reason }) => {
      const read = amount.trim() ? readRefund(amount, currency) : {};
      if (read.wrong) refuse([["amount", read.wrong]]);
      const answer = await post(`/v1/payments/${payment.id}/refund`, { amount: read.amount, reason: reason.trim() });
      close();
      notice(t("staff.order.refunding", { total: money(answer.total) }));
      await again();
    },
  });
  const { close } = sheet(t("staff.order.refund"), made);
}
