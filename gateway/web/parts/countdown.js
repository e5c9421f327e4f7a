// The time left to pay, by the server's clock, computed from `expiresAt`, so that a reload shows the same. Screen readers
// announce it at full minutes and near the end, not every second.

import { now } from "../lib/clock.js";
import { h } from "../lib/dom.js";
import { countdown as shown } from "../lib/format.js";
import { t } from "../lib/text.js";

/** Seconds left at which screen readers announce the time. */
const ANNOUNCED_AT = new Set([600, 300, 120, 60, 30, 10]);

/** Counts down until `signal` aborts; calls `over()` once at zero and `tick(left)` each second. `words` is the key of the announced text. */
export function countdown(expiresAt, { signal, over, tick: shows = () => {}, words = "hold.left" }) {
  const clock = h("b", { class: "clock", "aria-hidden": "true" });
  const announcement = h("span", { class: "unseen", role: "timer", "aria-live": "polite" });
  const end = new Date(expiresAt).getTime();
  let announced = Infinity;
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - now()) / 1000));
    clock.textContent = shown(left);
    clock.dataset.short = String(left <= 60);
    shows(shown(left));
    const mark = [...ANNOUNCED_AT].filter((seconds) => seconds >= left).sort((a, b) => a - b)[0];
    if (announced === Infinity || (mark !== undefined && mark < announced)) {
      announcement.textContent = t(words, { left: shown(left) });
      announced = mark ?? 1e6;
    }
    if (left === 0) {
      clearInterval(timer);
      over();
    }
  };
  const timer = setInterval(tick, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  tick();
  return h("span", { class: "countdown" }, clock, announcement);
}
