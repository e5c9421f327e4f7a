// The ticket types: who pays which price. Listed in the order in which visitors see them; made, changed, switched off and deleted.

import { Problem, post, put } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { list } from "../lib/format.js";
import { again } from "../lib/router.js";
import { nameIn, t } from "../lib/text.js";
import { ask } from "../parts/dialog.js";
import { field, form } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { invalid } from "../parts/wrong.js";
import { versioned } from "./changed.js";
import { CHANNELS, channels, check, checkedIn, checks, codeOf, everyText, givenTexts, isCode, textsField, textsIn } from "./fields.js";
import { act, badge, everything, remove, sheet, table } from "./listing.js";
import { KINDS } from "./pricing.js";
import { fieldsOf, movers } from "./sequence.js";

const PATH = "/v1/ticket-types";
const REPORTED = ["FULL", "REDUCED", "FREE"];
/** The server's bounds of `mostPerOrder`. */
const MOST_MAX = 100;

export const readTypes = () => everything(PATH);

/** The section of the page of prices. */
export function typeSection(types) {
  const nameOf = (code) => nameIn(types.find((type) => type.code === code)?.name) || code;
  const first = types.find((type) => type.active && type.channels.includes("WEB") && !type.accompanies);
  const columns = [
    [t("staff.name"), (type) => [nameIn(type.name), " ", type === first && badge(t("staff.types.first"), "good"), !type.active && badge(t("staff.types.off"), "warn"), h("p", { class: "soft" }, h("code", {}, type.code))]],
    [t("staff.types.reported"), (type) => t(`staff.types.${type.reportedAs}`)],
    [t("staff.types.rules"), (type) => rules(type, nameOf)],
    [t("staff.order-in-list"), (type) => movers(types, types.indexOf(type), PATH, nameIn(type.name))],
    [t("staff.actions"), (type) => actions(type, types)],
  ];
  return h("section", { class: "stack" },
    h("div", { class: "staff-head" }, h("div", { class: "head" }, h("h2", {}, t("staff.types.title")), h("p", {}, t("staff.types.about"))), act(t("staff.types.new"), () => edit(types, null), types.length ? "" : "main")),
    table(t("staff.types.title"), columns, types, t("staff.types.none")));
}

function rules({ channels, proof, mostPerOrder, accompanies, seatKinds = [] }, nameOf) {
  const lines = [
    list(channels.map((channel) => t(`staff.channel.${channel}`))),
    seatKinds.length > 0 && t("staff.types.only-kinds", { kinds: list(seatKinds.map((kind) => t(`kind.${kind}`))) }),
    nameIn(proof) && t("staff.types.proof", { proof: nameIn(proof) }),
    mostPerOrder && t("staff.types.at-most", { n: mostPerOrder }),
    accompanies && t("staff.types.with", { name: nameOf(accompanies) }),
  ];
  return lines.filter(Boolean).map((line) => h("div", {}, line));
}

function actions(type, types) {
  const name = nameIn(type.name);
  const button = (key, work, look = "small") => {
    const made = act(t(`staff.types.${key}`), work, look);
    made.setAttribute("aria-label", t(`staff.types.${key}-of`, { name }));
    return made;
  };
  return h("div", { class: "row actions" },
    button("change", () => edit(types, type)),
    button(type.active ? "switch-off" : "switch-on", () => toggle(type)),
    button("delete", () => end(type), "small grave"));
}

async function toggle(type) {
  try {
    await put(`${PATH}/${type.id}`, { ...fieldsOf(type), active: !type.active });
    notice(t(type.active ? "staff.types.switched-off" : "staff.types.switched-on", { name: nameIn(type.name) }));
  } finally {
    // Where somebody else has changed it, the new version is shown.
    await again();
  }
}

async function end(type) {
  const name = nameIn(type.name);
  const answer = await ask(t("staff.types.delete-ask", { name }), h("p", {}, t("staff.types.delete-about")), [["no", t("staff.keep")], ["yes", t("staff.delete"), "grave"]]);
  if (answer !== "yes") return;
  await remove(`${PATH}/${type.id}`);
  notice(t("staff.deleted", { name }));
  await again();
}

/** The dialog of a ticket type, or of a new one. */
function edit(types, found) {
  const load = async () => {
    const newest = (await readTypes()).find((type) => type.id === found.id);
    if (!newest) throw new Problem({ status: 404, code: "deleted-meanwhile" });
    return newest;
  };
  const position = Math.max(-1, ...types.map((type) => type.position)) + 1;
  const make = ({ draft, save }) => typeForm({ draft, save, others: types.filter((type) => type.id !== found?.id), found, position, close: () => opened.close() });
  const opened = sheet(found ? t("staff.types.change-of", { name: nameIn(found.name) }) : t("staff.types.new"), versioned({ found, draftOf, load, make }));
}

