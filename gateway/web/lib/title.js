// The document's title, which the browser shows in the tab. While seats are held it begins with the time left, and while a form shows
// errors with “Error:”, which screen readers read first (WCAG technique G199).

import { onSite, site } from "./site.js";

let title = "";
let clock = "";
let mark = "";

/** The title of a page, without the time. */
export function setTitle(text) {
  title = text;
  mark = "";
  draw();
}

/** The time in front of the title; empty for none. */
export function setTitleClock(left) {
  clock = left && `${left} · `;
  draw();
}

/** A word in front of the title until the next page; empty for none. */
export function setTitleMark(text) {
  mark = text && `${text} `;
  draw();
}

function draw() {
  document.title = mark + clock + [title, site.name].filter(Boolean).join(" · ");
}

onSite(draw);
