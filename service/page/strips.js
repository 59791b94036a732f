// The weights of a fitted schedule: for every step a strip of signed bars, one for each evaluation that it combines.

import { h, number, s } from "./dom.js";

const UP = 44;
const LABEL = 34;
const MARGIN = 10;
/** Bars of a step are no wider than this. */
const WIDEST = 22;

/**
 * Draws the strips side by side, in the order of the steps.
 *
 * @param {{sigmas: number[], weights: number[][]}} line
 * @param {number} width  In pixels.
 * @returns {SVGElement}
 */
export function weightsPicture({ sigmas, weights }, width) {
  const used = weights.map((row, step) => row.slice(0, step + 1));
  const [low, high] = [Math.min(0, ...used.flat()), Math.max(1, ...used.flat())];
  const tall = UP / high;
  const zero = 6 + UP;
  const height = zero - low * tall + LABEL;
  const column = (width - 2 * MARGIN) / used.length;
  const most = Math.max(...used.map((row) => row.length));
  const bar = Math.min(WIDEST, (0.8 * column) / most);
  const every = Math.ceil(34 / column);
  const strips = used.map((row, step) => {
    const middle = MARGIN + (step + 0.5) * column;
    const first = middle - (row.length * bar) / 2;
    const bars = row.toReversed().map((weight, n) => {
      const size = Math.max(Math.abs(weight) * tall, 0.75);
      const box = { x: first + n * bar + 0.5, y: weight < 0 ? zero : zero - size, width: Math.max(bar - 1, 0.5), height: size };
      const at = step - (row.length - 1 - n);
      return s("rect", { ...box, class: weight < 0 ? "minus" : "plus" }, s("title", {}, `Step ${step + 1}: ${number(weight)} of the evaluation at sigma ${number(sigmas[at])}`));
    });
    const label = step % every === 0 && s("text", { x: middle, y: height - 18, class: "tick" }, String(step + 1));
    return s("g", {}, bars, label);
  });
  const said = used.map((row, step) => `step ${step + 1}: ${row.map((weight) => number(weight)).join(", ")}`).join("; ");
  return s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, class: "strips", role: "img", "aria-label": `Weights, newest first. ${said}` },
    s("line", { x1: MARGIN, x2: width - MARGIN, y1: zero, y2: zero, class: "base" }),
    strips,
    s("text", { x: width / 2, y: height - 2, class: "tick" }, "step"),
  );
}

const AGES = ["newest", "one before", "two before", "three before"];

/** The same as a table. */
export const weightsTable = ({ weights }) => {
  const most = Math.max(...weights.map((row) => row.length));
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Step"), Array.from({ length: most }, (_, n) => h("th", { scope: "col" }, AGES[n] ?? `${n} before`)))),
    h("tbody", {}, weights.map((row, step) =>
      h("tr", {}, h("th", { scope: "row" }, String(step + 1)), Array.from({ length: most }, (_, n) =>
        h("td", {}, n > step || row[n] === undefined ? "" : number(row[n], 5)))))),
  );
};
