// Makes the door's page available offline: a service worker stores the page and its files. Without service workers the page
// needs a connection to open, but works offline after that.

const WORKER = new URL("./worker.js", import.meta.url);
/** Files that the page may need offline and has not fetched yet. */
const EXTRA_FILES = ["../vendor/qr/decode.js", "../vendor/qr/index.js", "../icon.svg"];

/** Has the worker store everything; sets `data-kept` on the page when that is done. */
export async function storeOffline() {
  try {
    const worker = await activated(await navigator.serviceWorker.register(WORKER, { scope: "/door" }));
    const folder = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
    const fetched = performance.getEntriesByType("resource").map((entry) => new URL(entry.name)).filter((url) => url.origin === location.origin).map((url) => url.pathname);
    const extra = EXTRA_FILES.map((path) => new URL(path, import.meta.url).pathname);
    const files = [...new Set([...fetched.filter((path) => path.startsWith(`${folder}/`)), ...extra])];
    const channel = new MessageChannel();
    channel.port1.onmessage = ({ data }) => (document.documentElement.dataset.kept = String(data));
    worker.postMessage({ folder, files }, [channel.port2]);
  } catch {
    document.documentElement.dataset.kept = "false";
  }
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
