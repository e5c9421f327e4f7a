// The fields of the forms about an account. The address that was typed in one of them is there in the next: at login, when opening
// an account, and when asking for a new password.

import { t } from "../lib/text.js";
import { field } from "./form.js";

/** Longer addresses do not exist. */
const EMAIL_MAX = 254;
const PASSWORD_MIN = 8;

let typed = "";

/** `more` are attributes of the input, or a hint. */
export function emailField(more = {}) {
  const remember = (event) => (typed = event.target.value.trim());
  // Both events: password managers may cause only the second.
  return field("email", t("login.email"), { type: "email", autocomplete: "username", required: true, inputmode: "email", maxlength: EMAIL_MAX, value: typed, on: { input: remember, change: remember }, ...more });
}

/** A field for a new password. Without `maxlength`: a browser would cut a pasted password without a word. */
export function newPasswordField(name, label) {
  return field(name, label, { type: "password", autocomplete: "new-password", required: true, minlength: PASSWORD_MIN, hint: t("register.password-hint") });
}

export const nameField = (label, value) => field("name", label, { value, autocomplete: "name", required: true, maxlength: 100 });
