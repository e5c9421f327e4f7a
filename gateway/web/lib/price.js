// Formats a price; zero is shown as a word.

import { money } from "./format.js";
import { t } from "./text.js";

export const isFree = ({ amount }) => amount === 0;

/** €24.00, or “Free”. */
export const price = (total) => (isFree(total) ? t("price.free") : money(total));
