// A form of something that has a version. If it was changed elsewhere meanwhile, nothing is overwritten: the form offers to load the new
// version, and keeps what was typed.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { message } from "../parts/notice.js";
import { act } from "./listing.js";

/**
 * `draftOf(found)` is what the form shows of the row (of none: the form of a new one), as texts and lists. `load()` reads the row again.
 * `make({draft, save, redraw})` draws the form and returns `{node, read}`, where `read()` is the draft as it is typed by now.
 *
 * `save(send)` calls `send(row)` with the row that the form began with, and returns its answer, or undefined where the row had another
 * version. `redraw()` draws the form again with what is typed.
 */
export function versioned({ found, draftOf, load, make }) {
  const notes = h("div", { tabindex: "-1" });
  const place = h("div", {});
  let [current, base] = [found, draftOf(found)];
  let shown;
  const draw = (draft) => {
    shown = make({ draft, save, redraw: () => draw(shown.read()) });
    replace(place, shown.node);
  };
  const again = async () => {
    const typed = shown.read();
    const newest = await load();
    const draft = merged(base, typed, draftOf(newest));
    [current, base] = [newest, draftOf(newest)];
    draw(draft);
    replace(notes, message("good", t("staff.changed.loaded")));
    notes.focus();
  };
  const save = async (send) => {
    replace(notes);
    try {
      return await send(current);
    } catch (problem) {
      if (problem.code !== "version-changed") throw problem;
      const load = act(t("staff.changed.load"), again);
      replace(notes, message("bad", t("problem.version-changed"), h("p", {}, load)));
      load.focus();
    }
  };
  draw(base);
  return h("div", { class: "stack" }, notes, place);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** What was typed, and otherwise the newest; lists as a whole. */
export function merged(base, typed, newest) {
  if (!isObject(typed) || !isObject(newest)) return isSame(base, typed) ? newest : typed;
  const keys = new Set([...Object.keys(typed), ...Object.keys(newest)]);
  return Object.fromEntries([...keys].map((key) => [key, merged(base?.[key], typed[key], newest[key])]));
}
