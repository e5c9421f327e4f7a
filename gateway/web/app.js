// Entry point: restores the login, draws the frame, and maps addresses to modules. Imports only what the first view needs;
// each page's module is fetched when it is first visited.

import { loadCurrencies } from "./lib/currencies.js";
import { begin } from "./lib/router.js";
import { restore } from "./lib/session.js";
import { frame, mark } from "./parts/frame.js";

/** A page that shows money: its module and the currencies are fetched in parallel, the currencies only once. */
const priced = (load) => () => Promise.all([load(), loadCurrencies()]).then(([page]) => page);

const ROUTES = [
  ["/", priced(() => import("./pages/programme.js"))],
  ["/movies/:id", priced(() => import("./pages/movie.js"))],
  ["/showtimes/:id", priced(() => import("./pages/seats.js"))],
  ["/reservations/:id", priced(() => import("./pages/reservation.js"))],
  ["/tickets", priced(() => import("./pages/tickets.js"))],
  ["/account", () => import("./pages/account.js")],
  ["/login", () => import("./pages/login.js")],
  ["/register", () => import("./pages/register.js")],
  ["/forgot", () => import("./pages/forgot.js")],
  ["/reset", () => import("./pages/reset.js")],
  ["/verify", () => import("./pages/verify.js")],
  ["/staff/*", priced(() => import("./pages/staff.js"))],
  ["/door", () => import("./pages/door.js")],
];

// Public pages do not wait for the login; other pages do, by their first request.
restore();
frame();
begin(ROUTES, document.getElementById("main"), mark);
