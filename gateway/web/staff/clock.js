// Converts between an auditorium's local time (people write 20:15) and the API's instants.

/** The offset of a time zone from UTC at an instant, in ms. */
function offset(at, timeZone) {
  const format = new Intl.DateTimeFormat("en-CA", { timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const part = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(at / 1000) * 1000;
}

/** The instant of a local date and time. A time that the clocks skip becomes one hour later. */
export function instant(date, time, timeZone) {
  const wall = Date.parse(`${date}T${time}Z`);
  if (Number.isNaN(wall)) return null;
  // The offset may differ between the guess and the result; two iterations are enough.
  let at = wall - offset(wall, timeZone);
  at = wall - offset(at, timeZone);
  return new Date(at);
}

/** The local time as 20:15, for an input of type time. */
export const wall = (at, timeZone) => new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone, hourCycle: "h23" }).format(new Date(at));

/** Minutes since midnight as 20:15; after midnight it starts at 0:00 again. */
export const clock = (minutes) => `${String(Math.floor(minutes / 60) % 24).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
