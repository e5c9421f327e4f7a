// Forms: fields with a label, a hint and errors; a submit button that shows progress. The browser's own messages are off: errors of
// the page's checks and of the server are sentences at their fields.

import { Problem } from "../lib/api.js";
import { h, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { setTitleMark } from "../lib/title.js";
import { message, problemText } from "./notice.js";
import { check, invalid, wrongText } from "./wrong.js";

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
  const shown = props.type === "password" ? h("div", { class: "password" }, control, showButton(control, label)) : control;
  return h("div", { class: "field", dataset: { field: name } }, h("label", { for: id }, label), shown, hint && h("span", { class: "hint", id: about }, hint));
}

/** The button that shows a password while it is typed. Submitting hides it, so that browsers know it as one and offer to keep it. */
function showButton(control, label) {
  const button = h("button", { class: "button small bare", type: "button" });
  const set = (isShown) => {
    control.type = isShown ? "text" : "password";
    button.textContent = t(isShown ? "form.hide" : "form.show");
    button.setAttribute("aria-label", t(isShown ? "form.hide-field" : "form.show-field", { label }));
  };
  button.addEventListener("click", () => set(control.type === "password"));
  control.addEventListener("focus", () => control.form.addEventListener("submit", () => set(false)), { once: true });
  set(false);
  return button;
}

/**
 * A form. Submitting checks each control and then calls `work(values)`, once at a time; errors of both are shown at their fields, and
 * the first wrong control in the form's order gets the focus. `place(field)` names a field that the form does not have in words.
 * `label` may be a function, for a button whose text changes.
 * Returns the form.
 */
export function form({ fields, label, busy, work, more, place }) {
  const text = () => (typeof label === "function" ? label() : label);
  const button = h("button", { class: "button main wide", type: "submit" }, text());
  const top = h("div", {});
  const made = h("form", { class: "form", novalidate: true }, top, fields, button, more);
  const shown = { made, top, place };
  let running = false;
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    clear(shown);
    const wrong = [...made.elements].filter((control) => control.name).map((control) => ({ control, ...check(control) })).filter((item) => item.code);
    if (wrong.length) return showErrors(shown, invalid(...wrong));
    running = true;
    button.setAttribute("aria-busy", "true");
    button.textContent = busy ?? t("form.busy");
    try {
      await work(Object.fromEntries(new FormData(made)));
    } catch (problem) {
      if (!(problem instanceof Problem)) console.error(problem);
      showErrors(shown, problem);
    } finally {
      running = false;
      button.removeAttribute("aria-busy");
      button.textContent = text();
    }
  });
  return made;
}

/** Removes the errors of the last attempt. */
function clear({ made, top }) {
  top.replaceChildren();
  for (const wrong of made.querySelectorAll(".wrong")) wrong.remove();
  for (const input of made.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    describe(input, hintOf(input));
  }
  setTitleMark("");
}

function showErrors(shown, problem) {
  const { made, top, place } = shown;
  const wrong = new Set();
  const unplaced = [];
  for (const error of problem.errors ?? []) {
    const control = error.control ?? controlOf(made, error.field);
    if (!control) unplaced.push(place?.(error.field) ? t("wrong.place", { place: place(error.field), wrong: wrongText(error) }) : wrongText(error));
    if (!control || wrong.has(control)) continue;
    wrong.add(control);
    const id = `${control.id || unique("control")}-wrong`;
    const name = error.field ?? control.name;
    control.closest("[data-field]")?.append(h("span", { class: "wrong", id }, wrongText({ ...error, field: name }, control.value)));
    control.setAttribute("aria-invalid", "true");
    // The error is read before the hint. Few screen readers know `aria-errormessage`.
    describe(control, id, hintOf(control));
  }
  // An error that is shown at its field is not shown again at the top.
  const lines = [...new Set(unplaced)].slice(0, UNPLACED_MAX);
  if (!wrong.size || lines.length) top.append(message("bad", problemText(problem), lines.length > 0 && h("ul", {}, lines.map((line) => h("li", {}, line)))));
  setTitleMark(t("wrong.mark"));
  made.closest("dialog")?.addEventListener("close", () => setTitleMark(""), { once: true });
  [...made.elements].find((control) => wrong.has(control))?.focus();
}

/** The id of a control's hint, or undefined. */
const hintOf = (control) => control.closest("[data-field]")?.querySelector(".hint")?.id;

function describe(control, ...ids) {
  const found = ids.filter(Boolean).join(" ");
  if (found) control.setAttribute("aria-describedby", found);
  else control.removeAttribute("aria-describedby");
}

/** The control of a field such as `prices.STANDARD`: an error of a list item, such as `times[0]`, is shown at the list. */
function controlOf(made, field = "") {
  const boxes = [...made.querySelectorAll("[data-field]")];
  for (let name = field; name; name = name.replace(/(?:^|[.[])[^.[]*$/, "")) {
    const box = boxes.find((item) => item.dataset.field === name);
    if (box) return box.querySelector("input, select, textarea");
  }
}
