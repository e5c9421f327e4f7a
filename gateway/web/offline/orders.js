// The orders whose tickets this browser stores: paid ones of shows that are not over. Each is stored with its showtime and its
// signed tickets, so that they can be shown in a cellar. What is stored may be out of date: the server knows of a cancellation first.

import { Problem, get } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { storeCurrencies } from "../lib/currencies.js";
import { drop, put, read, readAll } from "../lib/kept.js";
import { user } from "../lib/session.js";

const PART = "orders/";
/** More upcoming orders than anybody has. */
const ORDERS_MAX = 20;
/** How long (ms) tickets are stored after the end of their show. */
const AFTER_MS = 2 * 3600 * 1000;
/** How long (ms) a page with stored tickets waits for the server. */
const SERVER_WAIT_MS = 4000;

const name = (id) => PART + id;
const isOver = ({ showtime }) => new Date(showtime.endsAt).getTime() + AFTER_MS < now();

/** The stored orders, the next show first. Deletes those whose show is over. */
export async function keptOrders() {
  const stored = await readAll(PART).catch(() => []);
  await Promise.all(stored.filter(isOver).map(({ order }) => drop(name(order.id))));
  return stored.filter((one) => !isOver(one)).sort((a, b) => a.order.startsAt.localeCompare(b.order.startsAt));
}

/** One stored order, or undefined. */
export async function keptOrder(id) {
  const stored = await read(name(id)).catch(() => undefined);
  return stored && !isOver(stored) ? stored : undefined;
}

/** The tickets of an order as the server has it now: stored ones of its version, or the server's. */
export async function ticketsOf(order) {
  const stored = await keptOrder(order.id);
  if (stored?.order.version === order.version) return stored.tickets;
  return (await get(`/v1/reservations/${order.id}/tickets`)).tickets;
}

/** Stores an order as the server has it now, with its tickets; deletes it if it is not valid any more. Returns its tickets. */
export async function keepOrder(order, showtime) {
  if (order.status !== "CONFIRMED") return drop(name(order.id));
  const tickets = await ticketsOf(order);
  const made = { order, showtime, tickets, at: now() };
  // Staff see the orders of others.
  if (!isOver(made) && order.userId === user()?.id) await Promise.all([put(name(order.id), made), storeCurrencies()]);
  return tickets;
}

/** Stores the tickets of these orders, and deletes all others. `showtimes` by id. Returns how many are stored. */
export async function keepOrders(orders, showtimes) {
  const kept = orders.filter((order) => order.status === "CONFIRMED").slice(0, ORDERS_MAX);
  const ids = new Set(kept.map((order) => order.id));
  const gone = (await keptOrders()).filter(({ order }) => !ids.has(order.id));
  await Promise.all(gone.map(({ order }) => drop(name(order.id))));
  for (const order of kept) {
    // A showtime that could not be read leaves what is stored.
    const showtime = showtimes.get(order.showtimeId);
    if (showtime) await keepOrder(order, showtime).catch(() => {});
  }
  return kept.length;
}

/** What `load` gives. If the server does not answer in time and `stored` is not empty, what `show` makes of it. */
export async function orStored(stored, load, show) {
  if (!stored) return load();
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Problem({ status: 0, code: "offline" })), SERVER_WAIT_MS));
  try {
    return await Promise.race([load(), late]);
  } catch (problem) {
    if (problem instanceof Problem && [0, 502, 503, 504].includes(problem.status)) return show();
    throw problem;
  }
}
