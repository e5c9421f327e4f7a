// The versions of a film in the form of staff: a list of small forms that grows and shrinks. Languages are tags such as en or pt-BR.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/text.js";
import { field } from "../parts/form.js";
import { VERSION_KINDS } from "../parts/showing.js";

/** The server's most versions of a film. */
const VERSIONS_MAX = 20;

const valueOf = (box, name) => box.querySelector(`[name="${CSS.escape(name)}"]`).value.trim();

/** The tags in a text such as "de, en". */
const tagsIn = (text) => text.split(/[\s,;]+/).filter(Boolean);

/** A list of versions: `{node, read}`; `read()` gives them in the API's form. */
export function versionsField(versions) {
  const place = h("div", { class: "stack" });
  const add = h("button", { class: "button", type: "button" }, t("staff.versions.add"));
  const boxes = () => [...place.children];
  const read = () => boxes().map((box, at) => {
    const subtitles = tagsIn(valueOf(box, `versions[${at}].subtitles`));
    return { kind: valueOf(box, `versions[${at}].kind`), audio: valueOf(box, `versions[${at}].audio`), ...(subtitles.length > 0 && { subtitles }) };
  });
  const show = (items) => {
    replace(place, items.map((item, at) => box(item, at)));
    add.disabled = items.length >= VERSIONS_MAX;
  };
  const box = ({ kind, audio, subtitles = [] }, at) => {
    const remove = h("button", { class: "button small grave", type: "button", "aria-label": t("staff.versions.remove", { n: at + 1 }) }, t("staff.card.remove"));
    remove.addEventListener("click", () => {
      show(read().filter((_, other) => other !== at));
      add.focus();
    });
    const name = `versions[${at}]`;
    return h("fieldset", { class: "field extra", dataset: { field: name } }, h("legend", {}, t("staff.versions.one", { n: at + 1 })),
      field(`${name}.kind`, t("staff.versions.kind"), { options: VERSION_KINDS.map((kind) => [kind, t(`version.kind-${kind}`)]), value: kind }),
      h("div", { class: "two" },
        field(`${name}.audio`, t("staff.versions.audio"), { value: audio, maxlength: 35, required: true, autocomplete: "off", hint: t("staff.movies.language-hint") }),
        field(`${name}.subtitles`, t("staff.versions.subtitles"), { value: subtitles.join(", "), maxlength: 80, autocomplete: "off", hint: t("staff.versions.subtitles-hint") })),
      h("div", { class: "row" }, remove));
  };
  add.addEventListener("click", () => {
    show([...read(), { kind: "OV", audio: "" }]);
    boxes().at(-1).querySelector("select").focus();
  });
  show(versions);
  return { node: h("div", { class: "stack", dataset: { field: "versions" } }, h("h2", {}, t("staff.versions.title")), h("p", { class: "soft" }, t("staff.versions.about")), place, h("div", { class: "row" }, add)), read };
}
