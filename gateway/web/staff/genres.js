// Genres: add, rename, delete.

import { patch, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { again } from "../lib/router.js";
import { t } from "../lib/text.js";
import { field, form } from "../parts/form.js";
import { ask } from "../parts/dialog.js";
import { notice } from "../parts/notice.js";
import { act, everything, head, remove, sheet, table } from "./listing.js";

export default async function genres() {
  const found = await everything("/v1/genres");
  const columns = [
    [t("staff.name"), (genre) => genre.name],
    [t("staff.actions"), (genre) => h("div", { class: "row" }, act(t("staff.rename"), () => rename(genre), "small"), act(t("staff.delete"), () => end(genre), "small grave"))],
  ];
  return {
    title: t("staff.place.genres"),
    node: h("div", { class: "stack" }, head(t("staff.place.genres"), t("staff.genres.about"), act(t("staff.genres.new"), () => rename(null), "main")), table(t("staff.place.genres"), columns, found)),
  };
}

function rename(genre) {
  const made = form({
    fields: [field("name", t("staff.name"), { value: genre?.name ?? "", required: true, maxlength: 100, autocomplete: "off" })],
    label: t("staff.save"),
    work: async ({ name }) => {
      const saved = genre ? await patch(`/v1/genres/${genre.id}`, { name: name.trim() }) : await post("/v1/genres", { name: name.trim() });
      close();
      notice(t("staff.saved", { name: saved.name }));
      await again();
    },
  });
  const { close } = sheet(t(genre ? "staff.rename" : "staff.genres.new"), made);
}

async function end(genre) {
  const answer = await ask(t("staff.genres.delete-ask", { name: genre.name }), h("p", {}, t("staff.genres.delete-about")), [["no", t("staff.keep")], ["yes", t("staff.delete"), "grave"]]);
  if (answer !== "yes") return;
  await remove(`/v1/genres/${genre.id}`);
  notice(t("staff.deleted", { name: genre.name }));
  await again();
}
