// A lasting stream of server-sent events. The browser reopens a broken stream by itself; a refused one is opened again
// here, with growing pauses. Reports whether the stream is connected.

/** Pauses in ms after a refusal. At most half a minute, since the page shows outdated data meanwhile. */
const PAUSES = [1000, 2000, 5000, 10_000, 30_000];

/** Calls `events` (name → function of the parsed data) until `signal` aborts; calls `state` with "live" or "away". */
export function live(path, events, { signal, state = () => {} }) {
  let source;
  let refused = 0;
  let timer;
  const open = () => {
    source = new EventSource(path);
    source.addEventListener("open", () => {
      refused = 0;
      state("live");
    });
    source.addEventListener("error", () => {
      state("away");
      if (source.readyState !== EventSource.CLOSED || signal.aborted) return;
      timer = setTimeout(open, PAUSES[Math.min(refused++, PAUSES.length - 1)]);
    });
    for (const [name, handler] of Object.entries(events)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
  };
  open();
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source.close();
  });
}
