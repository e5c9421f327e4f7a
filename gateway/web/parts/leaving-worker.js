// A worker that outlives the page of an unpaid order: if the page was left and does not come back, it releases the seats.
// It stores and serves nothing; if the browser stops it early, the hold expires by itself.

/** How long (ms) to wait for the page: longer than a reload on a slow connection, shorter than browsers let a worker run. */
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
