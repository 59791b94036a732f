// Curves, by uPlot, and the heat map.

import { colour, ends, estimate, h, number, s } from "./dom.js";
import { positionOf } from "./grid.js";
import { stockTitle } from "./titles.js";

const HEIGHT = 260;
/** Colours: the same schedule has the same one in every picture, others what is left. */
const OWN = { ours: "accent", edm: "edm", log_snr: "log_snr", fixed: "published" };
const LEFT = ["other2", "other"];

/** Colours of methods, as names of the style sheet. */
function coloursOf(names) {
  const left = [...LEFT];
  return new Map(names.map((name) => [name, OWN[name] ?? left.shift() ?? "muted"]));
}

const logScale = { distr: 3 };

const axis = (label) => ({
  label,
  labelSize: 22,
  size: 52,
  stroke: colour("muted"),
  font: "12px system-ui",
  labelFont: "12px system-ui",
  grid: { stroke: colour("rule"), width: 1 },
  ticks: { stroke: colour("rule"), width: 1 },
});

/** A log axis with ticks at the powers of ten only. */
function powers(label) {
  const filter = (_, splits) => splits.map((tick) => (Math.abs(Math.log10(tick) % 1) < 1e-9 ? tick : null));
  const all = axis(label);
  return { ...all, filter, grid: { ...all.grid, filter }, ticks: { ...all.ticks, filter }, values: labels };
}

const labels = (_, splits) => splits.map((tick) => (tick === null ? "" : number(tick)));

function plot(element, options, data, label) {
  element.plot?.destroy();
  element.replaceChildren();
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  const width = Math.max(element.clientWidth, 240);
  const shared = { width, height: HEIGHT, legend: { show: false }, cursor: { show: false }, padding: [12, 16, 0, 0] };
  element.plot = new uPlot({ ...shared, ...options }, data, element);
}

/** Denoising loss over the noise level, noise on the left. */
export function lossChart(element, levels, loss) {
  const options = {
    scales: { x: { ...logScale, time: false, dir: -1, range: [levels.at(-1), levels[0]] }, y: logScale },
    axes: [{ ...powers("noise level sigma"), size: 40 }, powers("loss")],
    series: [{}, { stroke: colour("accent"), width: 2, points: { show: false } }],
  };
  const ends = `from ${number(loss[0])} at sigma ${number(levels[0])} to ${number(loss.at(-1))} at ${number(levels.at(-1))}`;
  plot(element, options, [levels.toReversed(), loss.toReversed()], `Denoising loss, ${ends}`);
}

/**
 * Error against the number of evaluations.
 *
 * @param {HTMLElement} element
 * @param {object[]} cells  Validated cells, by rising NFE.
 * @param {{name: string, title: string}[]} methods  Ours first.
 */
export function errorChart(element, cells, methods) {
  const of = (name) => cells.map((cell) => errorOf(cell, { name })?.mean ?? null);
  const nfes = cells.map((cell) => cell.nfe);
  const [low, high] = [Math.min(...nfes), Math.max(...nfes)];
  const colours = coloursOf(methods.map(({ name }) => name));
  const options = {
    scales: { x: { time: false, range: [low - 0.5, high + 0.5] }, y: logScale },
    axes: [
      { ...axis("evaluations per sample"), size: 40, splits: () => nfes, values: (_, splits) => splits },
      powers("error"),
    ],
    series: [{}, ...methods.map(({ name }) => curve(colours.get(name), name))],
    hooks: { draw: [(chart) => methods.forEach((method) => whiskers(chart, nfes, cells.map((cell) => errorOf(cell, method)), colours.get(method.name)))] },
  };
  const said = methods.map(({ name, title }) => `${title} ${of(name).map((mean) => (mean === null ? "none" : number(mean))).join(", ")}`);
  plot(element, options, [nfes, ...methods.map(({ name }) => of(name))], `Error at ${nfes.join(", ")} evaluations: ${said.join("; ")}`);
}

const curve = (shade, name) => ({
  stroke: colour(shade),
  width: name === "ours" ? 3 : 1.5,
  dash: name in OWN ? [] : [5, 4],
  spanGaps: true,
  points: { show: true, size: name === "ours" ? 9 : 6, fill: colour(shade), stroke: colour("paper") },
});

/** Error of a method in a validated cell; undefined where it has none. */
export const errorOf = ({ error }, { name }) => (["ours", "fixed"].includes(name) ? error[name] : error.stock[name]);

/** The 95 % interval. */
function whiskers({ ctx: context, valToPos: position }, nfes, errors, shade) {
  context.save();
  context.strokeStyle = colour(shade);
  context.lineWidth = devicePixelRatio;
  errors.forEach((error, at) => {
    if (!error) return;
    const [low, high] = ends(error);
    const x = position(nfes[at], "x", true);
    context.beginPath();
    context.moveTo(x, position(high, "y", true));
    context.lineTo(x, position(Math.max(low, error.mean / 10), "y", true));
    context.stroke();
  });
  context.restore();
}

