// The receipts and credit notes of a paid order as files, and the form for the buyer whom they are made out to.

import { get, post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { loadTexts, t } from "../lib/text.js";
import { save } from "./ics.js";
import { notice, problemText } from "./notice.js";

/** Pause (ms) before receipts that are not made yet are requested again, and how often: they are made within seconds. */
const PAUSE_MS = 1000;
const TRIES = 15;

/** A place for the receipts of an order, filled once they are there. `isMine`: the reader may set the buyer. */
export function receipts(order, isMine, signal) {
  const place = h("section", { class: "stack", "aria-label": t("receipt.title") });
  fill(place, order, isMine, signal);
  return place;
}

async function fill(place, order, isMine, signal) {
  for (let tried = 0; tried < TRIES && !signal.aborted; tried++) {
    const found = await list(order.id, signal);
    if (signal.aborted || !found) return;
    if (found.length) show(place, order, isMine, signal, found);
    if (found.length >= expected(order)) return;
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

/** A receipt, and a credit note for each refund that is done. */
const expected = ({ refund, partialRefunds = [] }) => 1 + [refund, ...partialRefunds].filter((one) => one?.status === "COMPLETED").length;

/** The receipts; empty where they are not made yet, and nothing where there are none to show. */
async function list(id, signal) {
  try {
    return (await get(`/v1/reservations/${id}/receipt`, {}, { signal })).receipts;
  } catch (problem) {
    return problem.code === "receipt-not-ready" ? [] : null;
  }
}

function show(place, order, isMine, signal, found) {
  const [{ buyer }] = found;
  replace(place,
    h("div", { class: "row" }, found.map((one) => file(order, one))),
    buyer ? h("p", { class: "soft" }, t("receipt.buyer", { name: buyer.name })) : isMine && invoice(place, order, signal));
}

function file(order, { kind, number, buyer }) {
  const name = kind === "CREDIT_NOTE" ? "receipt.credit-note" : buyer ? "receipt.invoice" : "receipt.pdf";
  const button = h("button", { class: "button small", type: "button", dataset: { receipt: number } }, t(name));
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      save(await get(`/v1/reservations/${order.id}/receipt.pdf`, { number }, { headers: { Accept: "application/pdf" } }), `${number}.pdf`);
    } catch (problem) {
      notice(problemText(problem), "bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return button;
}

/** The form for the buyer, loaded when it is opened. */
function invoice(place, order, signal) {
  const content = h("div", {});
  const details = h("details", { class: "invoice" }, h("summary", {}, t("receipt.need-invoice")), content);
  details.addEventListener("toggle", async () => {
    if (!details.open || content.firstChild) return;
    try {
      const [{ field, form }] = await Promise.all([import("./form.js"), loadTexts("wrong")]);
      replace(content, form({
        fields: [
          field("name", t("receipt.name"), { required: true, maxlength: 200, autocomplete: "organization" }),
          field("address", t("receipt.address"), { required: true, rows: 4, hint: t("receipt.address-hint"), autocomplete: "street-address" }),
          field("taxId", t("receipt.tax-id"), { maxlength: 30, autocomplete: "off" }),
        ],
        label: t("receipt.save"),
        work: async (values) => {
          await post(`/v1/reservations/${order.id}/invoice`, buyerOf(values));
          notice(t("receipt.saved"));
          await fill(place, order, true, signal);
        },
      }));
    } catch (problem) {
      notice(problemText(problem), "bad");
    }
  });
  return details;
}

function buyerOf({ name, address, taxId }) {
  const lines = address.split("\n").map((line) => line.trim()).filter(Boolean);
  return { name: name.trim(), address: lines, taxId: taxId.trim() || undefined };
}
