// Shown for an unknown address, or when a page could not be loaded. Loaded with the first view, since it is needed most when nothing
// can be loaded.

import { h } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { problemText } from "../parts/notice.js";

/** `again()` loads the page again; with `isWaiting` that also happens by itself when the connection is back. */
export default function lost({ error, again, isWaiting = false } = {}) {
  const isGone = !error || error.status === 404 || ["bad-id", "bad-query"].includes(error.code);
  const title = isGone ? t("lost.title") : t("lost.failed");
  // Search engines keep no page of an error.
  const mark = h("meta", { name: "robots", content: "noindex" });
  return {
    title,
    onShow: () => document.head.append(mark),
    leave: () => mark.remove(),
    node: h(
      "div",
      { class: "stack narrow" },
      h("h1", { tabindex: "-1" }, title),
      h("p", {}, isGone ? t("lost.text") : problemText(error)),
      isWaiting && h("p", { class: "soft" }, t("lost.waiting")),
      h("p", { class: "row" },
        !isGone && h("button", { class: "button main", type: "button", on: { click: again } }, t("lost.again")),
        h("a", { class: "button", href: "/" }, t("lost.home"))),
    ),
  };
}
