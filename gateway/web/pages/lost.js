// Shown for an unknown address, or when a page could not be loaded.

import { h } from "../lib/dom.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { problemText } from "../parts/notice.js";

export default async function lost({ error } = {}) {
  const isGone = !error || error.status === 404 || error.code === "bad-id";
  const title = isGone ? t("lost.title") : t("lost.failed");
  return {
    title,
    node: h(
      "div",
      { class: "stack narrow" },
      h("h1", { tabindex: "-1" }, title),
      h("p", {}, isGone ? t("lost.text") : problemText(error)),
      h("p", { class: "row" },
        !isGone && h("button", { class: "button main", type: "button", on: { click: () => again() } }, t("lost.again")),
        h("a", { class: "button", href: "/" }, t("lost.home"))),
    ),
  };
}
