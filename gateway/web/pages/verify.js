// The page of a mail's link: confirms the address with the link's token. It needs a click, since mail programs open links too.

import { hasToken, post, refresh } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { note } from "../lib/router.js";
import { t } from "../lib/text.js";
import { form } from "../parts/form.js";
import { message } from "../parts/notice.js";

/** The way to a new link. */
const account = () => h("p", {}, h("a", { href: "/account" }, t("account.title")));

export default async function verify({ query }) {
  const { token } = query;
  // Remove the token from the address and the history.
  if (token) note({});
  const place = h("div", { class: "stack" });
  if (token) {
    place.append(form({
      fields: [],
      label: t("verify.action"),
      work: async () => {
        await post("/v1/auth/verify", { token });
        // The access token contains whether the address is confirmed.
        if (hasToken()) await refresh().catch(() => {});
        replace(place, message("good", t("verify.done"), h("p", {}, h("a", { href: "/" }, t("verify.on")))));
      },
    }), account(), h("p", { class: "soft" }, t("verify.not-me")));
  } else {
    place.append(message("bad", t("verify.no-token")), account());
  }
  return { title: t("verify.title"), node: h("div", { class: "narrow stack" }, h("h1", { tabindex: "-1" }, t("verify.title")), place) };
}
