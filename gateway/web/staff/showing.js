// What a showtime shows and when it is sold, in the forms of staff: version and format of its film, the time before the film, the
// start of the sale. Also the form that changes them.

import { patch } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { dateOf } from "../lib/format.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { versionText } from "../parts/showing.js";
import { instant, wall } from "./clock.js";

/** The server's longest time before a film, in minutes. */
const BEFORE_MAX = 90;

/**
 * The fields: `{node, draw, read}`. `movie()` is the chosen film and `zone()` the time zone; call `draw()` when they change. `read()`
 * gives what was chosen, with null for what is not.
 */
export function showingFields({ movie, zone, current = {} }) {
  const choices = h("div", { class: "two" });
  const { filmVersion, format, minutesBeforeFilm = 0, onSaleAt } = current;
  const before = field("minutesBeforeFilm", t("staff.showing.before"), { type: "number", min: 0, max: BEFORE_MAX, value: minutesBeforeFilm, hint: t("staff.showing.before-hint") });
  const start = onSaleAt ? `${dateOf(onSaleAt, zone())}T${wall(onSaleAt, zone())}` : "";
  const sale = field("onSaleAt", t("staff.showing.on-sale-at"), { type: "datetime-local", value: start, hint: t("staff.showing.on-sale-hint") });
  let shownFor;
  const draw = () => {
    const chosen = movie();
    if (!chosen || shownFor === chosen.id) return;
    shownFor = chosen.id;
    const versions = (chosen.versions ?? []).map((version) => [JSON.stringify(version), versionText(version)]);
    const formats = (chosen.formats ?? []).map((one) => [one, one]);
    const none = ["", t("staff.showing.unknown")];
    replace(choices,
      field("filmVersion", t("programme.version"), { options: [none, ...versions], value: filmVersion ? JSON.stringify(filmVersion) : versions.length === 1 ? versions[0][0] : "", hint: versions.length ? undefined : t("staff.showing.no-versions") }),
      field("format", t("programme.format"), { options: [none, ...formats], value: format ?? (formats.length === 1 ? formats[0][0] : "") }));
  };
  draw();
  const value = (name) => node.querySelector(`[name="${name}"]`)?.value ?? "";
  const read = () => {
    const [date, time] = value("onSaleAt").split("T");
    return {
      filmVersion: value("filmVersion") ? JSON.parse(value("filmVersion")) : null,
      format: value("format") || null,
      minutesBeforeFilm: Number(value("minutesBeforeFilm") || 0),
      onSaleAt: date && time ? instant(date, time, zone()).toISOString() : null,
    };
  };
  const node = h("div", { class: "stack" }, choices, h("div", { class: "two" }, before, sale));
  return { node, draw, read };
}

/** The same for a new showtime: what is not chosen is left out. */
export const forNew = (showing) => Object.fromEntries(Object.entries(showing).filter(([, value]) => value !== null));

/** The form that changes them, folded. */
export function showingForm(scene, showtime, close) {
  const movie = () => scene.movies.find((item) => item.id === showtime.movieId);
  const fields = showingFields({ movie, zone: () => showtime.timeZone, current: showtime });
  const before = fields.read();
  const made = form({
    fields: [fields.node],
    label: t("staff.showing.action"),
    work: async () => {
      // Only what was changed: the film may have lost the version that this showtime has, which is then no choice.
      const isChanged = ([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key]);
      const changes = Object.fromEntries(Object.entries(fields.read()).filter(isChanged));
      if (Object.keys(changes).length) await patch(`/v1/showtimes/${showtime.id}`, changes);
      close();
      notice(t("staff.showing.done"));
      await again();
    },
  });
  return h("details", { class: "fold" }, h("summary", {}, t("staff.showing.title")), made);
}
