// Creates a calendar entry (RFC 5545) of a showtime, in the browser, since the page has all of its data.

import { now } from "../lib/clock.js";

/** RFC 5545 folds lines at 75 octets. This counts characters: 60 of a Latin script stay below that. */
const FOLD = 60;

/** `sequence` grows with each change of the order; `isOff` creates a cancellation of the entry (RFC 5546, CANCEL). */
export function ics({ id, title, place, startsAt, endsAt, about, url, sequence, isOff = false }) {
  const time = (at) => new Date(at).toISOString().replace(/[-:]|\.\d+/g, "");
  const text = (value) => value.replace(/[\\;,]/g, "\\$&").replace(/\n/g, "\\n");
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Marquee//Marquee//EN",
    `METHOD:${isOff ? "CANCEL" : "PUBLISH"}`,
    "BEGIN:VEVENT",
    `UID:${id}@marquee`,
    `SEQUENCE:${sequence}`,
    `STATUS:${isOff ? "CANCELLED" : "CONFIRMED"}`,
    `DTSTAMP:${time(now())}`,
    `DTSTART:${time(startsAt)}`,
    `DTEND:${time(endsAt)}`,
    `SUMMARY:${text(title)}`,
    `LOCATION:${text(place)}`,
    `DESCRIPTION:${text(about)}`,
    `URL:${url}`,
    ...(isOff ? [] : ["BEGIN:VALARM", "ACTION:DISPLAY", `DESCRIPTION:${text(title)}`, "TRIGGER:-PT1H", "END:VALARM"]),
    "END:VEVENT",
    "END:VCALENDAR",
  ];
  const folded = lines.map((line) => line.match(new RegExp(`.{1,${FOLD}}`, "gu")).join("\r\n "));
  return new Blob([`${folded.join("\r\n")}\r\n`], { type: "text/calendar" });
}

/** Starts a download of a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // A download that has started keeps its own reference to the file.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
