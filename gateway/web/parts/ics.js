// A showtime as a calendar entry (RFC 5545), made here: it is only words that the page has already.

/** Lines are folded at 75 octets; 60 characters stay below that in every alphabet that titles are written in. */
const FOLD = 60;

export function ics({ id, title, place, startsAt, endsAt, about, url }) {
  const time = (at) => new Date(at).toISOString().replace(/[-:]|\.\d+/g, "");
  const text = (value) => value.replace(/[\\;,]/g, "\\$&").replace(/\n/g, "\\n");
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Marquee//Marquee//EN",
    "BEGIN:VEVENT",
    `UID:${id}@marquee`,
    `DTSTAMP:${time(Date.now())}`,
    `DTSTART:${time(startsAt)}`,
    `DTEND:${time(endsAt)}`,
    `SUMMARY:${text(title)}`,
    `LOCATION:${text(place)}`,
    `DESCRIPTION:${text(about)}`,
    `URL:${url}`,
    "BEGIN:VALARM",
    "ACTION:DISPLAY",
    `DESCRIPTION:${text(title)}`,
    "TRIGGER:-PT1H",
    "END:VALARM",
    "END:VEVENT",
    "END:VCALENDAR",
  ];
  const folded = lines.map((line) => line.match(new RegExp(`.{1,${FOLD}}`, "gu")).join("\r\n "));
  return new Blob([`${folded.join("\r\n")}\r\n`], { type: "text/calendar" });
}

/** Hands a file to the browser. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The download has its own hold on the file once it has begun.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
