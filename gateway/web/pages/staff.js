// What staff see; not there yet.

import { h } from "../lib/dom.js";
import { t } from "../lib/text.js";

export default async function staff() {
  return { title: t("frame.staff"), node: h("h1", { tabindex: "-1" }, t("frame.staff")) };
}
