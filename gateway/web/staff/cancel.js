// Staff cancel an order or give single tickets of it back, at a share of the money that they choose. What goes back and what is left
// is the server's plan; it is shown first, and nothing else is done.

import { get, post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { list, money } from "../lib/format.js";
import { price } from "../lib/price.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { namesOf } from "../parts/bill.js";
import { field, form } from "../parts/form.js";
import { cancelAsShown } from "../parts/give-back.js";
import { message, notice, problemText } from "../parts/notice.js";
import { invalid } from "../parts/wrong.js";
import { checkedIn, checks } from "./fields.js";
import { isPaid, left } from "./lines.js";
import { sheet } from "./listing.js";

/** The choice of a share that is typed. */
const OTHER = "other";

export function cancel(saga) {
  const { reservation } = saga;
  const isSold = reservation.status === "CONFIRMED";
  const dialog = isSold ? new Cancellation(saga) : { fields: [h("p", {}, about(reservation.seats))], label: t("staff.order.cancel"), send: (reason) => post(`/v1/reservations/${reservation.id}/cancel`, { reason }) };
  const made = form({
    fields: [...dialog.fields, field("reason", t("staff.order.reason"), { maxlength: 500, hint: t("staff.order.reason-hint") })],
    label: dialog.label,
    work: async ({ reason }) => {
      const done = await dialog.send(reason.trim() || undefined);
      if (!done) return;
      close();
      notice(t(done.status === "CONFIRMED" ? "staff.order.returned" : "staff.order.cancelled"));
      await again();
    },
  });
  const { close } = sheet(t("staff.order.cancel-ask"), made);
}

const about = (seats) => t("staff.order.cancel-about", { seats: list(seats) });

/** What a dialog about a paid order shows, and how it is done. */
class Cancellation {
  constructor(saga) {
    this.order = saga.reservation;
    this.percent = field("percent", t("staff.order.percent"), { type: "number", min: 0, max: 100, step: 1, inputmode: "numeric" });
    this.percent.hidden = true;
    this.how = isPaid(saga) && field("how", t("staff.order.back"), { options: this.shares(saga), value: "" });
    const { lines, seats } = this.order;
    const label = (line) => [line.seat, line.typeName, price(line.price)].filter(Boolean).join(" · ");
    this.picks = seats.length > 1 && checks("seats", t("staff.order.which"), lines.map((line) => [line.seat, label(line)]), seats);
    this.words = h("p", {}, about(seats));
    this.shown = h("div", { class: "stack", "aria-live": "polite" });
    this.fields = [this.words, this.picks, this.how, this.percent, this.shown].filter(Boolean);
    for (const part of [this.picks, this.how, this.percent]) part && part.addEventListener("change", () => this.changed());
    this.changed();
  }

  /** With single tickets the share is of their price. */
  shares(saga) {
    const { cancellation } = this.order;
    const policy = cancellation ? money(cancellation.refund) : t("staff.order.nothing");
    return [["", t("staff.order.back-policy", { total: policy })], ["100", t("staff.order.back-all", { total: money(left(saga)) })], ["50", t("staff.order.back-half")], ["0", t("staff.order.back-none")], [OTHER, t("staff.order.back-other")]];
  }

  label = () => t(this.isAll() ? "staff.order.cancel" : "staff.order.give-back");

  seats() {
    return this.picks ? checkedIn(this.picks) : this.order.seats;
  }

  isAll() {
    return this.seats().length === this.order.seats.length;
  }

  /** The chosen share in percent; undefined for the policy's, null where none is typed yet. */
  share() {
    const how = this.how ? this.how.querySelector("select").value : "";
    if (how !== OTHER) return how === "" ? undefined : Number(how);
    const control = this.percent.querySelector("input");
    return control.value.trim() === "" || !control.checkValidity() ? null : Number(control.value);
  }

  changed() {
    this.percent.hidden = !this.how || this.how.querySelector("select").value !== OTHER;
    const submit = this.shown.closest("form")?.querySelector("[type=submit]");
    if (submit) submit.textContent = this.label();
    this.planned = this.preview();
  }

  /** Shows what goes back and what is left. Returns the plan, or null where there is none. */
  async preview() {
    const mine = (this.latest = {});
    const [seats, share] = [this.seats(), this.share()];
    if (!seats.length || share === null) {
      replace(this.shown, !seats.length && message("warn", t("give-back.none")));
      return null;
    }
    try {
      const plan = await get(`/v1/reservations/${this.order.id}/cancellation`, { seats: seats.join(","), refundPercent: share });
      if (this.latest === mine) replace(this.shown, this.message(plan));
      return { ...plan, share };
    } catch (problem) {
      if (this.latest === mine) replace(this.shown, message("bad", problemText(problem, namesOf(problem, this.order.lines))));
      return null;
    }
  }

  message(plan) {
    const rest = plan.lines.length > 0 && h("p", {}, t("staff.order.stays", { seats: list(plan.lines.map((line) => line.seat)), total: money(plan.total) }));
    return message(plan.refund.amount > 0 ? "good" : "warn", t("staff.order.goes-back", { total: plan.refund.amount > 0 ? money(plan.refund) : t("staff.order.nothing"), seats: list(plan.seats) }), rest);
  }

  /** Does what was shown. Returns the order, or null where nothing was done; the dialog says why. */
  async send(reason) {
    if (this.share() === null) throw invalid({ field: "percent", code: "required" });
    const plan = await this.planned;
    if (!plan) return null;
    const done = await cancelAsShown(this.order.id, plan, { seats: plan.seats, reason, refundPercent: plan.share });
    if (!done) this.changed();
    return done;
  }
}
