// The mail log: what was sent to whom, what failed and why; resending.

import { post } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { shownCode } from "../lib/code.js";
import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { again, go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { act, badge, filters, fresh, head, pager, sheet, short, table } from "./listing.js";

const LOOK = { QUEUED: "warn", SENT: "good", FAILED: "bad", SKIPPED: "" };
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export default async function mails({ query, signal }) {
  const page = await fresh("/v1/notifications", { status: query.status, reservationId: query.reservationId, page: query.page, pageSize: 25 }, { signal });
  const resend = (mail) => act(t("staff.mails.resend"), async () => {
    await post(`/v1/notifications/${mail.id}/resend`);
    notice(t("staff.mails.queued"));
    await again();
  }, "small");
  const columns = [
    [t("staff.mails.kind"), (mail) => [t(`staff.mail.${mail.kind}`), h("p", { class: "soft" }, mail.recipient ?? "–")]],
    [t("staff.state"), (mail) => [badge(t(`staff.mail-status.${mail.status}`), LOOK[mail.status]), (mail.error ?? mail.reason) && h("p", { class: "soft" }, mail.error ?? mail.reason)]],
    [t("staff.mails.tries"), (mail) => mail.attempts, "number"],
    [t("staff.when"), (mail) => moment(mail.sentAt ?? mail.nextTry ?? mail.createdAt, zone), "whole"],
    [t("staff.orders.number"), (mail) => (mail.reservationId ? h("a", { href: `/staff/orders/${mail.reservationId}` }, mail.orderCode ? shownCode(mail.orderCode) : short(mail.reservationId)) : "–")],
    [t("staff.actions"), (mail) => mail.status !== "QUEUED" && resend(mail)],
  ];
  return {
    title: t("staff.place.mails"),
    node: h(
      "div",
      { class: "stack" },
      head(t("staff.place.mails"), t("staff.mails.about"), act(t("staff.mails.resend-failed"), resendFailed)),
      filters([
        field("status", t("staff.state"), { options: [["", t("staff.all")], ...Object.keys(LOOK).map((status) => [status, t(`staff.mail-status.${status}`)])], value: query.status }),
        query.reservationId && h("input", { type: "hidden", name: "reservationId", value: query.reservationId }),
      ], go),
      query.reservationId && h("p", { class: "row" }, badge(t("staff.mails.of-order")), h("a", { href: "/staff/mails" }, t("staff.orders.clear"))),
      table(t("staff.place.mails"), columns, page.items),
      pager(page, query),
    ),
  };
}

/** The value of a datetime-local input, in this browser's time zone. */
const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

/** Resends all mails that failed within a period, for example while the mail server refused everything. */
function resendFailed() {
  const made = form({
    fields: [
      h("p", {}, t("staff.mails.resend-failed-about")),
      field("from", t("staff.mails.failed-from"), { type: "datetime-local", required: true, value: local(now() - 24 * 3600_000) }),
      field("to", t("staff.mails.failed-to"), { type: "datetime-local", required: true, value: local(now() + 60_000) }),
    ],
    label: t("staff.mails.resend-failed"),
    work: async ({ from, to }) => {
      const answer = await post("/v1/notifications/resend", { from: new Date(from).toISOString(), to: new Date(to).toISOString() });
      close();
      notice(t(answer.left ? "staff.mails.resent-left" : "staff.mails.resent", { n: answer.queued, left: answer.left }));
      await again();
    },
  });
  const { close } = sheet(t("staff.mails.resend-failed"), made);
}
