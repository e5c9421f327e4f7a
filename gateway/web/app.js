// Entry point: loads the reader's texts, restores the login, draws the frame, and maps addresses to modules. Imports only what the
// first view needs; each page's module is fetched when it is first visited.

import { loadCurrencies } from "./lib/currencies.js";
import { whenReachable } from "./lib/reconnect.js";
import { begin } from "./lib/router.js";
import { restore } from "./lib/session.js";
import { loadFirstTexts, loadTexts } from "./lib/text.js";
import { frame, mark } from "./parts/frame.js";
import { endNotices } from "./parts/notice.js";

/** A page: its module and what it needs besides, such as the currencies to show money, fetched in parallel. */
const page = (load, ...needs) => () => Promise.all([load(), ...needs.map((need) => need())]).then(([module]) => module);
const wrongTexts = () => loadTexts("wrong");
const staffTexts = () => loadTexts("staff");

const ROUTES = [
  ["/", page(() => import("./pages/programme.js"), loadCurrencies)],
  ["/movies/:id", page(() => import("./pages/movie.js"), loadCurrencies)],
  ["/showtimes/:id", page(() => import("./pages/seats.js"), loadCurrencies)],
  ["/reservations/:id", page(() => import("./pages/reservation.js"), loadCurrencies)],
  ["/tickets", page(() => import("./pages/tickets.js"), loadCurrencies)],
  ["/account", page(() => import("./pages/account.js"), wrongTexts)],
  ["/login", page(() => import("./pages/login.js"), wrongTexts)],
  ["/register", page(() => import("./pages/register.js"), wrongTexts)],
  ["/forgot", page(() => import("./pages/forgot.js"), wrongTexts)],
  ["/reset", page(() => import("./pages/reset.js"), wrongTexts)],
  ["/verify", page(() => import("./pages/verify.js"), wrongTexts)],
  ["/staff/*", page(() => import("./pages/staff.js"), loadCurrencies, staffTexts, wrongTexts)],
  ["/door", page(() => import("./pages/door.js"), staffTexts)],
];

async function open() {
  // Public pages do not wait for the login; other pages do, by their first request.
  restore();
  try {
    await loadFirstTexts();
  } catch {
    // Browsers may keep the failure of an import until a reload.
    return whenReachable(() => location.reload(), new AbortController().signal);
  }
  frame();
  begin(ROUTES, document.getElementById("main"), () => {
    mark();
    endNotices();
  });
}

open();
