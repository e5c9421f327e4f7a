// The surcharges and fees of a price card: lists of small forms that grow and shrink.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { CHANNELS, channels, check, checkedIn, checks, everyText, textsField, textsIn } from "./fields.js";

/** The server's bounds of a length in minutes. */
const MINUTES_MAX = 1000;
/** The server's most surcharges, and fees, of a card. */
const EXTRAS_MAX = 10;

const valueOf = (box, name) => box.querySelector(`[name="${CSS.escape(name)}"]`).value;

/** The names and the amount, which both lists have. */
const common = (at, item, currency) => [
  textsField(`${at}.name`, t("staff.name"), item.name),
  field(`${at}.amount`, `${t("staff.card.amount")} (${currency})`, { value: item.amount, inputmode: "decimal", autocomplete: "off" }),
];

const readCommon = (box, at) => ({ code: box.dataset.code, name: textsIn(box, `${at}.name`), amount: valueOf(box, `${at}.amount`) });

const SURCHARGES = {
  blank: { code: "", name: everyText(), amount: "", minutesOver: "" },
  draw: (at, item, currency) => {
    const [names, amount] = common(at, item, currency);
    return [names, h("div", { class: "two" }, amount, field(`${at}.minutesOver`, t("staff.card.minutes-over"), { type: "number", min: 1, max: MINUTES_MAX, value: item.minutesOver, hint: t("staff.card.minutes-hint") }))];
  },
  read: (box, at) => ({ ...readCommon(box, at), minutesOver: valueOf(box, `${at}.minutesOver`) }),
};

const FEES = {
  blank: { code: "", name: everyText(), amount: "", per: "TICKET", channels: CHANNELS, refundable: false },
  draw: (at, item, currency) => {
    const [names, amount] = common(at, item, currency);
    return [
      names,
      h("div", { class: "two" }, amount, field(`${at}.per`, t("staff.card.per"), { options: ["TICKET", "ORDER"].map((per) => [per, t(`staff.card.per-${per}`)]), value: item.per })),
      checks(`${at}.channels`, t("staff.card.channels"), channels(), item.channels),
      check(`${at}.refundable`, t("staff.card.refundable"), item.refundable),
    ];
  },
  read: (box, at) => ({
    ...readCommon(box, at),
    per: valueOf(box, `${at}.per`),
    channels: checkedIn(box.querySelector(`[data-field="${CSS.escape(`${at}.channels`)}"]`)),
    refundable: box.querySelector(`[name="${CSS.escape(`${at}.refundable`)}"]`).checked,
  }),
};

export const surcharges = (items, currency) => growing("surcharges", SURCHARGES, items, currency);
export const fees = (items, currency) => growing("fees", FEES, items, currency);

/** A list `name` of a card: `{node, read}`. */
function growing(name, { blank, draw, read }, items, currency) {
  const place = h("div", { class: "stack" });
  const add = h("button", { class: "button", type: "button" }, t(`staff.card.add-${name}`));
  const boxes = () => [...place.children];
  const readAll = () => boxes().map((box, at) => read(box, `${name}[${at}]`));
  const show = (items) => {
    replace(place, items.map((item, at) => box(item, at)));
    add.disabled = items.length >= EXTRAS_MAX;
  };
  const box = (item, at) => {
    const remove = h("button", { class: "button small grave", type: "button", "aria-label": t(`staff.card.remove-${name}`, { n: at + 1 }) }, t("staff.card.remove"));
    remove.addEventListener("click", () => {
      show(readAll().filter((_, other) => other !== at));
      add.focus();
    });
    const path = `${name}[${at}]`;
    return h("fieldset", { class: "field extra", dataset: { field: path, code: item.code } }, h("legend", {}, t(`staff.card.one-${name}`, { n: at + 1 })), draw(path, item, currency), h("div", { class: "row" }, remove));
  };
  add.addEventListener("click", () => {
    show([...readAll(), blank]);
    boxes().at(-1).querySelector("input").focus();
  });
  show(items);
  return { node: h("div", { class: "stack", dataset: { field: name } }, place, h("div", { class: "row" }, add)), read: readAll };
}
