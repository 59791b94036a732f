// Sample grids: the worker's picture cut into tiles, and where each sample misses the fine solution.

import { h } from "./dom.js";

/** Smallest side of a tile on the screen, in canvas pixels. */
const TILE = 96;
const GAP = 0.08;

/** Difference of a channel, of 255, at which red is full. */
const FULL = 64;

/**
 * A grid of canvases, one strip per row: stock, ours, the fine solution; under the first two what they miss.
 *
 * @param {object} samples  Of the API.
 * @param {string} label  For a screen reader.
 * @param {Record<string, [string, string]>} words  Title and remark of every row.
 */
export function sampleGrid({ rows, noises, height, width, image }, label, words) {
  const scale = Math.max(1, Math.ceil(TILE / width));
  const place = h("div", { class: "samples" });
  const picture = new Image();
  picture.onload = () => {
    const tiles = cut(picture, { rows, noises, height, width });
    const fine = tiles.at(-1);
    const strips = rows.flatMap((row, n) => {
      const title = h("p", { class: row }, h("b", {}, words[row][0]), " ", h("small", {}, words[row][1]));
      const drawn = strip(tiles[n], { width, height, scale }, `${label}: ${words[row].join(", ")}`);
      if (row === "fine") return [title, drawn];
      return [title, h("div", {}, drawn, strip(tiles[n].map((tile, m) => missed(tile, fine[m])), { width, height, scale }, null))];
    });
    place.replaceChildren(...strips);
  };
  picture.src = image;
  return place;
}

/** Pixels of every sample, row by row. */
function cut(picture, { rows, noises, height, width }) {
  const context = h("canvas", { width: picture.width, height: picture.height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return rows.map((_, y) => Array.from({ length: noises }, (__, x) => context.getImageData(x * width, y * height, width, height)));
}

/** Red where two samples differ, clear where they agree. */
function missed(tile, fine) {
  const picture = new ImageData(tile.width, tile.height);
  for (let at = 0; at < tile.data.length; at += 4) {
    const apart = Math.max(...[0, 1, 2].map((channel) => Math.abs(tile.data[at + channel] - fine.data[at + channel])));
    picture.data.set([214, 40, 40, Math.min(255, (255 * apart) / FULL)], at);
  }
  return picture;
}

function strip(tiles, { width, height, scale }, label) {
  const gap = Math.max(1, Math.round(width * scale * GAP));
  const size = { width: tiles.length * (width * scale + gap) - gap, height: height * scale };
  const said = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  const canvas = h("canvas", { ...size, ...said });
  const context = canvas.getContext("2d");
  const one = h("canvas", { width, height });
  context.imageSmoothingEnabled = false;
  tiles.forEach((tile, n) => {
    one.getContext("2d").putImageData(tile, 0, 0);
    context.drawImage(one, n * (width * scale + gap), 0, width * scale, height * scale);
  });
  return canvas;
}
