// Cancelling an order or giving single tickets of it back, only for the refund that the customer was shown. The amounts are the
// server's plan.

import { get, newKey, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { list, money, moment } from "../lib/format.js";
import { isFree, price } from "../lib/price.js";
import { t } from "../lib/text.js";
import { bill, namesOf, rows } from "./bill.js";
import { ask } from "./dialog.js";
import { message, notice, problemText } from "./notice.js";

/** A message with what comes back. `wasFree`: the order costs nothing. */
export function refundMessage({ refund, until }, wasFree, zone) {
  const isSome = refund.amount > 0;
  const title = isSome ? t("cancel.refund", { total: money(refund) }) : t(wasFree ? "cancel.free" : "cancel.nothing");
  return message(isSome ? "good" : "warn", title, isSome && h("p", {}, t("cancel.until", { until: moment(until, zone) })));
}

/** Cancels by this plan `{version, refund, total}`, and with `body.seats` only these; if it has changed, says so and returns null. */
export async function cancelAsShown(id, plan, body = {}) {
  let { version } = plan;
  for (;;) {
    try {
      return await post(`/v1/reservations/${id}/cancel`, { ...body, version }, { key: newKey() });
    } catch (problem) {
      if (problem.code !== "plan-changed" || !problem.plan) throw problem;
      if (problem.plan.refund.amount !== plan.refund.amount || problem.plan.total.amount !== plan.total.amount) {
        notice(problemText(problem));
        return null;
      }
      // Another version with the same result, for example after an earlier refund has been completed.
      ({ version } = problem.plan);
    }
  }
}

/** Asks which tickets to give back, shows what comes back and what is left, and does it. Returns the order, or null if they declined. */
export async function giveTicketsBack(order, zone) {
  let trouble;
  let chosen = [];
  for (;;) {
    chosen = await choose(order, chosen, trouble);
    if (!chosen) return null;
    if (chosen.length === 0) {
      trouble = t("give-back.none");
      continue;
    }
    try {
      const plan = await get(`/v1/reservations/${order.id}/cancellation`, { seats: chosen.join(",") });
      if (!(await confirm(plan, order, zone))) return null;
      const changed = await cancelAsShown(order.id, plan, { seats: chosen });
      if (changed) return changed;
      trouble = undefined;
    } catch (problem) {
      if (problem.code !== "order-incomplete") throw problem;
      trouble = problemText(problem, namesOf(problem, order.lines));
    }
  }
}

/** The seats that the customer chooses, or null. `trouble` is what is wrong with those chosen before. */
async function choose({ lines }, chosen, trouble) {
  const label = (line) => [line.seat, line.typeName, price(line.price)].filter(Boolean).join(" · ");
  const boxes = lines.map((line) => h("input", { type: "checkbox", name: "seat", value: line.seat, checked: chosen.includes(line.seat) }));
  const picks = h("fieldset", { class: "field give-back" }, h("legend", {}, t("give-back.which")), lines.map((line, at) => h("label", { class: "check" }, boxes[at], label(line))));
  const content = h("div", { class: "stack" }, trouble && message("bad", trouble), picks);
  const answer = await ask(t("give-back.title"), content, [["no", t("cancel.no")], ["yes", t("give-back.next"), "main"]]);
  return answer === "yes" ? boxes.filter((box) => box.checked).map((box) => box.value) : null;
}

/** Shows what comes back and what is left, and asks whether to do it. */
async function confirm(plan, order, zone) {
  const { seats, lines, refund } = plan;
  const isAll = lines.length === 0;
  const left = !isAll && [h("h3", {}, t("give-back.left")), h("dl", { class: "pairs" }, rows([[t("order.seats"), list(lines.map((line) => line.seat))], ...bill(plan)]))];
  const content = h("div", { class: "stack" }, h("p", {}, t("cancel.seats", { seats: list(seats) })), refundMessage(plan, isFree(order.total), zone), left || h("p", {}, t("give-back.all")));
  const yes = refund.amount > 0 ? t("give-back.yes", { total: money(refund) }) : t(isFree(order.total) ? "give-back.yes-free" : "give-back.yes-nothing");
  return (await ask(t("give-back.sure", { n: seats.length }), content, [["no", t("cancel.no")], ["yes", yes, "grave"]])) === "yes";
}
