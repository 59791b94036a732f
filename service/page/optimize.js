// The best schedule for any detail, here in the browser: the shortest path of worker/ays/optimize.py and the polish off the grid
// that follows it, so that the detail slider needs no job. It starts at the highest level and weighs errors without a knee, where the
// worker chooses both; for what it minimizes it is as good as the worker, and a test compares them.

import { integrals, interpolate, StepCost } from "./cost.js";
import { resample } from "./stock.js";

/** Levels of the polish's grid, at least. */
const FINE_LEVELS = 256;

/** Largest h_i / h_(i-1) of 2M where nothing was validated (docs/theory.md, 7). */
export const RATIO_BOUND = 2;

const TOLERANCE = 1e-9;

/** Integrals by profile, grid and power: the detail slider leaves those of deterministic solvers as they are. */
const integrated = new WeakMap();

function cost(profile, solver, detail, factor) {
  const key = `${factor} ${solver.stochastic ? detail : "ode"}`;
  const kept = integrated.get(profile) ?? integrated.set(profile, new Map()).get(profile);
  if (!kept.has(key)) {
    if (kept.size > 8) kept.clear();
    const count = (profile.levels.length - 1) * factor + 1;
    const grid = interpolate(profile, Array.from({ length: count }, (_, n) => n / factor));
    kept.set(key, integrals(grid, solver, detail));
  }
  return new StepCost(kept.get(key), solver, detail);
}

/** Optimal schedules of one profile, solver, terminal, detail and ratio bound, for any number of steps. */
export class Optimizer {
  /**
   * @param {{levels: number[], moments: number[][], measure: string}} profile
   * @param {import("./solvers.js").Solver} solver
   * @param {{toZero: boolean, detail: number, ratioBound: number | null}} choice
   */
  constructor(profile, solver, { toZero, detail, ratioBound }) {
    this.levels = profile.levels;
    this.toZero = toZero;
    this.ratioBound = solver.multistep && ratioBound !== null ? ratioBound : Infinity;
    this.factor = Math.max(4, Math.ceil(FINE_LEVELS / (profile.levels.length - 1)));
    this.fine = cost(profile, solver, detail, this.factor);
    this.sweep = (solver.multistep ? sweepPairs : sweepSingle)(cost(profile, solver, detail, 1), this);
  }

  /** The schedule of a number of steps: `steps + 1` levels. */
  schedule(steps) {
    const knots = polish(this.fine, this.#start(steps), this);
    const levels = knots.map((knot) => this.fine.levels[knot]);
    return this.toZero ? [...levels, 0] : levels;
  }

  #start(steps) {
    const found = this.sweep(steps);
    if (found) return found.map((knot) => knot * this.factor);
    let most = steps;
    let knots = null;
    while (!knots) knots = this.sweep(--most);
    const coarse = knots.map((knot) => this.levels[knot]);
    const wanted = resample(this.toZero ? [...coarse, 0] : coarse, steps).filter((sigma) => sigma > 0);
    return distinct(wanted, this.fine.levels);
  }
}

/** Indices of the nearest levels of a log-spaced grid, made strictly rising with both ends kept. */
function distinct(sigmas, levels) {
  const last = levels.length - 1;
  const width = Math.log(levels[0] / levels[last]) / last;
  const knots = sigmas.map((sigma) => Math.round(Math.log(levels[0] / sigma) / width));
  for (let n = 1; n < knots.length; n++) knots[n] = Math.max(knots[n], knots[n - 1] + 1);
  for (let n = knots.length - 1; n >= 0; n--) knots[n] = Math.min(knots[n], last - (knots.length - 1 - n));
  return knots;
}

/**
 * V_n[i] = min_j step[i, j] + V_(n-1)[j].
 *
 * @returns {(steps: number) => number[] | null}  Knots of the best schedule of so many steps from the first level; the sweep goes on
 *   from where the last call left it.
 */
function sweepSingle(cost, { toZero }) {
  const g = cost.levels.length;
  const last = g - 1;
  const step = square(g, (i, j) => (j > i ? cost.step(-1, i, j) : Infinity));
  const closing = (i) => (toZero ? cost.toZero(i) : i < last ? cost.toLast(-1, i, last) : Infinity);
  const value = [Float64Array.from({ length: g }, (_, i) => closing(i))];
  const follow = [new Int16Array(g).fill(last)];
  const extend = () => {
    const [ahead, next, choice] = [value.at(-1), new Float64Array(g), new Int16Array(g)];
    for (let i = 0; i < g; i++) [next[i], choice[i]] = least(step[i], ahead, i);
    value.push(next);
    follow.push(choice);
  };
  return (steps) => {
    while (value.length < steps) extend();
    return Number.isFinite(value[steps - 1][0]) ? trace(steps, toZero, (left, _, here) => follow[left - 1][here]) : null;
  };
}

