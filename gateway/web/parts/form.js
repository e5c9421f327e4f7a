// Forms: fields with a label, a hint and what is wrong with them; one button that says what it is doing. The browser checks
// nothing by itself: the server's words are shown at the field they are about.

import { Problem } from "../lib/api.js";
import { h, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { say, words } from "./notice.js";

/** A field. `props` go to the input; `options` `[value, text]` make it a choice; `rows` make it a text area. */
export function field(name, label, { hint, options, rows, value, ...props } = {}) {
  const id = unique(name);
  const about = hint ? `${id}-hint` : undefined;
  const own = { id, name, class: "input", "aria-describedby": about, ...props };
  const control = options
    ? h("select", own, options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)))
    : h(rows ? "textarea" : "input", { ...own, rows, value });
  return h("div", { class: "field", dataset: { field: name } }, h("label", { for: id }, label), control, hint && h("span", { class: "hint", id: about }, hint));
}

/** A form of fields. `work(values)` is done once at a time; its problems are shown. Returns the form. */
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
      tell(made, place, problem);
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

function tell(made, place, problem) {
  let first;
  for (const { field: name, message } of problem.errors ?? []) {
    const box = [...made.querySelectorAll("[data-field]")].find((one) => one.dataset.field === name);
    const input = box?.querySelector("input, select, textarea");
    if (!input) continue;
    const id = `${input.id}-wrong`;
    box.append(h("span", { class: "wrong", id }, message));
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", id);
    first ??= input;
  }
  // What is said at a field is not said twice.
  if (first) first.focus();
  else place.append(say("bad", words(problem)));
}
