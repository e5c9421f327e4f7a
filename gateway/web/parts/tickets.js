// Shows tickets for the door: each seat's code as large as possible, on white, with the screen kept on. One ticket is shown at a
// time, and may be shared as a picture; printing prints all of them, and with a connection they can be saved as a PDF.

import { get } from "../lib/api.js";
import { shownCode } from "../lib/code.js";
import { h, s } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/text.js";
import { ticketsOf } from "../offline/orders.js";
import { encode } from "../vendor/uqr.js";
import { ticketText } from "./bill.js";
import { show } from "./dialog.js";
import { save } from "./ics.js";
import { notice, problemText } from "./notice.js";
import { filmBegins, showingText } from "./showing.js";

/** Opens the tickets of a confirmed reservation; `tickets` are given where they are stored. */
export async function showTickets(reservation, showtime, tickets) {
  const isStored = Boolean(tickets);
  tickets ??= await ticketsOf(reservation);
  const passes = h("div", { class: "passes", tabindex: "0", role: "region", "aria-label": t("tickets.at-door") }, passesOf(reservation, showtime, tickets, "pass"));
  const dialog = show(t("tickets.at-door"), h("div", { class: "tickets-in" }, passes, controls(passes, { reservation, showtime, tickets, isStored })), "full");
  const unprint = printable(reservation, showtime, tickets);
  const awake = await navigator.wakeLock?.request("screen").catch(() => null);
  dialog.addEventListener("close", () => {
    unprint();
    awake?.release();
  });
}

function passesOf(reservation, showtime, tickets, look) {
  return tickets.map(({ seat, token }, at) =>
    h(
      "figure",
      { class: look },
      code(token, t("tickets.code", { seat })),
      h("figcaption", {},
        h("b", {}, seat),
        ticketText(reservation, seat) && h("strong", {}, ticketText(reservation, seat)),
        h("span", {}, `${reservation.movieTitle} · ${showtime.auditoriumName}`),
        h("span", {}, moment(reservation.startsAt, showtime.timeZone)),
        shownOf(showtime) && h("span", {}, shownOf(showtime)),
        h("span", {}, t("tickets.order", { code: shownCode(reservation.code) })),
        tickets.length > 1 && h("small", {}, t("tickets.of", { at: at + 1, n: tickets.length }))),
    ));
}

/** When the film begins, and in which version and format; empty where nothing is known. */
function shownOf(showtime) {
  const begins = filmBegins(showtime);
  return [begins && t("showing.film-begins", { at: begins }), showingText(showtime)].filter(Boolean).join(" · ");
}

/** Arrows and dots between the tickets, and what can be done with them. */
function controls(passes, { reservation, showtime, tickets, isStored }) {
  let current = 0;
  const goTo = (at) => passes.children[Math.min(Math.max(at, 0), tickets.length - 1)].scrollIntoView({ block: "nearest", inline: "center" });
  const arrow = (step, text, sign) => h("button", { class: "button small", type: "button", "aria-label": text, on: { click: () => goTo(current + step) } }, sign);
  const [before, after] = [arrow(-1, t("tickets.before"), "‹"), arrow(1, t("tickets.after"), "›")];
  const dots = h("span", { class: "dots", "aria-hidden": "true" }, tickets.map(() => h("i")));
  const mark = () => {
    before.disabled = current === 0;
    after.disabled = current === tickets.length - 1;
    [...dots.children].forEach((dot, at) => (dot.dataset.on = String(at === current)));
  };
  passes.addEventListener("scroll", () => {
    current = Math.round(passes.scrollLeft / Math.max(1, passes.clientWidth));
    mark();
  });
  passes.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    goTo(current + step);
  });
  mark();
  const share = button(t(navigator.share ? "tickets.share" : "tickets.save"), async () => {
    const { shareTicket } = await import("./ticket-picture.js");
    await shareTicket(passes.children[current].querySelector("svg"), tickets[current].seat, reservation, showtime);
  });
  const print = button(t("tickets.print"), () => window.print());
  const pdf = !isStored && navigator.onLine && button(t("tickets.pdf"), () => savePdf(reservation));
  return h("div", { class: "row tickets-controls" }, tickets.length > 1 && [before, dots, after], share, print, pdf);
}

/** A button that shows the problem of its work in a notice. */
function button(text, work) {
  const made = h("button", { class: "button small", type: "button" }, text);
  made.addEventListener("click", async () => {
    if (made.getAttribute("aria-busy")) return;
    made.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (problem) {
      notice(problemText(problem), "bad");
    } finally {
      made.removeAttribute("aria-busy");
    }
  });
  return made;
}

/** Saves all tickets as a file, which the server writes: it has the fonts of every script. */
async function savePdf({ id, code }) {
  save(await get(`/v1/reservations/${id}/tickets.pdf`, {}, { headers: { Accept: "application/pdf" } }), `tickets-${shownCode(code)}.pdf`);
}

/** Has the browser print the tickets, one a page, instead of the page on the screen; returns a function that ends this. */
export function printable(reservation, showtime, tickets) {
  if (document.querySelector(".print-sheet")) return () => {};
  const sheet = h("section", { class: "print-sheet", "aria-hidden": "true" }, passesOf(reservation, showtime, tickets, "print-pass"));
  document.body.append(sheet);
  document.documentElement.dataset.prints = "tickets";
  return () => {
    sheet.remove();
    delete document.documentElement.dataset.prints;
  };
}

/** A QR code as one SVG path. Medium error correction is enough for a screen. */
function code(text, label) {
  const { data, size } = encode(text, { ecc: "M", border: 4 });
  let path = "";
  data.forEach((row, y) => row.forEach((dark, x) => { if (dark) path += `M${x} ${y}h1v1h-1z`; }));
  return s("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges" }, s("rect", { width: size, height: size, fill: "#fff" }), s("path", { d: path, fill: "#000" }));
}
