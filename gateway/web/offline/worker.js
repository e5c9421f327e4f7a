// The service worker that opens the page without a connection. The page sends it the files to store: the shell, which is the
// same at all addresses, and modules, styles and texts of the same version. Files never change under their address, so they are served from the
// cache. The shell is requested from the server first. All other requests, above all to the API, are not touched.

const CACHE_NAME = "marquee.page";
const SHELL = "/";
/** Addresses at which the page works without a connection: there a slow server is not waited for. */
const WORKS = /^\/(tickets|door|reservations\/[^/]+)\/?$/;
/** Other addresses of the page, which says there that there is no connection. */
const SAYS_SO = /^\/((movies|showtimes|staff)\/.*|account|login|register|forgot|reset|verify|staff)?$/;
/** How long (ms) to wait for the server. */
const SERVER_WAIT_MS = 3000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => event.waitUntil(store(event.data, event.ports[0])));

/** Stores `files` and the shell, if the server's shell is still of their version, and deletes files of other versions. */
async function store({ folder, files }, reply) {
  try {
    const shell = await fetch(SHELL, { cache: "no-cache" });
    if (!shell.ok || !(await shell.clone().text()).includes(`${folder}/app.js`)) throw new Error("another version");
    const cache = await caches.open(CACHE_NAME);
    const has = new Set((await cache.keys()).map((request) => new URL(request.url).pathname));
    await cache.addAll(files.filter((file) => !has.has(file)));
    await cache.put(SHELL, shell);
    const isOld = (path) => path !== SHELL && !path.startsWith(`${folder}/`);
    for (const request of await cache.keys()) if (isOld(new URL(request.url).pathname)) await cache.delete(request);
    reply.postMessage(true);
  } catch {
    // The files stored before are kept; the next visit tries again.
    reply.postMessage(false);
  }
}

self.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin) return;
  if (event.request.mode === "navigate" && (WORKS.test(pathname) || SAYS_SO.test(pathname))) event.respondWith(page(event.request, WORKS.test(pathname)));
  else if (pathname.startsWith("/assets/")) event.respondWith(file(event.request));
});

async function page(request, works) {
  // One shell is stored, in the language of the texts that are stored with it.
  const stored = await caches.match(SHELL, { cacheName: CACHE_NAME, ignoreVary: true });
  if (!stored) return fetch(request);
  const late = new Promise((_, refuse) => works && setTimeout(refuse, SERVER_WAIT_MS));
  const found = await Promise.race([fetch(request), late]).catch(() => null);
  // A proxy may answer with 5xx if the server is away.
  return found && found.status < 500 ? found : stored;
}

const file = async (request) => (await caches.match(request, { cacheName: CACHE_NAME })) ?? fetch(request);
