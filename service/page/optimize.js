// The best schedule for any detail, here in the browser, so that the detail slider needs no job: the shortest path on the measured grid
// and the polish off it, step for step as worker/tasks/table.py and worker/ays/search/shortest_path.py find it. A test compares the levels.

import { costs } from "./cost.js";
import { fineness, positionOf } from "./grid.js";
import { truncated } from "./solvers.js";
import { resample } from "./stock.js";
import { sweep, TOLERANCE } from "./sweep.js";

/** A wider move than the narrowest is repeated while it gains as much. */
const WORTHWHILE = 1e-3;

/** Optimal schedules of one profile, solver, terminal and choice, for any number of steps. */
export class Optimizer {
  /**
   * @param {{levels: number[], moments: number[][], origin: number[] | null, measure: string}} profile
   * @param {import("./solvers.js").Solver} solver
   * @param {{toZero: boolean, detail: number, knee?: number, ratioBound: number | null}} choice
   */
  constructor(profile, solver, { toZero, detail, knee, ratioBound }) {
    this.levels = profile.levels;
    this.toZero = toZero;
    this.ratioBound = ratioBound ?? Infinity;
    this.factor = fineness(profile);
    this.fine = costs(profile, solver, { detail, knee }, this.factor);
    this.sweep = sweep(costs(profile, truncated(solver, 2), { detail, knee }, 1), this);
    // The optimum of the measured grid is within a cell of the finer one's; that of a shorter history may be further away.
    this.reach = this.factor * (solver.history <= 2 ? 1 : 4);
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
    return spread(wanted.map((sigma) => halfEven(positionOf(this.fine.levels, sigma))), this.fine.levels.length - 1);
  }
}

/** Rounds as numpy does. */
function halfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/** Pushes knots that fell together apart: strictly increasing, at most `last`, the earlier ones moved the least. */
function spread(knots, last) {
  const apart = [...knots];
  for (let n = 1; n < apart.length; n++) apart[n] = Math.max(apart[n], apart[n - 1] + 1);
  for (let n = apart.length - 1; n >= 0; n--) apart[n] = Math.min(apart[n], last - (apart.length - 1 - n));
  return apart;
}

/**
 * Coordinate descent of the knots on the finer grid: every knot tries a move of the current width either way and takes the better one
 * if it helps; knots that share no step go in one group, groups in turn. When a sweep helps nowhere, or a wide one not enough, the width
 * halves.
 */
function polish(cost, start, { toZero, ratioBound, reach }) {
  const knots = [...start];
  const end = toZero ? knots.length : knots.length - 1;
  // A knot ends one step, starts one, and is the memory of those after.
  const touched = cost.solver.history + 1;
  const stepCost = (n) => (n > 0 && isLong(cost, knots, n, ratioBound) ? Infinity : cost.at(knots, n, toZero));
  const around = (n) => {
    let total = 0;
    for (let step = Math.max(n - 1, 0); step < Math.min(n - 1 + touched, knots.length); step++) total += stepCost(step);
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
  const whole = () => knots.reduce((total, _, n) => total + stepCost(n), 0);
  let width = Math.min(reach, Math.max(1, Math.floor(Math.max(1, ...start.slice(1).map((knot, n) => knot - start[n])) / 2)));
  while (width > 0) {
    const before = whole();
    let moved = false;
    for (let group = 0; group < touched; group++) for (let n = group; n < end; n += touched) moved = move(n, width) || moved;
    const fallen = 1 - whole() / (before > 0 ? before : 1);
    if (!moved || (width > 1 && fallen < WORTHWHILE)) width = Math.floor(width / 2);
  }
  return knots;
}

/** Whether step n is longer beside the one before it than allowed; knots off the grid count as at its end. */
function isLong({ logs, solver }, knots, n, ratioBound) {
  if (solver.history === 1 || n + 1 >= knots.length) return false;
  const at = (knot) => logs[Math.min(knot, logs.length - 1)];
  return at(knots[n]) - at(knots[n + 1]) > (at(knots[n - 1]) - at(knots[n])) * ratioBound * (1 + TOLERANCE);
}
