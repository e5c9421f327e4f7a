// Keeps the door's page on this device, so that it opens without a connection: a worker keeps what this page consists of. Where
// there are no workers the door needs the house to open, and nothing else.

const WORKER = new URL("./worker.js", import.meta.url);
/** What the page has not fetched yet and may need then. */
const LATER = ["../vendor/qr/decode.js", "../vendor/qr/index.js", "../icon.svg"];

/** Has the worker keep all; marks the page when it does. */
export async function stay() {
  try {
    const worker = await begun(await navigator.serviceWorker.register(WORKER, { scope: "/door" }));
    const folder = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
    const fetched = performance.getEntriesByType("resource").map((one) => new URL(one.name)).filter((url) => url.origin === location.origin).map((url) => url.pathname);
    const later = LATER.map((path) => new URL(path, import.meta.url).pathname);
    const files = [...new Set([...fetched.filter((path) => path.startsWith(`${folder}/`)), ...later])];
    const channel = new MessageChannel();
    channel.port1.onmessage = ({ data }) => (document.documentElement.dataset.kept = String(data));
    worker.postMessage({ folder, files }, [channel.port2]);
  } catch {
    document.documentElement.dataset.kept = "false";
  }
}

/** The registration's worker, once it works. `ready` would wait for one of the address that this page was opened at. */
function begun({ installing, waiting, active }) {
  const worker = installing ?? waiting ?? active;
  return new Promise((resolve, reject) => {
    const look = () => {
      if (worker.state === "activated") resolve(worker);
      else if (worker.state === "redundant") reject(new Error("the worker did not begin"));
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
