// Logs in, then returns to the page that required the login.

import { h } from "../lib/dom.js";
import { go } from "../lib/router.js";
import { isStaff, logIn } from "../lib/session.js";
import { t } from "../lib/text.js";
import { emailField } from "../parts/account-fields.js";
import { field, form } from "../parts/form.js";
import { message, notice, problemText } from "../parts/notice.js";

/** Only addresses of this site: a link must not redirect to another site after a login. */
export const inside = (to) => (/^\/(?![/\\])/.test(to ?? "") ? to : "/");

export default async function login({ query }) {
  const to = inside(query.to);
  // The order of a mail's link, which is added to the account.
  const order = query.order ? `&order=${encodeURIComponent(query.order)}` : "";
  const on = (path) => `${path}?to=${encodeURIComponent(to)}${order}`;
  return {
    title: t("login.title"),
    node: h(
      "div",
      { class: "narrow stack" },
      h("h1", { tabindex: "-1" }, t("login.title")),
      to.startsWith("/showtimes/") && message("", t("login.for-seats")),
      form({
        fields: [
          emailField(),
          field("password", t("login.password"), { type: "password", autocomplete: "current-password", required: true }),
        ],
        label: t("login.action"),
        busy: t("login.busy"),
        work: async ({ email, password }) => {
          const problem = await logIn(email.trim(), password, query.order);
          if (problem) notice(problemText(problem), "bad");
          // Staff begin at their own page.
          go(to === "/" && isStaff() ? "/staff" : to, { instead: true });
        },
      }),
      h("p", {}, h("a", { href: on("/register") }, t("login.register"))),
      h("p", {}, h("a", { href: "/forgot" }, t("login.forgot"))),
    ),
  };
}
