// Fits a seat map to a narrow screen: first the whole hall, where a tap magnifies the tapped place; then the map is moved and
// pinched within its own box. Where the seats are large enough for a finger, and on wide screens, nothing of this is active.
//
// `data-zoom` of the frame is "none", "out" (the whole hall) or "in" (magnified); `data-more` names the sides where the hall goes on.
// The keyboard and screen readers choose seats in every state: only a tap or a click with a pointer magnifies.

import { h } from "../lib/dom.js";
import { t } from "../lib/text.js";

/** The side of a seat (px) that a finger hits. */
const FINGER = 44;
const SEAT_MOST = 80;
/** On a wide screen that is touched, smaller seats (px) are magnified too. */
const TOUCHED = 32;
/** Seats smaller than this (px) have no room for a number. */
const NUMBERED = 20;
/** A wider box (px) shows the hall as on a desktop. */
const NARROW = 576;
/** Between seats (px), magnified or not. */
const GAP = { in: 4, out: 2 };
/** Labels of rows are this much narrower while the whole hall is shown. */
const LABEL_SHRINKS_TO = 0.6;

/**
 * A frame around `inside`, the seat map with its screen, which has `columns` columns and a row's label of `label` rem on both sides.
 * `measure()` is called once it is on the page.
 */
export function zoomable(inside, { columns, label }) {
  const scroller = h("div", { class: "hall-scroll" }, inside);
  const back = h("button", { class: "button small", type: "button", on: { click: () => overview() } }, t("seats.overview"));
  const bar = h("div", { class: "hall-bar" }, h("span", { class: "hall-hint", "aria-hidden": "true" }, t("seats.tap")), back);
  const frame = h("div", { class: "hall", dataset: { zoom: "none" }, style: { "--label": `${label}rem` } }, bar, h("div", { class: "hall-box" }, scroller, h("span", { class: "hall-edges", "aria-hidden": "true" })));
  let width = 0;
  let whole = FINGER;
  let size = FINGER;

  /** The side of a seat with which the whole hall is as wide as the box. */
  function fitting() {
    const style = getComputedStyle(scroller);
    const room = scroller.clientWidth - parseFloat(style.paddingInlineStart) - parseFloat(style.paddingInlineEnd);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return Math.floor(((room - 2 * label * rem * LABEL_SHRINKS_TO) / columns - GAP.out) * 100) / 100;
  }

  function set(zoom, seat) {
    size = seat;
    frame.dataset.zoom = zoom;
    frame.dataset.tiny = String(seat < NUMBERED);
    if (zoom === "none" && seat === undefined) inside.style.removeProperty("--seat");
    else inside.style.setProperty("--seat", `${seat}px`);
    mark();
  }

  /** Whether a finger would miss the seats of a wide screen, as on a phone that is held sideways. */
  const isTooSmall = () => matchMedia("(pointer: coarse)").matches && (inside.querySelector("[data-seat]")?.offsetWidth ?? FINGER) < TOUCHED;

  function measure() {
    if (scroller.clientWidth === 0 || scroller.clientWidth === width) return;
    const isFirst = width === 0;
    width = scroller.clientWidth;
    if (width >= NARROW) set("none");
    if (width >= NARROW && !isTooSmall()) {
      if (isFirst) scroller.scrollLeft = (scroller.scrollWidth - scroller.clientWidth) / 2;
      return mark();
    }
    if (frame.dataset.zoom === "none") frame.dataset.zoom = "out";
    whole = fitting();
    if (whole >= FINGER) set("none", Math.min(whole, FINGER + 4));
    else if (frame.dataset.zoom !== "in") set("out", whole);
    else mark();
  }

  function overview() {
    set("out", whole);
    frame.scrollIntoView({ block: "nearest" });
  }

  /** Draws seats of this size, so that the place at (x, y) of the screen stays there. */
  function resize(seat, x, y) {
    const anchor = nearest(x, y);
    const before = anchor.getBoundingClientRect();
    const [right, down] = [(x - before.left) / before.width, (y - before.top) / before.height];
    set("in", seat);
    const after = anchor.getBoundingClientRect();
    scroller.scrollLeft += after.left + right * after.width - x;
    scroller.scrollTop += after.top + down * after.height - y;
  }

  function nearest(x, y) {
    const direct = document.elementFromPoint(x, y)?.closest("[data-seat]");
    if (direct && inside.contains(direct)) return direct;
    const distance = (seat) => {
      const box = seat.getBoundingClientRect();
      return Math.hypot((box.left + box.right) / 2 - x, (box.top + box.bottom) / 2 - y);
    };
    const seats = [...inside.querySelectorAll("[data-seat]")].map((seat) => [distance(seat), seat]);
    return seats.reduce((best, next) => (next[0] < best[0] ? next : best))[1];
  }

  function mark() {
    if (frame.dataset.zoom === "out") return (frame.dataset.more = "");
    const { scrollLeft, scrollTop, scrollWidth, scrollHeight, clientWidth, clientHeight } = scroller;
    const sides = { left: scrollLeft > 1, right: scrollLeft < scrollWidth - clientWidth - 1, top: scrollTop > 1, bottom: scrollTop < scrollHeight - clientHeight - 1 };
    frame.dataset.more = Object.keys(sides).filter((side) => sides[side]).join(" ");
  }

  scroller.addEventListener("scroll", mark, { passive: true });
  // A click without a pointer (`detail` 0) is the keyboard's or a screen reader's.
  scroller.addEventListener("click", (event) => {
    if (frame.dataset.zoom !== "out" || event.detail === 0) return;
    event.stopPropagation();
    resize(FINGER, event.clientX, event.clientY);
    frame.scrollIntoView({ block: "nearest" });
  }, true);
  pinchable(scroller, {
    isActive: () => frame.dataset.zoom !== "none",
    size: () => size,
    resize: (seat, x, y) => (seat > whole ? resize(Math.min(seat, SEAT_MOST), x, y) : set("out", whole)),
  });
  new ResizeObserver(measure).observe(scroller);
  return { frame, measure };
}

/** Two fingers, or a pinch on a touchpad, which arrives as a wheel event with the control key. */
function pinchable(scroller, { isActive, size, resize }) {
  let begun = null;
  const spread = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  scroller.addEventListener("touchstart", ({ touches }) => {
    begun = touches.length === 2 && isActive() ? { spread: spread(touches), size: size() } : null;
  }, { passive: true });
  scroller.addEventListener("touchmove", (event) => {
    if (!begun || event.touches.length !== 2) return;
    event.preventDefault();
    const [a, b] = event.touches;
    resize((begun.size * spread(event.touches)) / begun.spread, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
  }, { passive: false });
  scroller.addEventListener("touchend", () => (begun = null), { passive: true });
  scroller.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !isActive()) return;
    event.preventDefault();
    resize(size() * Math.exp(-event.deltaY / 100), event.clientX, event.clientY);
  }, { passive: false });
}
