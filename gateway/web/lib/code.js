// An order's code: eight characters of which none looks like another, shown in two groups.

const CODE = /^[2-9A-HJKMNP-TV-Z]{8}$/;
const BETWEEN = /[\s\p{Dash}_]/gu;

/** K7M2QX4D as K7M2-QX4D. */
export const shownCode = (code) => `${code.slice(0, 4)}-${code.slice(4)}`;

/** The code in a text that somebody typed, in any case and grouping; null if it is none. */
export function readCode(text) {
  const code = text.replace(BETWEEN, "").toUpperCase();
  return CODE.test(code) ? code : null;
}
