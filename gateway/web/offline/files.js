// Makes tickets and the door's page available offline: a service worker stores the shell and the files that they need. Without
// service workers these pages need a connection to open.

import { language } from "../lib/text.js";

const WORKER = new URL("./worker.js", import.meta.url);
const CACHE_NAME = "marquee.page";
/** What every page needs; the modules that it has loaded are stored as well. */
const EVERY_PAGE = ["icon.svg", "text/{language}.js"];
/**
 * What each part may need offline, besides what the shell names: every module that it can import, and its texts in the reader's
 * language. A test compares the lists with the imports.
 */
const FILES = {
  tickets: [
    "lib/code.js",
    "lib/group.js",
    "lib/price.js",
    "lib/visible.js",
    "offline/files.js",
    "offline/orders.js",
    "offline/page.js",
    "pages/login.js",
    "pages/reservation.js",
    "pages/tickets.js",
    "parts/account-fields.js",
    "parts/bill.js",
    "parts/choice.js",
    "parts/customer.js",
    "parts/dialog.js",
    "parts/exchange.js",
    "parts/form.js",
    "parts/give-back.js",
    "parts/guest.js",
    "parts/ics.js",
    "parts/poster.js",
    "parts/receipts.js",
    "parts/showing.js",
    "parts/ticket-picture.js",
    "parts/tickets.js",
    "parts/wrong.js",
    "text/wrong-{language}.js",
    "vendor/uqr.js",
  ],
  door: [
    "door/book.js",
    "door/camera.js",
    "door/order.js",
    "door/scanner.js",
    "door/sound.js",
    "door/type.js",
    "door/verify.js",
    "lib/code.js",
    "offline/files.js",
    "pages/door.js",
    "pages/staff.js",
    "parts/seat.js",
    "style/staff.css",
    "text/staff-{language}.js",
    "vendor/qr/decode.js",
    "vendor/qr/index.js",
  ],
};

/**
 * Has the worker store the files of `part`, and of the other parts that this browser has; sets `data-kept` on the page when that is done.
 * Without `part` only of those that it has, for another language.
 */
export async function storeOffline(part) {
  delete document.documentElement.dataset.kept;
  try {
    const parts = [...(part ? [part] : []), ...(await partsStored())];
    if (!parts.length) return;
    const registration = await navigator.serviceWorker.register(WORKER, { scope: "/" });
    const worker = await activated(registration);
    const folder = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
    const shell = performance.getEntriesByType("resource").map((entry) => new URL(entry.name)).filter((url) => url.origin === location.origin).map((url) => url.pathname);
    const wanted = [...EVERY_PAGE, ...parts.flatMap((name) => FILES[name])].map((path) => `${folder}/${path.replace("{language}", language)}`);
    const files = [...new Set([...shell.filter((path) => path.startsWith(`${folder}/`)), ...wanted])];
    const channel = new MessageChannel();
    channel.port1.onmessage = ({ data }) => (document.documentElement.dataset.kept = String(data));
    worker.postMessage({ folder, files }, [channel.port2]);
  } catch {
    document.documentElement.dataset.kept = "false";
  }
}

/** The parts that this browser has stored, perhaps of an older version. */
async function partsStored() {
  const stored = await (await caches.open(CACHE_NAME)).keys();
  return Object.keys(FILES).filter((part) => stored.some(({ url }) => url.endsWith(`/pages/${part}.js`)));
}

/** The registration's worker, once it is active. `serviceWorker.ready` would wait for a worker of the address at which this page was opened. */
function activated({ installing, waiting, active }) {
  const worker = installing ?? waiting ?? active;
  return new Promise((resolve, reject) => {
    const check = () => {
      if (worker.state === "activated") resolve(worker);
      else if (worker.state === "redundant") reject(new Error("the worker did not start"));
    };
    worker.addEventListener("statechange", check);
    check();
  });
}
