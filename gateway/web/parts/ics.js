// Creates a calendar entry (RFC 5545) of a showtime, in the browser, since the page has all of its data.

import { now } from "../lib/clock.js";

/** The octets of a line (RFC 5545, 3.1). */
const LINE_MAX = 75;
const encoder = new TextEncoder();

/** `sequence` grows with each change of the order; `isOff` creates a cancellation of the entry (RFC 5546, CANCEL). */
export function ics({ id, title, place, startsAt, endsAt, about, url, sequence, isOff = false }) {
  const time = (at) => new Date(at).toISOString().replace(/[-:]|\.\d+/g, "");
  const text = (value) => value.replace(/[\\;,]/g, "\\$&").replace(/\r\n?|\n/g, "\\n");
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
  return new Blob([`${lines.map(fold).join("\r\n")}\r\n`], { type: "text/calendar" });
}

/** Breaks a line where it would be too long, between characters. A line that goes on begins with a space. */
function fold(line) {
  const parts = [""];
  let left = LINE_MAX;
  for (const character of line) {
    const octets = encoder.encode(character).length;
    if (octets > left) {
      parts.push("");
      left = LINE_MAX - 1;
    }
    parts[parts.length - 1] += character;
    left -= octets;
  }
  return parts.join("\r\n ");
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
