// Where the steps go: one row per schedule on a shared axis of ln sigma, bars for what every step costs.

import { estimate, h, number, s } from "./dom.js";

const BAR = 58;
const LABEL = 22;
/** Below this width title and error stand in two lines. */
const NARROW = 560;
const DOT = 24;
const AXIS = 34;
const ZERO = 46;
const MARGIN = 10;

/**
 * Draws the picture.
 *
 * @param {import("./selection.js").Line[]} lines
 * @param {{sigmaMin: number, sigmaMax: number}} range
 * @param {number} width  In pixels.
 * @returns {SVGElement}
 */
export function stepsPicture(lines, { sigmaMin, sigmaMax }, width) {
  const top = Math.max(sigmaMax, ...lines.map((line) => line.sigmas[0]));
  const low = Math.min(sigmaMin, ...lines.map((line) => line.sigmas.findLast((sigma) => sigma > 0)));
  const toZero = lines.some((line) => line.sigmas.at(-1) === 0);
  const right = width - MARGIN - (toZero ? ZERO : 0);
  const x = (sigma) => (sigma > 0 ? MARGIN + (Math.log(top / Math.min(sigma, top)) / Math.log(top / low)) * (right - MARGIN) : width - MARGIN - 4);
  // The root: an error, not its square, is what a bar's height should tell.
  const tallest = Math.sqrt(Math.max(...lines.flatMap((line) => (line.costs ? [line.costs.start, ...line.costs.steps] : [])), 1e-300));
  const bars = lines.some((line) => line.costs) ? BAR : 0;
  const label = width < NARROW ? 2 * LABEL - 4 : LABEL;
  const row = label + bars + DOT;
  const bottom = lines.length * row;
  const height = bottom + AXIS;
  const judged = lines.some(({ error }) => error);
  const place = { x, width, label, judged, base: label + bars + DOT / 3, bar: (cost) => (Math.sqrt(cost) / tallest) * BAR };
  const rows = lines.map((line, n) => drawn(line, n * row, place));
  const title = lines.map((line) => `${line.title}: ${line.sigmas.map((sigma) => number(sigma)).join(", ")}`).join(". ");
  return s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, class: "steps", role: "img", "aria-label": `Noise levels. ${title}` },
    axis({ x, top, low, toZero, width, y: bottom, height }),
    rows,
  );
}

function drawn({ name, title, remark, sigmas, costs, error }, y, { x, width, label, judged, base: below, bar }) {
  const base = y + below;
  const bars = (costs?.steps ?? []).map((cost, n) => {
    const [from, to] = [x(sigmas[n]), x(sigmas[n + 1])];
    const tall = Math.max(bar(cost), 0.75);
    const box = { x: from + 0.75, y: base - tall, width: Math.max(to - from - 1.5, 0.75), height: tall, class: "bar" };
    return s("rect", box, s("title", {}, `Step ${n + 1}, from ${number(sigmas[n])} to ${number(sigmas[n + 1])}: ${number(cost)}`));
  });
  const skipped = x(sigmas[0]) - x(Infinity);
  if (costs?.start > 0 && skipped > 1) {
    const tall = Math.max(bar(costs.start), 0.75);
    const words = `Starting at ${number(sigmas[0])}, from noise alone: ${number(costs.start)}`;
    bars.unshift(s("rect", { x: x(Infinity), y: base - tall, width: skipped - 0.75, height: tall, class: "bar begin" }, s("title", {}, words)));
  }
  const dots = sigmas.map((sigma, n) => {
    const last = n === sigmas.length - 1;
    return s("circle", { cx: x(sigma), cy: base, r: last ? 3 : 3.6, class: last ? "end" : "dot" }, s("title", {}, `sigma ${number(sigma)}`));
  });
  // Beside measured errors a sum of costs would read as one of them.
  const said = error ? `error ${estimate(error)}` : judged ? "not run" : costs ? `sum of step costs ${number(costs.steps.reduce((total, cost) => total + cost, costs.start))}` : "";
  return s(
    "g",
    { class: `line ${name}` },
    s("text", { x: MARGIN, y: y + LABEL - 5, class: "name" }, title, remark && s("title", {}, remark)),
    s("text", label === LABEL ? { x: width - MARGIN, y: y + LABEL - 5, class: "said" } : { x: MARGIN, y: y + label - 5 }, said),
    s("line", { x1: MARGIN, x2: width - MARGIN, y1: base, y2: base, class: "base" }),
    bars,
    dots,
  );
}

function axis({ x, top, low, toZero, width, y, height }) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(top)); power >= Math.log10(low) - 1e-9; power--) ticks.push(10 ** power);
  const text = (at, words, anchor = "middle") => s("text", { x: at, y: y + 16, class: "tick", "text-anchor": anchor }, words);
  return s(
    "g",
    { class: "axis" },
    ticks.map((tick) => [s("line", { x1: x(tick), x2: x(tick), y1: 0, y2: y, class: "grid" }), text(x(tick), number(tick))]),
    toZero && text(x(0), "0", "end"),
    s("text", { x: width / 2, y: height - 3, class: "tick", "text-anchor": "middle" }, "noise level sigma"),
  );
}

/** The same as a table. */
export function stepsTable(lines) {
  const steps = Math.max(...lines.map((line) => line.sigmas.length));
  const cell = (line, n) => {
    const sigma = line.sigmas[n];
    return [h("td", {}, sigma === undefined ? "" : number(sigma, 5)), h("td", {}, line.costs?.steps[n] === undefined ? "" : number(line.costs.steps[n]))];
  };
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Step"), lines.flatMap(({ title }) => [
      h("th", { scope: "col" }, `${title}: sigma`),
      h("th", { scope: "col" }, "cost of the step"),
    ]))),
    h("tbody", {}, Array.from({ length: steps }, (_, n) =>
      h("tr", {}, h("th", { scope: "row" }, n + 1 === steps ? "end" : String(n + 1)), lines.flatMap((line) => cell(line, n))))),
  );
}
