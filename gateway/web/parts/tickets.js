// Shows tickets for the door: each seat's code as large as possible, on white, with the screen kept on.

import { get } from "../lib/api.js";
import { h, s } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/text.js";
import { encode } from "../vendor/uqr.js";
import { show } from "./dialog.js";

/** Opens the tickets of a confirmed reservation. */
export async function showTickets(reservation, showtime) {
  const { tickets } = await get(`/v1/reservations/${reservation.id}/tickets`);
  const pass = ({ seat, token }, at) =>
    h(
      "figure",
      { class: "pass" },
      code(token, t("tickets.code", { seat })),
      h("figcaption", {},
        h("b", {}, seat),
        h("span", {}, `${reservation.movieTitle} · ${showtime.auditoriumName}`),
        h("span", {}, moment(reservation.startsAt, showtime.timeZone)),
        tickets.length > 1 && h("small", {}, t("tickets.of", { at: at + 1, n: tickets.length }))),
    );
  const dialog = show(t("tickets.at-door"), h("div", { class: "passes", tabindex: "0", role: "region", "aria-label": t("tickets.at-door") }, tickets.map(pass)), "full");
  const awake = await navigator.wakeLock?.request("screen").catch(() => null);
  dialog.addEventListener("close", () => awake?.release());
}

/** A QR code as one SVG path. Medium error correction is enough for a screen. */
function code(text, label) {
  const { data, size } = encode(text, { ecc: "M", border: 4 });
  let path = "";
  data.forEach((row, y) => row.forEach((dark, x) => { if (dark) path += `M${x} ${y}h1v1h-1z`; }));
  return s("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges" }, s("rect", { width: size, height: size, fill: "#fff" }), s("path", { d: path, fill: "#000" }));
}
