// The user's account: name, password, own data, end all logins.

import { get, setSession, patch, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { plainDate } from "../lib/format.js";
import { go } from "../lib/router.js";
import { logOut, rename } from "../lib/session.js";
import { t } from "../lib/text.js";
import { nameField, newPasswordField } from "../parts/account-fields.js";
import { field, form } from "../parts/form.js";
import { notice, message, problemText } from "../parts/notice.js";
import { privacy } from "../parts/privacy.js";

export default async function account({ signal }) {
  const me = await get("/v1/me", {}, { signal });
  return {
    title: t("account.title"),
    node: h("div", { class: "stack narrow" }, h("h1", { tabindex: "-1" }, t("account.title")), !me.emailVerified && unproven(me), person(me), password(), privacy(), endings()),
  };
}

/** A hint to confirm the address: until then no mails about held seats are sent. */
function unproven(me) {
  const button = h("button", { class: "button small", type: "button" }, t("account.verify-send"));
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post("/v1/auth/verify/resend");
      notice(t("account.verify-sent"));
    } catch (problem) {
      button.disabled = false;
      notice(problemText(problem), "bad");
    }
  });
  return message("warn", t("account.unproven"), h("p", {}, t("account.unproven-text", { email: me.email })), button);
}

function person(me) {
  return h(
    "section",
    { class: "card stack" },
    h("dl", { class: "pairs" },
      h("dt", {}, t("account.email")), h("dd", {}, me.email),
      h("dt", {}, t("account.since")), h("dd", {}, plainDate(me.createdAt.slice(0, 10)))),
    form({
      fields: [nameField(t("account.name"), me.name)],
      label: t("account.save"),
      work: async ({ name }) => {
        rename(await patch("/v1/me", { name: name.trim() }));
        notice(t("account.saved"));
      },
    }),
  );
}

function password() {
  const made = form({
    fields: [
      field("oldPassword", t("account.old"), { type: "password", autocomplete: "current-password", required: true }),
      newPasswordField("newPassword", t("account.new")),
    ],
    label: t("account.change"),
    work: async ({ oldPassword, newPassword }) => {
      await post("/v1/me/password", { oldPassword, newPassword });
      made.reset();
      notice(t("account.changed"));
    },
  });
  return h("section", { class: "card stack" }, h("h2", {}, t("account.password")), made);
}

function endings() {
  const after = (work, text) => async () => {
    try {
      await work();
      notice(t(text));
      go("/");
    } catch (problem) {
      notice(problemText(problem), "bad");
    }
  };
  const everywhere = async () => {
    await post("/v1/auth/logout-everywhere");
    setSession(null);
  };
  return h(
    "section",
    { class: "stack" },
    h("div", { class: "row" },
      h("button", { class: "button", type: "button", on: { click: after(logOut, "login.gone") } }, t("account.logout")),
      h("button", { class: "button grave", type: "button", on: { click: after(everywhere, "account.everywhere-done") } }, t("account.everywhere"))),
    h("p", { class: "soft" }, t("account.everywhere-text")),
  );
}
