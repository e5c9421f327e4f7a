// A movie's poster. If there is none, one is drawn from the title: the same title always gets the same picture.
// The aspect ratio is fixed (2 to 3), so that nothing moves when it has loaded.

import { h, s } from "../lib/dom.js";
import { t } from "../lib/text.js";

const WIDTH = 240;
const HEIGHT = 360;
/** The width of a letter of the display font, as a part of its size. */
const LETTER = 0.43;
/** Letters of a word that is long. */
const LONG = 13;
/** Background, second, third and light colour; the background is dark enough for light letters. */
const PALETTES = [
  ["#1b2a41", "#c8553d", "#f28f3b", "#ffe3b8"],
  ["#2b1b2e", "#8f1f4b", "#e4572e", "#f9d9a8"],
  ["#0f2f2e", "#1f6f64", "#e9b44c", "#f6ead0"],
  ["#241c15", "#7a4b1e", "#d98e2b", "#f7e6c4"],
  ["#15213f", "#31539b", "#e07a8f", "#f3e9dc"],
  ["#2a1410", "#a4301f", "#e5a13b", "#f6e2bf"],
  ["#1d1b3a", "#5b4b9a", "#ef8354", "#f4e4d0"],
  ["#10261b", "#3d7040", "#d7b84a", "#f2ecd0"],
];

/** `small` is for lists; `eager` for the first posters of a page; `silent` hides it from screen readers, if the title is beside it. */
export function poster(movie, { small = false, eager = false, silent = false } = {}) {
  const url = small ? (movie.posterSmallUrl ?? movie.posterUrl) : movie.posterUrl;
  const picture = url
    ? h("img", { src: url, alt: silent ? "" : t("poster.alt", { title: movie.title }), width: WIDTH, height: HEIGHT, loading: eager ? "eager" : "lazy", decoding: "async" })
    : drawn(movie, silent);
  return h("div", { class: "poster" }, picture);
}

function drawn({ title }, silent) {
  const random = dice(title);
  const [ground, second, third, light] = PALETTES[Math.floor(random() * PALETTES.length)];
  const motif = MOTIFS[Math.floor(random() * MOTIFS.length)];
  const lines = wrap(title);
  const longest = Math.max(...lines.map((line) => line.length));
  const size = Math.min(58, Math.floor((WIDTH - 36) / (longest * LETTER)));
  // Another font, shown where the page's own is not loaded yet, is wider: a long word is then squeezed, not cut off.
  const fitted = (line) => longest >= LONG && { textLength: Math.round(line.length * LETTER * size), lengthAdjust: "spacingAndGlyphs" };
  const first = HEIGHT - 20 - (lines.length - 1) * size * 0.94;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, ...(silent ? { "aria-hidden": "true" } : { role: "img", "aria-label": t("poster.alt", { title }) }), preserveAspectRatio: "xMidYMid slice" },
    s("rect", { width: WIDTH, height: HEIGHT, fill: ground }),
    motif(random, { ground, second, third, light }),
    // A dark background for the letters, on any motif.
    s("rect", { y: first - size - 14, width: WIDTH, height: HEIGHT, fill: ground, opacity: 0.93 }),
    s("rect", { x: 18, y: first - size - 2, width: 34, height: 4, fill: third }),
    lines.map((line, at) => s("text", { x: 17, y: first + at * size * 0.94, "font-size": size, fill: light, ...fitted(line), "aria-hidden": "true" }, line)),
  );
}

/** A pseudo-random generator of numbers from 0 to 1, seeded by the text (FNV-1a, then xorshift). */
function dice(text) {
  let state = 2166136261;
  for (const char of text) state = Math.imul(state ^ char.codePointAt(0), 16777619);
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

/** Wraps a title into at most four lines of about the same length. */
function wrap(title) {
  const problemText = title.split(/\s+/).map((word) => (word.length > 14 ? `${word.slice(0, 13)}…` : word));
  const length = problemText.join(" ").length;
  const most = Math.max(9, Math.ceil(length / Math.min(4, Math.ceil(length / 10))), ...problemText.map((word) => word.length));
  const lines = [];
  for (const word of problemText) {
    const last = lines.at(-1);
    if (last !== undefined && `${last} ${word}`.length <= most) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  if (lines.length > 4) lines.splice(3, lines.length, `${lines[3]} …`);
  return lines;
}

const many = (count, draw) => Array.from({ length: count }, (_, at) => draw(at));

const MOTIFS = [
  // A sun over lines of water.
  (random, { second, third, light }) => {
    const [x, y, r] = [70 + random() * 100, 95 + random() * 30, 52 + random() * 26];
    return [
      s("circle", { cx: x, cy: y, r, fill: third }),
      many(9, (at) => s("rect", { x: 0, y: y + 6 + at * 19, width: WIDTH, height: 4 + at * 1.7, fill: at % 3 ? second : light, opacity: 0.35 + at * 0.07 })),
    ];
  },
  // Rings from a corner.
  (random, { second, third, light }) => {
    const [x, y] = [random() > 0.5 ? 0 : WIDTH, 40 + random() * 60];
    return many(7, (at) => s("circle", { cx: x, cy: y, r: 230 - at * 32, fill: [second, third, light][at % 3], opacity: at % 3 === 2 ? 0.28 : 0.95 }));
  },
  // Beams of a projector.
  (random, { second, third, light }) => {
    const x = 40 + random() * 160;
    return [
      many(6, (at) => s("path", { d: `M${x} 36 L${-60 + at * 60} ${HEIGHT} L${-22 + at * 60} ${HEIGHT}z`, fill: at % 2 ? third : second, opacity: 0.9 })),
      s("circle", { cx: x, cy: 36, r: 17, fill: light }),
    ];
  },
  // Hills behind hills.
  (random, { second, third, light }) => [
    s("circle", { cx: 50 + random() * 140, cy: 78, r: 30, fill: light }),
    many(4, (at) => {
      const y = 110 + at * 38;
      const [a, b] = [y - 50 * random(), y + 45 * random()];
      return s("path", { d: `M0 ${y} C60 ${a} 110 ${b} 150 ${y - 12} S220 ${a} ${WIDTH} ${y} V${HEIGHT} H0z`, fill: [third, second][at % 2], opacity: 1 - at * 0.16 });
    }),
  ],
  // Kites, or windows, on a slope.
  (random, { second, third, light }) =>
    many(11, (at) => {
      const [x, y, size] = [12 + random() * 216, 22 + random() * 190, 13 + random() * 32];
      const turn = 30 + random() * 30;
      return s("rect", { x: x - size / 2, y: y - size / 2, width: size, height: size, fill: [third, second, light][at % 3], transform: `rotate(${turn} ${x} ${y})` });
    }),
  // A staircase of arches.
  (random, { second, third, light }) => {
    const way = random() > 0.5;
    return many(5, (at) => {
      const x = way ? 14 + at * 43 : WIDTH - 52 - at * 43;
      const y = 176 - at * 30;
      return s("path", { d: `M${x} ${HEIGHT} V${y} a19 19 0 0 1 38 0 V${HEIGHT}z`, fill: [second, third, light][at % 3] });
    });
  },
  // Bulbs, some of them lit.
  (random, { second, third, light }) =>
    many(42, (at) => {
      const lit = random();
      return s("circle", { cx: 24 + (at % 6) * 38.4, cy: 26 + Math.floor(at / 6) * 34, r: lit > 0.7 ? 13 : 9, fill: lit > 0.7 ? light : lit > 0.4 ? third : second, opacity: lit > 0.7 ? 1 : 0.75 });
    }),
];