/** V_n[k, i] = min_j pair[k, i, j] + V_(n-1)[i, j], j within the ratio bound; the first step has no memory. Returns as `sweepSingle`. */
function sweepPairs(cost, { toZero, ratioBound }) {
  const g = cost.levels.length;
  const last = g - 1;
  const { logs } = cost;
  const allowed = (k, i, j) => (logs[i] - logs[j]) / (logs[k] - logs[i]) <= ratioBound * (1 + TOLERANCE);
  const pair = square(g, (k, i) => {
    const row = new Float64Array(g).fill(Infinity);
    if (i > k) for (let j = i + 1; j < g && allowed(k, i, j); j++) row[j] = cost.step(k, i, j);
    return row;
  }, Array);
  const step = Float64Array.from({ length: g }, (_, j) => (j ? cost.step(-1, 0, j) : Infinity));
  let ahead = square(g, (k, i) => (toZero ? cost.toZero(i) : pair[k][i][last]));
  const first = [last];
  const value = [toZero ? cost.toZero(0) : step[last]];
  const follow = [square(g, () => last, Int16Array)];
  const extend = () => {
    const [best, to] = least(step, ahead[0], 0);
    value.push(best);
    first.push(to);
    const next = square(g, () => Infinity);
    const choice = square(g, () => last, Int16Array);
    for (let k = 0; k < g; k++) for (let i = k + 1; i < g; i++) [next[k][i], choice[k][i]] = least(pair[k][i], ahead[i], i);
    follow.push(choice);
    ahead = next;
  };
  const after = (left, before, here) => (before < 0 ? first[left - 1] : follow[left - 1][before][here]);
  return (steps) => {
    while (value.length < steps) extend();
    return Number.isFinite(value[steps - 1]) ? trace(steps, toZero, after) : null;
  };
}

/** Smallest `here[j] + ahead[j]` beyond level i, and the first j that has it. */
function least(here, ahead, i) {
  let [smallest, at] = [Infinity, here.length - 1];
  for (let j = i + 1; j < here.length; j++) {
    const total = here[j] + ahead[j];
    if (total < smallest) {
      smallest = total;
      at = j;
    }
  }
  return [smallest, at];
}

const square = (g, at, Row = Float64Array) => Array.from({ length: g }, (_, i) => Row.from({ length: g }, (_, j) => at(i, j)));

function trace(steps, toZero, after) {
  const knots = [0];
  for (let left = steps; left > (toZero ? 1 : 0); left--) knots.push(after(left, knots.at(-2) ?? -1, knots.at(-1)));
  return knots;
}

/**
 * Coordinate descent of the interior knots on the finer grid: every knot tries a move of the current width either way and takes the
 * better one if it helps; knots that share no step go in one group, groups in turn. When a sweep helps nowhere, the width halves.
 */
function polish(cost, start, { toZero, ratioBound }) {
  const knots = [...start];
  const end = toZero ? knots.length : knots.length - 1;
  // A knot ends one step, starts one, and is the memory of the one after.
  const touched = cost.solver.multistep ? 3 : 2;
  const around = (n) => {
    let total = 0;
    for (let step = n - 1; step < n - 1 + touched; step++) total += stepCost(cost, knots, step, { toZero, ratioBound });
    return total;
  };
  const move = (n, width) => {
    const [here, now] = [knots[n], around(n)];
    const tried = [-width, width].map((by) => {
      knots[n] = here + by;
      return [around(n), here + by];
    });
    const [total, best] = tried[1][0] < tried[0][0] ? tried[1] : tried[0];
    const helps = total < now * (1 - TOLERANCE);
    knots[n] = helps ? best : here;
    return helps;
  };
  let width = Math.max(1, Math.floor(Math.max(1, ...start.slice(1).map((knot, n) => knot - start[n])) / 2));
  while (width > 0) {
    let moved = false;
    for (let group = 0; group < touched; group++) {
      for (let n = group || touched; n < end; n += touched) moved = move(n, width) || moved;
    }
    if (!moved) width = Math.floor(width / 2);
  }
  return knots;
}

/** Cost of the step that starts at a knot; 0 where none does, Infinity where it is not allowed. */
function stepCost(cost, knots, step, { toZero, ratioBound }) {
  const { logs } = cost;
  const [before, here, next] = [knots[step - 1] ?? -1, knots[step], knots[step + 1]];
  if (here === undefined) return 0;
  if (here < 0 || here >= logs.length) return Infinity;
  if (next === undefined) return toZero ? cost.toZero(here) : 0;
  if (next <= here || next >= logs.length) return Infinity;
  if (cost.solver.multistep && before >= 0) {
    if (here <= before || logs[here] - logs[next] > (logs[before] - logs[here]) * ratioBound * (1 + TOLERANCE)) return Infinity;
  }
  return cost[!toZero && step + 2 === knots.length ? "toLast" : "step"](before, here, next);
}
