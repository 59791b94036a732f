// The shortest path on the measured grid (worker/ays/search/shortest_path.py, docs/theory.md, 7): one backward sweep answers every number of steps.

import { closesDifferently } from "./solvers.js";

/** Relative slack of comparisons between widths of steps. */
export const TOLERANCE = 1e-9;

/** Squared errors by the integrals that they were read off: no weight is part of them, so the detail slider leaves them as they are. */
const tabulated = new WeakMap();

/**
 * `V_n[i] = min_j step[i, j] + V_(n-1)[j]`, or `V_n[k, i] = min_j pair[k, i, j] + V_(n-1)[i, j]` for a solver with a history.
 *
 * @param {import("./cost.js").StepCost} cost  Of a solver that combines at most two evaluations.
 * @param {{toZero: boolean, ratioBound: number}} choice
 * @returns {(steps: number) => number[] | null}  Knots of the best schedule of so many steps, from the best start; null where none is
 *   possible. The sweep goes on from where the last call left it.
 */
export const sweep = (cost, choice) => (cost.solver.history > 1 ? sweepPairs : sweepSingle)(cost, choice);

function sweepSingle(cost, { toZero }) {
  const g = cost.levels.length;
  const last = g - 1;
  const step = rows(g, (i, j) => (j > i ? cost.step([j, i]) : Infinity));
  const start = Array.from(cost.levels, (_, j) => cost.start(j));
  const value = [Float64Array.from(start, (_, i) => (toZero ? cost.toZero(i) : i < last ? cost.step([last, i], closesDifferently(cost.solver)) : Infinity))];
  const follow = [new Int16Array(g).fill(last)];
  const extend = () => {
    const [ahead, next, choice] = [value.at(-1), new Float64Array(g), new Int16Array(g)];
    for (let i = 0; i < g; i++) [next[i], choice[i]] = least(step[i], ahead, i);
    value.push(next);
    follow.push(choice);
  };
  return (steps) => {
    while (value.length < steps) extend();
    return trace(steps, { toZero, first: best(start, value[steps - 1]) }, (left, _, here) => follow[left - 1][here]);
  };
}

function sweepPairs(cost, { toZero, ratioBound }) {
  const g = cost.levels.length;
  const last = g - 1;
  const { logs } = cost;
  const { step, pair, close } = table(cost);
  const long = (k, i, j) => (logs[i] - logs[j]) / (logs[k] - logs[i]) > ratioBound * (1 + TOLERANCE);
  // Levels only fall: beyond the first that is too far all are.
  const reach = rows(g, (k, i) => {
    let j = i + 1;
    while (i > k && j < g && !long(k, i, j)) j += 1;
    return j;
  }, Int16Array);
  const start = Array.from(cost.levels, (_, j) => cost.start(j));
  const closing = (k, i) => (toZero ? cost.toZero(i) : i > k && i < last && reach[k][i] > last ? close[k][i] : Infinity);
  let ahead = rows(g, closing);
  const value = [Float64Array.from(start, (_, i) => (toZero ? cost.toZero(i) : i < last ? cost.step([last, i], closesDifferently(cost.solver)) : Infinity))];
  const first = [new Int16Array(g).fill(last)];
  const follow = [rows(g, () => last, Int16Array)];
  const extend = () => {
    const [total, choice] = [new Float64Array(g), new Int16Array(g)];
    for (let i = 0; i < g; i++) [total[i], choice[i]] = least(step[i], ahead[i], i);
    value.push(total);
    first.push(choice);
    const next = rows(g, () => Infinity);
    const to = rows(g, () => last, Int16Array);
    for (let k = 0; k < g; k++) for (let i = k + 1; i < g; i++) [next[k][i], to[k][i]] = least(pair[k][i], ahead[i], i, reach[k][i]);
    follow.push(to);
    ahead = next;
  };
  const after = (left, before, here) => (before < 0 ? first[left - 1][here] : follow[left - 1][before][here]);
  return (steps) => {
    while (value.length < steps) extend();
    return trace(steps, { toZero, first: best(start, value[steps - 1]) }, after);
  };
}

/** Costs of all steps of a solver with a history: without memory, after an evaluation, and to the last level as a closing step. */
function table(cost) {
  const { solver, scale } = cost;
  if (solver.noise.bound) return entries(cost, (nodes, closing) => cost.step(nodes, closing));
  const kept = tabulated.get(cost.moments) ?? tabulated.set(cost.moments, new Map()).get(cost.moments);
  if (!kept.has(solver.title)) kept.set(solver.title, entries(cost, (nodes, closing) => cost.missed(nodes, closing)));
  const missed = kept.get(solver.title);
  const weighed = (row) => row.map((value, j) => value * scale[j]);
  return {
    step: missed.step.map(weighed),
    pair: missed.pair.map((row) => row.map(weighed)),
    close: missed.close.map((row) => row.map((value) => value * scale.at(-1))),
  };
}

function entries({ levels, solver }, of) {
  const g = levels.length;
  const last = g - 1;
  const closing = closesDifferently(solver);
  return {
    step: rows(g, (i, j) => (j > i ? of([j, i]) : Infinity)),
    pair: Array.from(levels, (_, k) => rows(g, (i, j) => (i > k && j > i ? of([j, i, k]) : Infinity))),
    close: rows(g, (k, i) => (i > k && i < last ? of([last, i, k], closing) : Infinity)),
  };
}

const rows = (g, at, Row = Float64Array) => Array.from({ length: g }, (_, i) => Row.from({ length: g }, (_, j) => at(i, j)));

/** Smallest `here[j] + ahead[j]` beyond level i and before `end`, and the first j that has it. */
function least(here, ahead, i, end = here.length) {
  let [smallest, at] = [Infinity, here.length - 1];
  for (let j = i + 1; j < end; j++) {
    const total = here[j] + ahead[j];
    if (total < smallest) {
      smallest = total;
      at = j;
    }
  }
  return [smallest, at];
}

/** The start with the least whole cost, or -1. */
function best(start, value) {
  let [smallest, at] = [Infinity, -1];
  start.forEach((cost, i) => {
    if (cost + value[i] < smallest) [smallest, at] = [cost + value[i], i];
  });
  return at;
}

function trace(steps, { toZero, first }, after) {
  if (first < 0) return null;
  const knots = [first];
  for (let left = steps; left > (toZero ? 1 : 0); left--) knots.push(after(left, knots.at(-2) ?? -1, knots.at(-1)));
  return knots;
}