/**
 * The errors of one budget as bars with their intervals, the smallest first, and the KL bound beside each.
 *
 * @param {object} cell  Its error or its bound may be missing.
 * @param {string} ours  Title of the answer.
 */
export function errorBars({ error, klub, nfe }, ours) {
  const of = (values, name) => (name === "ours" ? values?.ours : values?.stock[name]);
  const names = [...new Set(["ours", ...Object.keys(error?.stock ?? {}), ...Object.keys(klub?.stock ?? {})])];
  const rows = names.map((name) => ({ name, error: of(error, name), bound: of(klub, name) }));
  rows.sort((a, b) => (a.error?.mean ?? Infinity) - (b.error?.mean ?? Infinity) || 0);
  // The length is the root, so that it is a distance.
  const longest = Math.sqrt(Math.max(...rows.map((row) => (row.error ? ends(row.error)[1] : 0)))) || 1;
  const at = (value) => (100 * Math.sqrt(Math.max(value, 0))) / longest;
  const colours = coloursOf(names);
  const row = ({ name, error: found, bound }) =>
    h("tr", { class: colours.get(name) }, [
      h("th", { scope: "row" }, name === "ours" ? ours : stockTitle(name)),
      error && h("td", { class: "drawn" }, found && bar(at(found.mean), ends(found).map(at))),
      error && h("td", {}, found ? estimate(found) : ""),
      klub && h("td", {}, bound ? estimate(bound) : ""),
    ]);
  const head = ["Schedule", error && "", error && "Error", klub && "KL bound"].filter((title) => typeof title === "string");
  return h("table", { class: "bars" }, [
    h("caption", {}, `At ${nfe} evaluations`),
    h("thead", {}, h("tr", {}, head.map((title) => (title ? h("th", { scope: "col" }, title) : h("td", {}))))),
    h("tbody", {}, rows.map(row)),
  ]);
}

const bar = (width, [low, high]) =>
  s("svg", { "aria-hidden": "true", preserveAspectRatio: "none", viewBox: "0 0 100 12" }, [
    s("rect", { y: 1, width, height: 10, class: "length" }),
    s("line", { x1: low, x2: high, y1: 6, y2: 6, class: "whisker" }),
  ]);

/** The colours of `errorChart`, as a list. */
export function legend(methods) {
  const colours = coloursOf(methods.map(({ name }) => name));
  return h("ul", { class: "legend" }, methods.map(({ name, title }) => h("li", { class: colours.get(name) }, title)));
}

/** Dark to light, even to the eye: five stops of viridis. */
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function shade(share) {
  const at = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const n = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[n].map((channel, c) => channel + (at - n) * (STOPS[n + 1][c] - channel));
}

/** Pixels of a cell of the heat map. */
const CELL = 8;

/** Pictures of matrices by their profile: only the dots on them change while a slider moves. */
const cells = new WeakMap();

function heatCells({ moments }) {
  const picture = new ImageData(moments.length, moments.length);
  const largest = Math.max(...moments.map((row) => Math.max(...row)));
  // The root spreads the small values, which are those of the low levels.
  moments.flat().forEach((value, n) => picture.data.set([...shade(Math.sqrt(Math.max(value, 0) / largest)), 255], 4 * n));
  const canvas = h("canvas", { width: moments.length, height: moments.length });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/**
 * K as a heat map, both axes falling in ln sigma, with the levels of a schedule on its diagonal.
 *
 * @param {{levels: number[], moments: number[][]}} profile
 * @param {number[]} sigmas
 * @returns {Element[]}
 */
export function heatMap(profile, sigmas) {
  const { levels, moments } = profile;
  const size = levels.length * CELL;
  const canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": heatLabel(levels, moments) });
  const context = canvas.getContext("2d");
  if (!cells.has(profile)) cells.set(profile, heatCells(profile));
  context.imageSmoothingEnabled = false;
  context.drawImage(cells.get(profile), 0, 0, size, size);
  for (const sigma of sigmas.filter((level) => level > 0)) {
    const at = (positionOf(levels, sigma) + 0.5) * CELL;
    context.beginPath();
    context.arc(at, at, 5, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    context.fill();
    context.stroke();
  }
  const ends = h("p", { class: "ends" }, h("span", {}, `sigma ${number(levels[0])}`), h("span", {}, number(levels.at(-1))));
  return [canvas, ends];
}

const heatLabel = (levels, moments) =>
  `Second moments of the denoiser at ${levels.length} noise levels from ${number(levels[0])} to ${number(levels.at(-1))}; ` +
  `the diagonal falls from ${number(moments[0][0])} to ${number(moments.at(-1).at(-1))}`;
