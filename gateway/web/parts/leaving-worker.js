// A worker that outlives the pages of held seats: if no page of the site is open a while after one was closed, it gives the seats back.
// It stores and serves nothing; if the browser stops it early, the hold expires by itself.

/** How long (ms) to wait for a page: longer than a reload on a slow connection, shorter than browsers let a worker run. */
const GRACE = 8000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("message", (event) => event.waitUntil(release(event.data)));

async function release({ ids, token }) {
  await new Promise((done) => setTimeout(done, GRACE));
  // A page that unloads cannot tell whether it is closed, reloaded or left for another page of the site.
  const open = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (open.length > 0 || !token) return;
  const headers = { Authorization: `Bearer ${token}` };
  await Promise.all(ids.map((id) => fetch(`/v1/reservations/${id}/cancel`, { method: "POST", headers }).catch(() => {})));
}
