// Morning, afternoon and evening, by the clock on the auditorium's wall.

/** The parts of a day, in order. */
export const PARTS = ["morning", "afternoon", "evening"];

/** The hours at which the afternoon and the evening begin. Before this hour of the morning it is still the evening before. */
const AFTERNOON = 12;
const EVENING = 17;
const MORNING = 5;

/** The part of the day in which a showtime begins. */
export function partOf({ startsAt, timeZone }) {
  const hour = Number(new Intl.DateTimeFormat("en-GB", { hour: "2-digit", hourCycle: "h23", timeZone }).format(new Date(startsAt)));
  if (hour >= EVENING || hour < MORNING) return "evening";
  return hour >= AFTERNOON ? "afternoon" : "morning";
}
