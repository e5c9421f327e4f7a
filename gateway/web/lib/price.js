// A price, where zero is shown as a word; and problems that are about prices.

import { money } from "./format.js";
import { t } from "./text.js";

export const isFree = ({ amount }) => amount === 0;

/** €24.00, or “Free”. */
export const price = (total) => (isFree(total) ? t("price.free") : money(total));

/** Whether an order was refused because of its ticket types or what they cost. */
export const isOfTariff = ({ code = "" }) => code.startsWith("ticket-type-") || ["price-changed", "total-out-of-bounds"].includes(code);
