// Outlives the page of an order that is held and not paid: when the page went and does not come back, the seats are given
// back. It keeps nothing and serves nothing; a browser that ends it early leaves the hold to end by itself.

/** A reload on a slow line takes less; a browser lets a worker wait longer. */
const GRACE = 8000;
const waiting = new Map();

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("message", (event) => {
  const { kind, id, token } = event.data;
  waiting.get(id)?.();
  waiting.delete(id);
  if (kind === "left" && token) event.waitUntil(release(id, token));
});

function release(id, token) {
  return new Promise((resolve) => {
    const timer = setTimeout(async () => {
      waiting.delete(id);
      await fetch(`/v1/reservations/${id}/cancel`, { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => {});
      resolve();
    }, GRACE);
    waiting.set(id, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
