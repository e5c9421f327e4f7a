// Opens the door's page without a connection. It is told by the page what to keep: the page itself and every file of it, all
// of one version. Files never change under their address, so they come from here; the page is asked for first, and comes from here
// when the house does not answer in time. Everything else, above all the API, is left alone.

const KEPT = "marquee.door";
const PAGE = "/door";
/** Who stands at the door waits no longer for a page that is here already. */
const PATIENCE = 3000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => event.waitUntil(keep(event.data, event.ports[0])));

/** Keeps `files` and the page, if it is still of their version, instead of all that was kept before. */
async function keep({ folder, files }, reply) {
  try {
    const page = await fetch(PAGE, { cache: "no-cache" });
    if (!page.ok || !(await page.clone().text()).includes(`${folder}/app.js`)) throw new Error("another version");
    const cache = await caches.open(KEPT);
    await cache.addAll(files);
    await cache.put(PAGE, page);
    const wanted = new Set([PAGE, ...files].map((path) => new URL(path, location.origin).href));
    for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
    reply.postMessage(true);
  } catch {
    // What was kept before stays; the next visit tries again.
    reply.postMessage(false);
  }
}

self.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin) return;
  if (event.request.mode === "navigate" && pathname === PAGE) event.respondWith(page(event.request));
  else if (pathname.startsWith("/assets/")) event.respondWith(file(event.request));
});

async function page(request) {
  const kept = await caches.match(PAGE, { cacheName: KEPT });
  if (!kept) return fetch(request);
  const late = new Promise((_, refuse) => setTimeout(refuse, PATIENCE));
  const found = await Promise.race([fetch(request), late]).catch(() => null);
  // A proxy answers for a house that is away.
  return found && found.status < 500 ? found : kept;
}

const file = async (request) => (await caches.match(request, { cacheName: KEPT })) ?? fetch(request);
