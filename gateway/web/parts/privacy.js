// The user's own data: saving them as a file, and deleting the account, with its consequences in words.

import { get, remove, setSession } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { go } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "./form.js";
import { save } from "./ics.js";
import { notice, problemText } from "./notice.js";

/** The section of the account page. */
export function privacy() {
  return h("section", { class: "card stack" }, h("h2", {}, t("privacy.title")), h("p", { class: "soft" }, t("privacy.about")), h("div", { class: "row" }, download()), deletion());
}

function download() {
  const button = h("button", { class: "button", type: "button" }, t("privacy.download"));
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      const data = await get("/v1/me/export");
      save(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }), "marquee-data.json");
      notice(t("privacy.downloaded"));
    } catch (problem) {
      notice(problemText(problem), "bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return button;
}

/** The form is folded, so that nobody fills it in by mistake. */
function deletion() {
  const made = form({
    fields: [field("password", t("privacy.password"), { type: "password", autocomplete: "current-password", required: true })],
    label: t("privacy.delete"),
    work: async ({ password }) => {
      await remove("/v1/me", { body: { password } });
      setSession(null);
      notice(t("privacy.deleted"));
      await go("/");
    },
  });
  made.querySelector("[type=submit]").classList.replace("main", "grave");
  const consequences = ["gone", "tickets", "receipts", "open"].map((name) => h("li", {}, t(`privacy.${name}`)));
  return h("details", { class: "deletion" }, h("summary", {}, t("privacy.delete-open")), h("div", { class: "stack" }, h("ul", {}, consequences), made));
}
