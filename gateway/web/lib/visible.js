// Lasting connections only while the tab is visible: over HTTP/1.1 browsers allow six connections to a host, in all tabs
// together, so that a seventh tab would never load.

/** Calls `start()` now and each time the tab is shown again; the function that it returns is called when the tab is hidden or `signal` aborts. */
export function whileVisible(start, signal) {
  let stop = null;
  const change = () => {
    const isWanted = !document.hidden && !signal.aborted;
    if (isWanted === Boolean(stop)) return;
    const ended = stop;
    stop = isWanted ? start() : null;
    ended?.();
  };
  document.addEventListener("visibilitychange", change, { signal });
  signal.addEventListener("abort", change);
  change();
}

/** The same for requests: calls `request(signal)`, whose signal aborts when the tab is hidden. */
export function requestWhileVisible(request, signal) {
  whileVisible(() => {
    const ended = new AbortController();
    request(ended.signal);
    return () => ended.abort();
  }, signal);
}
