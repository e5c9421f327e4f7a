// Modal dialogs, with the browser's `<dialog>`, which keeps the focus and closes by Escape.

import { h, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";

/** Shows a question; resolves to the value of the pressed button, or null. `buttons` is a list of `[value, text, class]`; the first is the safe choice. */
export function ask(title, content, buttons) {
  return new Promise((resolve) => {
    const id = unique("ask");
    const dialog = h(
      "dialog",
      { "aria-labelledby": id },
      h("form", { class: "stack", method: "dialog" },
        h("h2", { id }, title),
        content,
        h("div", { class: "row" }, buttons.map(([value, text, look]) => h("button", { class: `button ${look ?? ""}`, value }, text)))),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows content until the user closes it. Returns the dialog. */
export function show(title, content, look = "") {
  const id = unique("shown");
  const dialog = h(
    "dialog",
    { "aria-labelledby": id, class: look },
    h("form", { class: "stack", method: "dialog" }, h("h2", { id }, title), content, h("div", { class: "row" }, h("button", { class: "button" }, t("dialog.close")))),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
