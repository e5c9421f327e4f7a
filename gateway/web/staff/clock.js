// Times by the clock on an auditorium's wall, and back: a person writes 20:15, the API takes an instant.

/** How far a zone's clock is from UTC at an instant, in ms. */
function offset(at, timeZone) {
  const format = new Intl.DateTimeFormat("en-CA", { timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const part = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(at / 1000) * 1000;
}

/** The instant at which it is that date and time there. Where the clocks skip it, one hour later. */
export function instant(date, time, timeZone) {
  const wall = Date.parse(`${date}T${time}Z`);
  if (Number.isNaN(wall)) return null;
  // The offset may differ between the guess and the instant itself; twice is enough.
  let at = wall - offset(wall, timeZone);
  at = wall - offset(at, timeZone);
  return new Date(at);
}

/** 20:15 there, as an input of type time takes it. */
export const wall = (at, timeZone) => new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone, hourCycle: "h23" }).format(new Date(at));

/** 20:15 of minutes since midnight; beyond midnight the clock begins again. */
export const clock = (minutes) => `${String(Math.floor(minutes / 60) % 24).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
