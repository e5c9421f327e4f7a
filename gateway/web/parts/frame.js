// The frame of every page: logo, navigation, login, language.

import { hasLogin } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { again, go } from "../lib/router.js";
import { isStaff, logOut, onUser, user } from "../lib/session.js";
import { LANGUAGES, language, setLanguage, t } from "../lib/text.js";
import { notice, problemText } from "./notice.js";

/** Whether payments are tests, as the server has written into the page: then there is a banner, so that nobody takes the tickets for real ones. */
const isSandbox = document.querySelector('meta[name="marquee-sandbox"]')?.content === "true";

/** Draws the frame, and again when the user changes. */
export function frame() {
  document.documentElement.lang = language;
  draw();
  onUser(draw);
}

/** Marks the link of the current page. */
export function mark() {
  for (const link of document.querySelectorAll("#fascia nav a")) {
    const isCurrent = link.pathname === "/" ? location.pathname === "/" : location.pathname.startsWith(link.pathname);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function draw() {
  const skip = document.getElementById("skip");
  skip.textContent = t("frame.skip");
  const link = (path, key) => h("a", { href: path }, t(key));
  const who = user();
  const nav = h(
    "nav",
    { "aria-label": t("frame.nav") },
    link("/", "frame.programme"),
    isStaff() && link("/staff", "frame.staff"),
    // With a login that is not restored yet, the links are shown already, so that nothing moves later.
    who || hasLogin() ? [link("/tickets", "frame.tickets"), link("/account", "frame.account")] : link("/login", "frame.login"),
  );
  const sign = h("a", { class: "sign", href: "/", "aria-label": t("frame.home") }, h("span", { "aria-hidden": "true" }, "Marquee"));
  const sandbox = isSandbox && h("p", { class: "sandbox", role: "note" }, t("frame.sandbox"));
  replace(document.getElementById("fascia"), sandbox, h("div", { class: "fascia-row" }, sign, nav));

  const languages = h(
    "select",
    { id: "language", on: { change: changeLanguage } },
    Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, lang: code, selected: code === language }, name)),
  );
  replace(
    document.getElementById("foot"),
    h(
      "div",
      { class: "foot-row" },
      h("span", {}, t("frame.claim")),
      h("a", { href: "/docs" }, t("frame.api")),
      who && h("button", { class: "button small", type: "button", on: { click: handleLogout } }, t("frame.logout", { name: who.name })),
      h("label", { for: "language" }, h("span", {}, t("frame.language")), languages),
    ),
  );
  mark();
}

function changeLanguage(event) {
  setLanguage(event.target.value);
  draw();
  document.getElementById("language").focus();
  again();
}

async function handleLogout() {
  try {
    await logOut();
    notice(t("login.gone"));
    go("/");
  } catch (problem) {
    notice(problemText(problem), "bad");
  }
}
