// The cinema itself: its name, legal data, look, links, and the rules of new orders. Name and colours are shown while they are typed.

import { put } from "../lib/api.js";
import { currencyCodes, loadCurrencies } from "../lib/currencies.js";
import { h, replace } from "../lib/dom.js";
import { list } from "../lib/format.js";
import { again } from "../lib/router.js";
import { user } from "../lib/session.js";
import { dress, setSite } from "../lib/site.js";
import { LANGUAGES, has, t } from "../lib/text.js";
import { upload } from "../lib/upload.js";
import { field, form } from "../parts/form.js";
import { message, notice, problemText } from "../parts/notice.js";
import { invalid, wrongText } from "../parts/wrong.js";
import { auditOf, auditTable } from "./audited.js";
import { versioned } from "./changed.js";
import { check, checkedIn, checks } from "./fields.js";
import { fresh, head } from "./listing.js";

const LEGAL = ["company", "address", "register", "vatId", "filmBoardId"];
const LINKS = ["imprint", "terms", "privacy"];
const COLOURS = ["header", "onHeader", "button", "onButton"];
/** The page's own colours, as `style/base.css` has them: where a choice of others begins. */
const OWN_COLOURS = { header: "#171213", onHeader: "#f5ecdf", button: "#f4ae33", onButton: "#261803" };
const LOGO_TYPES = "image/jpeg,image/png,image/webp";
/** The server's bounds. */
const MAX = { name: 100, slug: 40, company: 200, address: 200, register: 200, vatId: 30, filmBoardId: 30, phone: 40, mailSender: 100, link: 500, until: 525600, cutoff: 10080 };

export default async function site({ signal }) {
  const [found, audit] = await Promise.all([read(), auditOf(["SITE_CHANGED", "SHOWTIME_RULES_CHANGED"], signal), loadCurrencies()]);
  const made = versioned({ found, draftOf, load: read, make: ({ draft, save }) => siteForm(draft, save) });
  return {
    title: t("staff.place.site"),
    node: h("div", { class: "stack" }, head(t("staff.place.site"), t("staff.site.about")), made, logoUpload(found), changes(audit)),
  };
}

/** Who changed the site, its logo or a showtime's own rules, and when. */
function changes(audit) {
  const title = t("staff.site.changes");
  const name = (id) => (id === user()?.id ? user().name : id ?? "–");
  const what = ({ kind, details }) => {
    if (kind === "SITE_CHANGED") return list((details.changed ?? []).map(fieldName)) || "–";
    return h("a", { href: `/staff/showtimes/${details.showtimeId}` }, t("staff.site.showtime-rules"));
  };
  return auditTable(title, audit, [[t("staff.people.what"), what]], name);
}

/** The label of a field by its path, such as `refundPolicy.percent`; of one without a label, the path. */
function fieldName(path) {
  const key = { "theme.logoUrl": "logo", "theme.colours": "own-colours", "refundPolicy.untilMinutes": "until", "salesCutoffs.webMinutes": "cutoff" }[path] ?? path.split(".").at(-1);
  return has(`staff.site.${key}`) ? t(`staff.site.${key}`) : path;
}

const read = () => fresh("/v1/site");

/** The site as texts. */
const draftOf = ({ name, slug, legal = {}, country, timeZone, currency, languages, theme = {}, contact = {}, mailSender, refundPolicy, salesCutoffs, links = {} }) => ({
  name,
  slug,
  legal: Object.fromEntries(LEGAL.map((key) => [key, legal[key] ?? ""])),
  country: country ?? "",
  timeZone,
  currency,
  languages,
  logoUrl: theme.logoUrl ?? "",
  hasColours: Boolean(theme.colours),
  colours: theme.colours ?? OWN_COLOURS,
  email: contact.email ?? "",
  phone: contact.phone ?? "",
  mailSender: mailSender ?? "",
  untilMinutes: String(refundPolicy.untilMinutes),
  percent: String(refundPolicy.percent),
  webMinutes: String(salesCutoffs.webMinutes),
  links: Object.fromEntries(LINKS.map((key) => [key, links[key] ?? ""])),
});

/** Sends a file as the logo. The server makes it a new version of the site, which the page then reads again. */
function logoUpload({ id }) {
  const state = h("div", { "aria-live": "polite" });
  const input = h("input", { type: "file", id: "file-logo", class: "input", accept: LOGO_TYPES });
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file) return;
    input.disabled = true;
    replace(state, h("p", { role: "status" }, t("wait.page")));
    try {
      await upload(`/v1/sites/${id}/logo`, file);
      setSite(await read());
      notice(t("staff.site.logo-stored"));
      await again();
    } catch (problem) {
      const wrong = problem.errors?.find((error) => error.field === "file");
      replace(state, message("bad", wrong ? wrongText(wrong) : problemText(problem)));
    } finally {
      input.disabled = false;
      input.value = "";
    }
  });
  return h("div", { class: "card stack" }, h("h2", {}, t("staff.site.upload")), h("div", { class: "field" }, h("label", { for: input.id }, t("staff.site.choose-logo")), input, h("span", { class: "hint" }, t("staff.site.upload-hint"))), state);
}

