// What this browser stores for a time without a connection: tickets of upcoming shows, and the table of currencies. It is deleted
// when the login ends. In the browser's cache storage, which not every browser gives: then nothing is stored, and nothing fails.

import { hasLogin } from "./api.js";

const CACHE_NAME = "marquee.kept";
const FOLDER = "/kept/";

const opened = async () => globalThis.caches?.open(CACHE_NAME).catch(() => undefined);

/** Stores a value under a name. */
export async function put(name, value) {
  const cache = hasLogin() && (await opened());
  if (cache) await cache.put(FOLDER + name, new Response(JSON.stringify(value))).catch(() => {});
}

/** The value under a name, or undefined. */
export async function read(name) {
  return (await (await opened())?.match(FOLDER + name))?.json();
}

/** Every value whose name begins with `part`. */
export async function readAll(part) {
  const cache = await opened();
  const keys = ((await cache?.keys()) ?? []).filter((key) => new URL(key.url).pathname.startsWith(FOLDER + part));
  return Promise.all(keys.map(async (key) => (await cache.match(key)).json()));
}

export async function drop(name) {
  await (await opened())?.delete(FOLDER + name);
}

export async function dropAll() {
  await globalThis.caches?.delete(CACHE_NAME).catch(() => {});
}
