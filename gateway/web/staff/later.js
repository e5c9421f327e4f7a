// A change that is sent some seconds after it was confirmed, so that it can be undone until then: nothing has happened before. The bar
// with the button stays when another page is shown. If the tab is closed, the change is sent at once.

import { h, replace, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { notice, problemText } from "../parts/notice.js";

/** How long (s) a change can be undone. */
export const UNDO_SECONDS = 8;

/**
 * Calls `send({keepalive})` after some seconds, unless it is undone. `text` says what will happen; it is in the bar with the seconds left.
 * `done()` runs after it was sent.
 */
export function sendLater(text, send, done) {
  const left = h("span", { class: "soft" });
  const undo = h("button", { class: "button small main", type: "button" }, t("staff.undo"));
  // The seconds are not announced: the focus is on the button, which is described by the text.
  const id = unique("undo");
  undo.setAttribute("aria-describedby", id);
  const bar = h("section", { class: "undo-bar", "aria-label": t("staff.undo") }, h("strong", { id }, text), left, undo);
  let seconds = UNDO_SECONDS;
  const tick = () => {
    replace(left, t("staff.undo-left", { n: seconds }));
    if (seconds-- <= 0) finish();
  };
  const end = () => {
    clearInterval(timer);
    bar.remove();
    removeEventListener("pagehide", leave);
  };
  const leave = () => {
    end();
    send({ keepalive: true }).catch(() => {});
  };
  const finish = async () => {
    end();
    try {
      await send({});
      await done();
    } catch (problem) {
      notice(problemText(problem), "bad");
    }
  };
  undo.addEventListener("click", () => {
    end();
    notice(t("staff.undone"));
  });
  const timer = setInterval(tick, 1000);
  addEventListener("pagehide", leave);
  document.body.append(bar);
  tick();
  undo.focus();
}