function siteForm(draft, save) {
  const label = (key) => t(`staff.site.${key}`);
  const line = (name, key, value, props = {}) => field(name, label(key), { value, autocomplete: "off", ...props });
  const section = (key, ...parts) => h("fieldset", { class: "stack" }, h("legend", {}, h("h2", {}, label(key))), parts);
  const languages = checks("languages", label("languages"), Object.entries(LANGUAGES), draft.languages);
  const shown = h("div", { class: "site-preview", "aria-hidden": "true" });
  const made = form({
    fields: [
      section("who",
        line("name", "name", draft.name, { required: true, maxlength: MAX.name }),
        h("div", { class: "two" }, line("contact.email", "email", draft.email, { type: "email" }), line("contact.phone", "phone", draft.phone, { maxlength: MAX.phone })),
        line("mailSender", "mailSender", draft.mailSender, { maxlength: MAX.mailSender, hint: label("mailSender-hint") }),
        line("slug", "slug", draft.slug, { required: true, maxlength: MAX.slug, spellcheck: "false", hint: label("slug-hint") })),
      section("legal", LEGAL.map((key) => line(`legal.${key}`, key, draft.legal[key], { maxlength: MAX[key] })),
        LINKS.map((key) => line(`links.${key}`, key, draft.links[key], { maxlength: MAX.link, spellcheck: "false", hint: key === "imprint" ? label("link-hint") : undefined }))),
      section("look",
        line("theme.logoUrl", "logo", draft.logoUrl, { maxlength: MAX.link, spellcheck: "false", hint: label("logo-hint") }),
        check("hasColours", label("own-colours"), draft.hasColours),
        h("div", { class: "two", dataset: { field: "theme.colours" } }, COLOURS.map((key) => line(`theme.colours.${key}`, key, draft.colours[key], { type: "color" }))),
        h("p", { class: "soft" }, label("contrast-hint")),
        shown),
      section("place",
        h("div", { class: "two" },
          line("country", "country", draft.country, { maxlength: 2, hint: label("country-hint") }),
          line("timeZone", "timeZone", draft.timeZone, { required: true, spellcheck: "false" }),
          field("currency", label("currency"), { options: currencyCodes().map((code) => [code, code]), value: draft.currency })),
        languages),
      section("rules",
        h("div", { class: "two" },
          line("refundPolicy.untilMinutes", "until", draft.untilMinutes, { type: "number", min: 0, max: MAX.until, required: true }),
          line("refundPolicy.percent", "percent", draft.percent, { type: "number", min: 0, max: 100, required: true }),
          line("salesCutoffs.webMinutes", "cutoff", draft.webMinutes, { type: "number", min: 0, max: MAX.cutoff, required: true })),
        h("p", { class: "soft" }, label("rules-hint"))),
    ],
    label: t("staff.save"),
    work: async () => {
      const typed = typedIn();
      if (!typed.languages.length) throw invalid({ field: "languages", text: label("languages-none") });
      const saved = await save((current) => send(current, typed));
      if (!saved) return;
      setSite(saved);
      notice(t("staff.saved", { name: saved.name }));
      await again();
    },
  });
  const value = (name) => made.elements[name].value;
  const typedIn = () => ({
    name: value("name"),
    slug: value("slug").trim(),
    legal: Object.fromEntries(LEGAL.map((key) => [key, value(`legal.${key}`)])),
    country: value("country"),
    timeZone: value("timeZone").trim(),
    currency: value("currency"),
    languages: inOrder(checkedIn(languages), draft.languages),
    logoUrl: value("theme.logoUrl"),
    hasColours: made.elements.hasColours.checked,
    colours: Object.fromEntries(COLOURS.map((key) => [key, value(`theme.colours.${key}`)])),
    email: value("contact.email"),
    phone: value("contact.phone"),
    mailSender: value("mailSender"),
    untilMinutes: value("refundPolicy.untilMinutes"),
    percent: value("refundPolicy.percent"),
    webMinutes: value("salesCutoffs.webMinutes"),
    links: Object.fromEntries(LINKS.map((key) => [key, value(`links.${key}`)])),
  });
  const preview = () => {
    const { name, colours, hasColours } = typedIn();
    replace(shown, h("div", { class: "site-preview-head" }, h("span", { class: "sign" }, h("span", {}, name)), h("span", {}, t("frame.programme"))), h("span", { class: "button main" }, t("frame.tickets")));
    dress(shown, hasColours ? colours : OWN_COLOURS);
  };
  made.addEventListener("input", preview);
  preview();
  return { node: made, read: typedIn };
}

/** The checked languages: those of before first, in their order, since the first is the default. */
const inOrder = (checked, before) => [...before.filter((code) => checked.includes(code)), ...checked.filter((code) => !before.includes(code))];

/** Only texts that say something. */
const given = (texts) => Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, text.trim()]).filter(([, text]) => text));

async function send(current, { name, slug, legal, country, timeZone, currency, languages, logoUrl, hasColours, colours, email, phone, mailSender, untilMinutes, percent, webMinutes, links }) {
  const body = {
    version: current.version,
    name: name.trim(),
    slug,
    legal: given(legal),
    ...given({ country: country.toUpperCase(), mailSender }),
    timeZone,
    currency,
    languages,
    theme: { ...given({ logoUrl }), ...(hasColours && { colours }) },
    contact: given({ email, phone }),
    refundPolicy: { untilMinutes: Number(untilMinutes), percent: Number(percent) },
    salesCutoffs: { webMinutes: Number(webMinutes) },
    links: given(links),
  };
  return put(`/v1/sites/${current.id}`, body);
}
