// A lasting stream of server-sent events. The browser reopens a broken stream by itself; a refused one is opened again
// here, with growing pauses. It is closed while the tab is hidden: the server begins each stream with a snapshot, so nothing is
// missed. Reports whether the stream is connected.

import { pauseAfter } from "./reconnect.js";
import { whileVisible } from "./visible.js";

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
      timer = setTimeout(open, pauseAfter(refused++));
    });
    for (const [name, handler] of Object.entries(events)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
  };
  const close = () => {
    clearTimeout(timer);
    source.close();
  };
  whileVisible(() => {
    open();
    return close;
  }, signal);
}
