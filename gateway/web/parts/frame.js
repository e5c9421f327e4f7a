// The frame of every page: logo, navigation, login, language.

import { hasLogin } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { again, go } from "../lib/router.js";
import { isStaff, logOut, onUser, user } from "../lib/session.js";
import { dress, onSite, site } from "../lib/site.js";
import { LANGUAGES, isOffered, language, setLanguage, t } from "../lib/text.js";
import { heldBar } from "./held.js";
import { notice, problemText } from "./notice.js";

/** Whether payments are tests, as the server has written into the page: then there is a banner, so that nobody takes the tickets for real ones. */
const isSandbox = document.querySelector('meta[name="marquee-sandbox"]')?.content === "true";

/** Draws the frame, and again when the user changes. */
export function frame() {
  document.documentElement.lang = language;
  dress();
  draw();
  onUser(draw);
  onSite(draw);
}

/** Marks the link of the current page. */
export function mark() {
  heldBar();
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
  const name = h("a", { class: "sign", href: "/", "aria-label": t("frame.home", { cinema: site.name }) }, h("span", { "aria-hidden": "true" }, site.name));
  const sandbox = isSandbox && h("p", { class: "sandbox", role: "note" }, t("frame.sandbox"));
  replace(document.getElementById("fascia"), sandbox, h("div", { class: "fascia-row" }, logo(), name, nav), heldBar());

  const languages = h(
    "select",
    { id: "language", on: { change: changeLanguage } },
    Object.entries(LANGUAGES).filter(([code]) => isOffered(code)).map(([code, name]) => h("option", { value: code, lang: code, selected: code === language }, name)),
  );
  replace(
    document.getElementById("foot"),
    h(
      "div",
      { class: "foot-row" },
      h("span", {}, t("frame.claim", { cinema: site.name })),
      imprint(),
      h("a", { href: "/docs" }, t("frame.api")),
      who && h("button", { class: "button small", type: "button", on: { click: handleLogout } }, t("frame.logout", { name: who.name })),
      h("label", { for: "language" }, h("span", {}, t("frame.language")), languages),
    ),
  );
  mark();
}

/** The logo beside the name; nothing where it cannot be loaded. */
function logo() {
  if (!site.logoUrl) return null;
  const image = h("img", { class: "logo", src: site.logoUrl, alt: "" });
  image.addEventListener("error", () => image.remove());
  return image;
}

/** Who the cinema is, and the pages that the law asks for. */
function imprint() {
  const { company, address, contact = {}, links = {} } = site;
  const who = [company !== site.name && company, address, contact.phone].filter(Boolean).join(" · ");
  return [
    who && h("span", {}, who),
    contact.email && h("a", { href: `mailto:${contact.email}` }, contact.email),
    ["imprint", "terms", "privacy"].map((key) => links[key] && h("a", { href: links[key] }, t(`frame.${key}`))),
  ];
}

async function changeLanguage({ target }) {
  try {
    await setLanguage(target.value);
  } catch (error) {
    target.value = language;
    return notice(problemText(error), "bad");
  }
  // What is stored for a time without a connection is in the language of before.
  if (navigator.serviceWorker?.controller) import("../offline/files.js").then(({ storeOffline }) => storeOffline());
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
