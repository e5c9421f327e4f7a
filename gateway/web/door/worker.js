// The service worker that opens the door's page offline. The page sends it the list of files to store: the page and all its
// files, of one version. Files never change under their address, so they are served from the cache. The page is requested from
// the server first, and served from the cache if the server does not answer in time. All other requests, above all to the API, are not touched.

const CACHE_NAME = "marquee.door";
const PAGE = "/door";
/** How long (ms) to wait for the server before the stored page is used. */
const SERVER_WAIT_MS = 3000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => event.waitUntil(store(event.data, event.ports[0])));

/** Stores `files` and the page, if the server's page is still of their version, and deletes everything stored before. */
async function store({ folder, files }, reply) {
  try {
    const page = await fetch(PAGE, { cache: "no-cache" });
    if (!page.ok || !(await page.clone().text()).includes(`${folder}/app.js`)) throw new Error("another version");
    const cache = await caches.open(CACHE_NAME);
    await cache.addAll(files);
    await cache.put(PAGE, page);
    const wanted = new Set([PAGE, ...files].map((path) => new URL(path, location.origin).href));
    for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
    reply.postMessage(true);
  } catch {
    // The files stored before are kept; the next visit tries again.
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
  const stored = await caches.match(PAGE, { cacheName: CACHE_NAME });
  if (!stored) return fetch(request);
  const timeout = new Promise((_, refuse) => setTimeout(refuse, SERVER_WAIT_MS));
  const found = await Promise.race([fetch(request), timeout]).catch(() => null);
  // A proxy may answer with 5xx if the server is away.
  return found && found.status < 500 ? found : stored;
}

const file = async (request) => (await caches.match(request, { cacheName: CACHE_NAME })) ?? fetch(request);
