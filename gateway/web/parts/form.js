// Forms: fields with a label, a hint and errors; a submit button that shows progress. The browser's validation is off: the
// server's errors are shown at their fields.

import { Problem } from "../lib/api.js";
import { h, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { message, problemText } from "./notice.js";

/** The most errors without a field of their own that are shown: a layout of 2,000 seats can have as many. */
const UNPLACED_MAX = 8;

/** A field. `props` are attributes of the input; `options` (`[value, text]`) make it a select, `rows` a textarea. */
export function field(name, label, { hint, options, rows, value, ...props } = {}) {
  const id = unique(name);
  const about = hint ? `${id}-hint` : undefined;
  const own = { id, name, class: "input", "aria-describedby": about, ...props };
  const control = options
    ? h("select", own, options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)))
    : h(rows ? "textarea" : "input", { ...own, rows, value });
  return h("div", { class: "field", dataset: { field: name } }, h("label", { for: id }, label), control, hint && h("span", { class: "hint", id: about }, hint));
}

/** A form. Submitting calls `work(values)`, once at a time, and shows the problem that it throws. Returns the form. */
export function form({ fields, label, busy, work, more }) {
  const button = h("button", { class: "button main wide", type: "submit" }, label);
  const place = h("div", {});
  const made = h("form", { class: "form", novalidate: true }, place, fields, button, more);
  let running = false;
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    running = true;
    clear(made, place);
    button.setAttribute("aria-busy", "true");
    button.textContent = busy ?? t("form.busy");
    try {
      await work(Object.fromEntries(new FormData(made)));
    } catch (problem) {
      if (!(problem instanceof Problem)) console.error(problem);
      showErrors(made, place, problem);
    } finally {
      running = false;
      button.removeAttribute("aria-busy");
      button.textContent = label;
    }
  });
  return made;
}

function clear(made, place) {
  place.replaceChildren();
  for (const wrong of made.querySelectorAll(".wrong")) wrong.remove();
  for (const input of made.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
}

function showErrors(made, place, problem) {
  let first;
  const unplaced = [];
  const boxes = [...made.querySelectorAll("[data-field]")];
  for (const { field: name, message } of problem.errors ?? []) {
    // An error of a list item, such as times[0], is shown at the list.
    const box = [name, name.split(/[.[]/)[0]].map((wanted) => boxes.find((item) => item.dataset.field === wanted)).find(Boolean);
    const input = box?.querySelector("input, select, textarea");
    if (!input) unplaced.push(`${name}: ${message}`);
    if (!input || box.querySelector(".wrong")) continue;
    const id = `${input.id}-wrong`;
    box.append(h("span", { class: "wrong", id }, message));
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", id);
    first ??= input;
  }
  // An error that is shown at its field is not shown again at the top.
  if (!first || unplaced.length) place.append(message("bad", problemText(problem), unplaced.length > 0 && h("ul", {}, unplaced.slice(0, UNPLACED_MAX).map((item) => h("li", {}, item)))));
  if (first) first.focus();
}
