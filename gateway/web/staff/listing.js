// Building blocks of the staff pages: uncached reads, tables, pagers, action buttons, dialogs.

import { all, call, get } from "../lib/api.js";
import { h, replace, unique } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { notice, problemText } from "../parts/notice.js";

/** A read that bypasses the cache: public lists may be some seconds old, and staff look for their own last change. */
export const fresh = (path, query, options) => get(path, query, { cache: "no-cache", ...options });

/** Every item of a list, up to `most`, bypassing the cache. */
export const everything = (path, query = {}, most = undefined) => all(path, query, { most, cache: "no-cache" });

/** In lists of at most 100, as many as one request may name. */
export const chunks = (items) => Array.from({ length: Math.ceil(items.length / 100) }, (_, at) => items.slice(at * 100, at * 100 + 100));

/** The head of a page: title, description, action buttons. */
export function head(title, about, ...actions) {
  return h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), about && h("p", {}, about)), h("div", { class: "row" }, actions));
}

/** The pages behind the entry “Technical”, as tabs. */
export function technical(current) {
  const tab = (name) => h("a", { class: "choice", href: `/staff/${name}`, "aria-current": name === current ? "page" : undefined }, h("b", {}, t(`staff.place.${name}`)));
  return h("nav", { class: "strip", "aria-label": t("staff.place.technical") }, ["operations", "letters"].map(tab));
}

/** A table. `columns` are `[label, cell(item), class]`. */
export function table(caption, columns, items, empty = t("staff.nothing")) {
  if (!items.length) return h("p", { class: "card soft" }, empty);
  const line = (item) => h("tr", {}, columns.map(([, cell, look], at) => h(at ? "td" : "th", { class: look, scope: at ? undefined : "row" }, cell(item))));
  return h(
    "div",
    // The table scrolls on a phone, so it must be focusable by keyboard.
    { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([label, , look]) => h("th", { class: look, scope: "col" }, label)))),
      h("tbody", {}, items.map(line))),
  );
}

/** Links to the other pages of a list. */
export function pager({ page, pageSize, total }, query) {
  const last = Math.max(1, Math.ceil(total / pageSize));
  const kept = Object.entries(query).filter(([key, value]) => key !== "page" && value);
  const link = (to, text) => {
    const exists = to >= 1 && to <= last;
    return exists && h("a", { class: "button small", href: `${location.pathname}?${new URLSearchParams([...kept, ["page", to]])}` }, text);
  };
  return h("nav", { class: "row pager", "aria-label": t("staff.pages") }, h("span", { class: "soft" }, t("staff.of", { page, last, n: total })), last > 1 && [link(page - 1, t("staff.before")), link(page + 1, t("staff.after"))]);
}

/** A button that runs `work` once at a time, and shows its problem in a notice. */
export function act(text, work, look = "") {
  const button = h("button", { class: `button ${look}`, type: "button" }, text);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      await work(button);
    } catch (problem) {
      notice(problemText(problem), "bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return button;
}

/** A dialog with any content; returns `{dialog, close}`. */
export function sheet(title, content, look = "") {
  const id = unique("sheet");
  const close = () => dialog.close();
  const dialog = h(
    "dialog",
    { "aria-labelledby": id, class: `sheet ${look}` },
    h("div", { class: "stack" },
      h("div", { class: "sheet-head" }, h("h2", { id, tabindex: "-1", autofocus: true }, title), h("button", { class: "button small", type: "button", "aria-label": t("dialog.close"), on: { click: close } }, "✕")),
      content),
  );
  dialog.addEventListener("close", () => dialog.remove());
  // Going back closes the dialog.
  addEventListener("popstate", close, { once: true });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

/** The filter form of a list: a change navigates to the address with the filter. `fields` are controls with a name. */
export function filters(fields, go) {
  const made = h("form", { class: "filters", role: "search" }, fields);
  const leave = () => {
    const given = Object.entries(Object.fromEntries(new FormData(made))).filter(([, value]) => value !== "");
    go(`${location.pathname}${given.length ? `?${new URLSearchParams(given)}` : ""}`);
  };
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    leave();
  });
  made.addEventListener("change", (event) => event.target.matches("select, input[type=date]") && leave());
  return made;
}

/** Calls `draw()` every `every` ms while the page is visible. Each call is awaited, so that calls do not overlap. */
export function poll(draw, every, signal) {
  let timer;
  const next = async () => {
    if (!document.hidden) await draw().catch(() => {});
    if (!signal.aborted) timer = setTimeout(next, every);
  };
  timer = setTimeout(next, every);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

/** The last 8 characters of an id. */
export const short = (id) => h("code", { title: id }, String(id).slice(-8));

export const badge = (text, look = "") => h("span", { class: `badge ${look}` }, text);

export const remove = (path) => call("DELETE", path);
export { replace };
