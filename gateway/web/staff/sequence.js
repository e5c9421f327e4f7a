// Lists whose order matters: buttons that move an item up and down.

import { put } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { notice } from "../parts/notice.js";
import { act } from "./listing.js";

/** What a PUT sends of a row: all fields that staff can change, and the version that they were read in. */
export const fieldsOf = ({ id, createdAt, updatedAt, ...fields }) => fields;

/** Two buttons that move the item at `index` of `items`, rows of the resource `path` with a `position`. */
export function movers(items, index, path, name) {
  const button = (to, direction) => {
    const made = act(direction === "up" ? "↑" : "↓", () => move(items, index, to, path, name, direction), "small");
    made.setAttribute("aria-label", t(`staff.${direction}`, { name }));
    made.dataset.mover = `${items[index].id} ${direction}`;
    made.disabled = to < 0 || to >= items.length;
    return made;
  };
  return h("div", { class: "movers" }, button(index - 1, "up"), button(index + 1, "down"));
}

async function move(items, from, to, path, name, direction) {
  const next = items.filter((_, at) => at !== from);
  next.splice(to, 0, items[from]);
  try {
    for (const [position, item] of next.entries()) if (item.position !== position) await put(`${path}/${item.id}`, { ...fieldsOf(item), position });
  } finally {
    // A part may have been saved.
    await again();
  }
  notice(t("staff.moved", { name, at: to + 1 }));
  const buttons = [direction, direction === "up" ? "down" : "up"].map((way) => document.querySelector(`[data-mover="${items[from].id} ${way}"]`));
  buttons.find((button) => button && !button.disabled)?.focus();
}
