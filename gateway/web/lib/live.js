// Server-sent events that stay: the browser opens the stream again by itself, and this says while it is away. A stream
// that is refused (not broken) is tried again too, ever more slowly.

/** Pauses after a refusal: half a minute is the longest that anybody should look at what is no longer so. */
const PAUSES = [1000, 2000, 5000, 10_000, 30_000];

/** Hears `events` (name → function of the parsed data) until `signal` ends it; `state` is told "live" or "away". */
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
    for (const [name, heard] of Object.entries(events)) {
      source.addEventListener(name, (event) => heard(JSON.parse(event.data)));
    }
  };
  open();
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source.close();
  });
}
