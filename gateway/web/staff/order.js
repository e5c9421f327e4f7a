// One order: its data, its payment, the steps of its saga, and what staff can do.

import { newKey, patch, post } from "../lib/api.js";
import { shownCode } from "../lib/code.js";
import { h } from "../lib/dom.js";
import { readRefund, refuse } from "../lib/amount.js";
import { full, list, moment, money } from "../lib/format.js";
import { again } from "../lib/router.js";
import { isOwner } from "../lib/session.js";
import { has, locale, t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice, message } from "../parts/notice.js";
import { cancel } from "./cancel.js";
import { erase } from "./erase.js";
import { bills, entry, isPaid, left, tickets } from "./lines.js";
import { act, badge, everything, fresh, head, sheet, table } from "./listing.js";
import { peopleOf, statusBadge } from "./orders.js";

export default async function order({ params, signal }) {
  const saga = await fresh(`/v1/admin/sagas/${params.id}`, {}, { signal });
  const { reservation } = saga;
  const [showtime, payment, mails, people] = await Promise.all([
    fresh(`/v1/showtimes/${reservation.showtimeId}`, {}, { signal }).catch(() => null),
    reservation.payment ? fresh(`/v1/payments/${reservation.payment.id}`, {}, { signal }).catch(() => null) : null,
    everything("/v1/notifications", { reservationId: reservation.id }).catch(() => []),
    peopleOf([reservation.userId, ...saga.steps.map((step) => step.by)]),
  ]);
  const zone = showtime?.timeZone ?? "UTC";
  const who = reservation.email || mails.find((mail) => mail.recipient)?.recipient;
  return {
    title: t("staff.order.title", { number: shownCode(reservation.code) }),
    node: h(
      "div",
      { class: "stack" },
      h("a", { class: "back", href: "/staff/orders" }, `← ${t("staff.place.orders")}`),
      head(t("staff.order.title", { number: shownCode(reservation.code) }), [reservation.movieTitle, full(reservation.startsAt, zone)].join(" · "), actions(saga, payment)),
      saga.attention && message("bad", t("staff.order.attention"), h("p", {}, t(isOwner() ? "staff.order.resume-about" : "staff.order.resume-owner"))),
      h("div", { class: "order-parts" },
        h("section", { class: "card stack" }, h("h2", {}, t("staff.order.facts")), facts(reservation, saga, showtime, [people.get(reservation.userId)?.name ?? reservation.customer?.name, who].filter(Boolean).join(" · "), zone)),
        h("section", { class: "card stack" }, h("h2", {}, t("staff.order.money")), balance(saga, payment, zone))),
      h("section", { class: "card stack" }, h("h2", {}, t("staff.order.story")), story(saga.steps.map((step) => ({ at: step.at, title: [named("staff.step", step.input), named("staff.saga", step.state)].join(" · "), detail: step.detail, by: step.by && (people.get(step.by)?.name ?? step.by), mark: `v${step.version}` })), zone)),
      payment?.log?.length > 0 && h("section", { class: "card stack" }, h("h2", {}, t("staff.order.payment-story")), story(payment.log.map((item) => ({ at: item.at, title: named("staff.payment-step", item.entry), detail: item.detail })), zone)),
      h("section", { class: "stack" }, h("h2", {}, t("staff.order.mails")), table(t("staff.order.mails"), [[t("staff.mails.kind"), (mail) => h("a", { href: `/staff/mails?reservationId=${reservation.id}` }, t(`staff.mail.${mail.kind}`))], [t("staff.state"), (mail) => t(`staff.mail-status.${mail.status}`)], [t("staff.made"), (mail) => moment(mail.createdAt, zone)]], mails)),
    ),
  };
}

function facts(reservation, saga, showtime, who, zone) {
  const pair = (key, value) => value && [h("dt", {}, t(key)), h("dd", {}, value)];
  return h("dl", { class: "pairs" },
    pair("staff.state", [statusBadge(reservation.status), " ", badge(named("staff.saga", saga.state), saga.attention ? "bad" : "")]),
    pair("staff.why", reservation.reason && t(`staff.reason.${reservation.reason}`)),
    pair("staff.order.who", h("a", { href: `/staff/orders?userId=${reservation.userId}` }, who || reservation.userId)),
    pair("staff.hall", showtime?.auditoriumName),
    pair("order.seats", list(reservation.seats)),
    pair("staff.made", full(reservation.createdAt, zone)),
    pair("staff.order.deadline", saga.deadline && full(saga.deadline, zone)),
    pair("order.number", shownCode(reservation.code)),
    pair("staff.order.id", h("code", {}, reservation.id)));
}

