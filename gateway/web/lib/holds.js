// The user's unpaid orders, which are kept while the visitor looks around. They are in the local storage, so that every tab shows them
// at once and sees what another tab changes; the server's list corrects them. Those of a guest, who is one tab, are in its storage.
// Besides, the user's own seats of a showtime.

import { all, get, hasLogin, isSomebody, post } from "./api.js";
import { guest } from "./guest.js";
import { onUser, ownOrders, user } from "./session.js";

const STORAGE_KEY = "marquee.holds";
/** Pause (ms) between two looks at an order that is about to end. */
const PAUSE_MS = 2000;

const storage = () => (hasLogin() ? localStorage : sessionStorage);

const listeners = new Set();
/** Orders that have ended: an older response does not bring them back. */
const ended = new Set();

onUser((present) => {
  if (present) sessionStorage.removeItem(STORAGE_KEY);
  return present ? readHolds() : write([]);
});
addEventListener("storage", (event) => event.key === STORAGE_KEY && notify());

/** `[{id, version, showtimeId, movieTitle, seats, isFree, isExchange, isPaying, expiresAt}]`, the one that ends first is first. */
export function holds() {
  const stored = isSomebody() && storage().getItem(STORAGE_KEY);
  return stored ? JSON.parse(stored) : [];
}

/** Calls `listener()` at each change until `signal` aborts. */
export function onHolds(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

/** Notes an order as the server has just returned it. */
export function noteOrder(order) {
  // Staff see the orders of others.
  if (order.userId !== (hasLogin() ? user()?.id : guest()?.userId)) return;
  const before = holds();
  const known = before.find(({ id }) => id === order.id);
  if (order.status !== "PENDING") ended.add(order.id);
  else if (known?.version > order.version || ended.has(order.id)) return;
  write([...before.filter((hold) => hold !== known), ...(order.status === "PENDING" ? [entry(order)] : [])]);
}

/** The visitor is on the way to the payment page. */
export function notePaying(id) {
  write(holds().map((hold) => (hold.id === id ? { ...hold, isPaying: true } : hold)));
}

/** Reads the unpaid orders from the server; without a response the known ones stay. */
export async function readHolds(signal) {
  if (!isSomebody()) return;
  const query = { status: "PENDING", ...(await ownOrders()) };
  const orders = await all("/v1/reservations", query, { signal }).catch(() => null);
  if (orders) write(orders.filter(({ id }) => !ended.has(id)).map(entry));
}

/** Gives an order's seats back. While it is being paid, that ends only when the provider has closed the payment. */
export async function giveBack(id) {
  const order = await post(`/v1/reservations/${id}/cancel`);
  noteOrder(order);
  return order.status === "PENDING" ? untilEnded(id) : order;
}

/** Waits until an order is not PENDING any more, and returns it: its time is over, or its seats are being given back. */
export async function untilEnded(id) {
  for (;;) {
    const order = await get(`/v1/reservations/${id}`).catch(() => null);
    if (order) noteOrder(order);
    if (!isSomebody() || (order && order.status !== "PENDING")) return order;
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

function entry({ id, version, showtimeId, movieTitle, seats, total, due, expiresAt, exchangeOf, payment }) {
  return { id, version, showtimeId, movieTitle, seats, isFree: (due ?? total).amount === 0, isExchange: Boolean(exchangeOf), isPaying: Boolean(payment), expiresAt };
}

function write(orders) {
  const sorted = orders.sort((a, b) => a.expiresAt.localeCompare(b.expiresAt));
  const text = sorted.length ? JSON.stringify(sorted) : null;
  if (text === storage().getItem(STORAGE_KEY)) return;
  if (text) storage().setItem(STORAGE_KEY, text);
  else storage().removeItem(STORAGE_KEY);
  notify();
}

function notify() {
  for (const listener of listeners) listener();
}

/** Seat id → the user's order that holds or bought it, also in another tab. Empty for nobody, and without a response. */
export async function ownSeats(showtimeId, signal) {
  const seats = new Map();
  if (!isSomebody()) return seats;
  const orders = await all("/v1/reservations", { showtimeId, ...(await ownOrders()) }, { signal }).catch(() => []);
  for (const order of orders.filter(({ status }) => status === "PENDING" || status === "CONFIRMED")) {
    for (const seat of order.seats) seats.set(seat, order);
  }
  return seats;
}
