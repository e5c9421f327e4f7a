// One ticket as a picture, to pass it on to a friend: by the device's own way to share, or as a file where it has none.

import { shownCode } from "../lib/code.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/text.js";
import { ticketText } from "./bill.js";
import { save } from "./ics.js";
import { showingText } from "./showing.js";

const WIDTH = 720;
const HEIGHT = 1080;
const MARGIN = 40;
const FONT = "system-ui, sans-serif";

/** Shares the ticket whose code is drawn in `svg`. Nothing happens if the person changes their mind. */
export async function shareTicket(svg, seat, reservation, showtime) {
  const picture = await draw(svg, seat, reservation, showtime);
  const name = `${reservation.movieTitle.replace(/[^\p{L}\p{N}]+/gu, "-")}-${seat}.png`;
  const file = new File([picture], name, { type: picture.type });
  if (!navigator.canShare?.({ files: [file] })) return save(picture, name);
  try {
    await navigator.share({ files: [file], title: reservation.movieTitle });
  } catch (error) {
    if (error.name !== "AbortError") save(picture, name);
  }
}

async function draw(svg, seat, reservation, showtime) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  context.imageSmoothingEnabled = false;
  // A whole number of pixels for each module.
  const modules = svg.viewBox.baseVal.width;
  const side = modules * Math.floor((WIDTH - 2 * MARGIN) / modules);
  context.drawImage(await imageOf(svg, side), (WIDTH - side) / 2, MARGIN);
  context.fillStyle = "#14100f";
  context.textAlign = "center";
  const lines = [
    [seat, 84, 900],
    [ticketText(reservation, seat), 34, 700],
    [reservation.movieTitle, 40, 700],
    [`${showtime.auditoriumName} · ${moment(reservation.startsAt, showtime.timeZone)}`, 30, 400],
    [showingText(showtime), 30, 400],
    [t("tickets.order", { code: shownCode(reservation.code) }), 30, 400],
  ];
  let y = side + 2 * MARGIN + 50;
  for (const [text, size, weight] of lines.filter(([text]) => text)) {
    y = write(context, text, size, weight, y);
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Writes a text in as many lines as it needs; returns where the next one begins. */
function write(context, text, size, weight, y) {
  context.font = `${weight} ${size}px ${FONT}`;
  let line = "";
  const end = () => {
    context.fillText(line.trim(), WIDTH / 2, y, WIDTH - 2 * MARGIN);
    y += size * 1.25;
    line = "";
  };
  for (const word of text.split(/(?<=\s)/u)) {
    if (line && context.measureText(line + word).width > WIDTH - 2 * MARGIN) end();
    line += word;
  }
  end();
  return y + size * 0.15;
}

/** The drawing as an image of `side` pixels, loaded. */
async function imageOf(svg, side) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("width", side);
  copy.setAttribute("height", side);
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  return image;
}