function balance(saga, payment, zone) {
  const { reservation } = saga;
  const refunds = saga.refunds.map((item) => entry(`${t(`staff.refund.${item.status}`)} · ${why(item.reason)}`, `− ${money(item.total)}`));
  return h("div", { class: "stack" },
    h("ul", { class: "balance", role: "list" }, bills(reservation), isPaid(saga) && entry(t("staff.order.captured"), money(saga.captured)), refunds),
    tickets(reservation),
    payment?.attention && message("bad", t("staff.attention"), h("p", {}, payment.attention)),
    payment?.attempts?.length > 0 && h("ul", { class: "soft", role: "list" }, payment.attempts.map((item) => h("li", {}, [t("staff.order.attempt", { n: item.number }), t(`staff.attempt.${item.status}`), item.code, moment(item.createdAt, zone)].filter(Boolean).join(" · ")))),
    !payment && h("p", { class: "soft" }, t("staff.order.unpaid")),
    payment?.attention && isOwner() && act(t("staff.order.resume-payment"), async () => {
      await post(`/v1/admin/payments/${payment.id}/resume`);
      notice(t("staff.order.resumed"));
      await again();
    }));
}

/** A step or state in words; a newer server may have others. */
const named = (part, name) => t(has(`${part}.${name}`) ? `${part}.${name}` : "staff.order.unnamed");

/** Why money goes back: the cause of a cancellation in words, or what staff wrote. */
const why = (reason) => (has(`staff.reason.${reason}`) ? t(`staff.reason.${reason}`) : reason);

/** The steps of a saga or payment, oldest first. */
function story(steps, zone) {
  const step = (item) => h("li", {}, h("time", { datetime: item.at }, new Intl.DateTimeFormat(locale(), { dateStyle: "short", timeStyle: "medium", timeZone: zone }).format(new Date(item.at))), h("div", {}, h("b", {}, item.title), item.mark && h("small", { class: "soft" }, ` ${item.mark}`), item.detail && h("p", { class: "soft" }, item.detail), item.by && h("p", { class: "soft" }, t("staff.order.by"), " ", item.by)));
  return h("ol", { class: "story", role: "list" }, steps.map(step));
}

function actions(saga, payment) {
  const { reservation } = saga;
  const isOpen = ["PENDING", "CONFIRMED"].includes(reservation.status);
  return [
    act(t("staff.order.readdress"), () => readdress(reservation)),
    reservation.guest && reservation.customer && !isOpenHold(reservation) && act(t("staff.people.erase-guest"), () => erase({ id: reservation.userId, name: reservation.customer.email }), "grave"),
    isOpen && act(t("staff.order.cancel"), () => cancel(saga), "grave"),
    payment && isPaid(saga) && reservation.status === "CONFIRMED" && act(t("staff.order.refund"), () => refund(saga, payment)),
    saga.attention && isOwner() && act(t("staff.order.resume"), async () => {
      await post(`/v1/admin/sagas/${reservation.id}/resume`);
      notice(t("staff.order.resumed"));
      await again();
    }, "main"),
  ];
}

/** An unpaid order is open, so that its guest cannot be erased. */
const isOpenHold = ({ status }) => status === "PENDING";

/** Corrects a mistyped e-mail address: the tickets are sent to the new one, and all later mails. */
function readdress(reservation) {
  const made = form({
    fields: [
      h("p", {}, t(reservation.status === "CONFIRMED" ? "staff.order.readdress-tickets" : "staff.order.readdress-about")),
      field("email", t("staff.order.email"), { type: "email", required: true, autocomplete: "off", maxlength: 254, value: reservation.email }),
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

function refund(saga, payment) {
  const { currency } = saga.captured;
  // One for the dialog, so that sending it again after a lost answer gives the money back once.
  const key = newKey();
  const made = form({
    fields: [
      message("warn", t("staff.order.refund-about", { left: money(left(saga)) })),
      field("amount", `${t("staff.order.amount")} (${currency})`, { inputmode: "decimal", autocomplete: "off", hint: t("staff.order.amount-hint") }),
      field("reason", t("staff.order.reason"), { required: true, maxlength: 500 }),
    ],
    label: t("staff.order.refund"),
    work: async ({ amount, reason }) => {
      const read = amount.trim() ? readRefund(amount, currency) : {};
      if (read.wrong) refuse([["amount", read.wrong]]);
      const answer = await post(`/v1/payments/${payment.id}/refund`, { amount: read.amount, reason: reason.trim() }, { key });
      close();
      notice(t("staff.order.refunding", { total: money(answer.total) }));
      await again();
    },
  });
  const { close } = sheet(t("staff.order.refund"), made);
}
