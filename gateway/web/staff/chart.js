// Bar charts as SVG, drawn at their final size, so that the text is not scaled. Every chart has a table with its numbers;
// screen readers get the table and the summary.

import { h, replace, s, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";

const TALL = 200;
const FOOT = 24;
const HEAD = 18;
/** Height (px) of one bar of a horizontal chart, with its label above the bar. */
const LINE = 40;
/** The most bars of a horizontal chart; the table has all. */
const LYING_MOST = 20;

/** `items` are `{label, value, text}`, `text` is the formatted value; `most` is the end of the scale, by default the largest value. */
export function chart({ title, summary, items, most, lying, table }) {
  const id = unique("chart");
  const box = h("div", { class: "chart" });
  const scale = Math.max(most ?? 0, ...items.map((item) => item.value), 1);
  const draw = (width) => {
    if (width < 40) return;
    const [height, marks] = lying ? lie(items.slice(0, LYING_MOST), scale, width) : stand(items, scale, width);
    replace(box, s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary }, marks));
  };
  new ResizeObserver(([entry]) => draw(Math.floor(entry.contentRect.width))).observe(box);
  return h("figure", { class: "card stack", "aria-labelledby": id }, h("figcaption", { id }, h("h2", {}, title), h("p", { class: "soft" }, summary)), items.length > 0 && box, h("details", { class: "fold" }, h("summary", {}, t("staff.sales.table")), table));
}

function stand(items, scale, width) {
  const step = width / items.length;
  const top = TALL - FOOT - HEAD;
  // As many labels as fit.
  const every = Math.ceil(56 / step);
  const marks = items.map((item, at) => {
    const tall = Math.max(item.value > 0 ? 2 : 0, (Math.max(0, item.value) / scale) * top);
    const x = at * step;
    return s("g", {},
      s("title", {}, `${item.label}: ${item.text}`),
      s("rect", { class: "chart-bar", x: x + step * 0.15, y: HEAD + top - tall, width: Math.max(1, step * 0.7), height: tall, rx: 2 }),
      step > 44 && item.value > 0 && s("text", { class: "chart-value", x: x + step / 2, y: HEAD + top - tall - 5, "text-anchor": "middle" }, item.short ?? item.text),
      at % every === 0 && s("text", { x: x + step / 2, y: TALL - 6, "text-anchor": "middle" }, item.label));
  });
  return [TALL, [s("line", { class: "chart-line", x1: 0, x2: width, y1: HEAD + top + 0.5, y2: HEAD + top + 0.5 }), marks]];
}

function lie(items, scale, width) {
  const marks = items.map((item, at) => {
    const y = at * LINE;
    return s("g", {},
      s("text", { x: 0, y: y + 14 }, clip(item.label, width)),
      s("text", { class: "chart-value", x: width, y: y + 14, "text-anchor": "end" }, item.text),
      s("rect", { class: "chart-ground", x: 0, y: y + 20, width, height: 8, rx: 4 }),
      s("rect", { class: "chart-bar", x: 0, y: y + 20, width: Math.max(0, (item.value / scale) * width), height: 8, rx: 4 }));
  });
  return [items.length * LINE, marks];
}

/** Shortens a label so that its value fits beside it. */
function clip(text, width) {
  const most = Math.max(8, Math.floor((width - 110) / 7.5));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