const draftOf = (type) => ({
  name: everyText(type?.name),
  proof: everyText(type?.proof),
  code: type?.code ?? "",
  reportedAs: type?.reportedAs ?? "FULL",
  seatKinds: type?.seatKinds?.length ? type.seatKinds : KINDS,
  channels: type?.channels ?? CHANNELS,
  mostPerOrder: String(type?.mostPerOrder ?? ""),
  accompanies: type?.accompanies ?? "",
  active: type?.active ?? true,
});

function typeForm({ draft, save, others, found, position, close }) {
  const code = field("code", t("staff.types.code"), { value: draft.code, hint: t("staff.types.code-hint"), autocomplete: "off", spellcheck: "false" });
  const parts = {
    seatKinds: checks("seatKinds", t("staff.types.kinds"), KINDS.map((kind) => [kind, t(`kind.${kind}`)]), draft.seatKinds),
    channels: checks("channels", t("staff.types.channels"), channels(), draft.channels),
  };
  const made = form({
    fields: [
      textsField("name", t("staff.name"), draft.name),
      found ? h("p", { class: "soft" }, `${t("staff.types.code")}: `, h("code", {}, found.code)) : code,
      textsField("proof", t("staff.types.proof-field"), draft.proof),
      field("reportedAs", t("staff.types.reported"), { options: REPORTED.map((kind) => [kind, t(`staff.types.${kind}`)]), value: draft.reportedAs }),
      parts.seatKinds, parts.channels,
      h("div", { class: "two" },
        field("mostPerOrder", t("staff.types.most"), { type: "number", min: 1, max: MOST_MAX, value: draft.mostPerOrder, hint: t("staff.types.most-hint") }),
        field("accompanies", t("staff.types.accompanies"), { options: [["", t("staff.types.nobody")], ...others.map((type) => [type.code, nameIn(type.name)])], value: draft.accompanies, hint: t("staff.types.accompanies-hint") })),
      check("active", t("staff.types.active"), draft.active),
    ],
    label: t(found ? "staff.save" : "staff.types.create"),
    work: async () => {
      const body = bodyOf(read());
      const saved = await save((current) => send(current, body, position));
      if (!saved) return;
      close();
      notice(t("staff.saved", { name: nameIn(saved.name) }));
      await again();
    },
  });
  const read = () => {
    const { mostPerOrder, accompanies, reportedAs, active } = made.elements;
    return {
      name: textsIn(made, "name"),
      proof: textsIn(made, "proof"),
      code: found?.code ?? made.elements.code.value.trim(),
      reportedAs: reportedAs.value,
      seatKinds: checkedIn(parts.seatKinds),
      channels: checkedIn(parts.channels),
      mostPerOrder: mostPerOrder.value,
      accompanies: accompanies.value,
      active: active.checked,
    };
  };
  if (!found) followName(made);
  return { node: made, read };
}

/** Makes the code of a new type from its name, until the code itself is typed. */
function followName(made) {
  const { code } = made.elements;
  let isTyped = code.value !== "";
  code.addEventListener("input", () => (isTyped = code.value !== ""));
  made.addEventListener("input", ({ target }) => {
    if (isTyped || !target.name.startsWith("name.")) return;
    const { en, de } = textsIn(made, "name");
    code.value = codeOf(en || de);
  });
}

/** The draft as the server takes it; throws a problem with what is wrong in it. */
function bodyOf({ name, proof, code, reportedAs, seatKinds, channels, mostPerOrder, accompanies, active }) {
  const wrong = [
    !givenTexts(name) && { field: "name", code: "required" },
    !isCode(code) && { field: "code", text: t("staff.types.code-wrong") },
    !seatKinds.length && { field: "seatKinds", text: t("staff.types.kinds-none") },
    !channels.length && { field: "channels", code: "count" },
  ].filter(Boolean);
  if (wrong.length) throw invalid(...wrong);
  return {
    code,
    name: givenTexts(name),
    proof: givenTexts(proof),
    reportedAs,
    seatKinds: seatKinds.length === KINDS.length ? [] : seatKinds,
    channels,
    mostPerOrder: mostPerOrder ? Number(mostPerOrder) : undefined,
    accompanies: accompanies || undefined,
    active,
  };
}

async function send(current, body, position) {
  try {
    return current ? await put(`${PATH}/${current.id}`, { ...body, position: current.position, version: current.version }) : await post(PATH, { ...body, position });
  } catch (problem) {
    if (problem.code === "ticket-type-taken") throw invalid({ field: "code", text: t("problem.ticket-type-taken") });
    throw problem;
  }
}
