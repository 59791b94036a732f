// Costs of steps from a profile, as worker/ays/profile/cost.py computes them (docs/theory.md, 6 and 12): all of it is arithmetic on the matrix K
// of second moments that the API serves, so the page can show what any schedule costs, and why, without asking anybody. A functional of D
// is a list of terms `[level, coefficient]`: values in D itself, integrals in the integral of D from the top down.

import { fineness, integrals, positionOf, positions } from "./grid.js";
import { closesDifferently } from "./solvers.js";

/** Positions that differ by less are the same level. */
const SAME = 1e-9;

/** What is optimized for: errors count `(sigma^-2 + knee^-2)^(-detail / 2)` times by the noise level at which they are made. */
export const weightOf = ({ detail, knee = Infinity }) => (sigma) => (sigma ** -2 + knee ** -2) ** (-detail / 2);

/** Cost of single steps of one solver at one weight; indices count levels of its grid. */
export class StepCost {
  /**
   * @param {object} known  From `integrals`, for this solver and, if it has a bound, for this weight.
   * @param {import("./solvers.js").Solver} solver
   * @param {(sigma: number) => number} weight  From `weightOf`.
   * @param {number[][] | null} given  Weights of every step, where they belong to the schedule.
   */
  constructor(known, solver, weight, given = null) {
    Object.assign(this, known, { solver, given });
    this.scale = known.levels.map((sigma) => weight(sigma) * sigma ** -2);
  }

  /**
   * What a step loses.
   *
   * @param {number[]} nodes  Where it ends, where it starts, and the earlier evaluations that it combines, newest first.
   * @param {boolean} closing  Whether nothing is evaluated where it ends.
   * @param {number[] | undefined} given  Weights of the evaluations; the solver's own where there are none.
   */
  step(nodes, closing = false, given = undefined) {
    return this.solver.noise.bound ? this.#girsanov(nodes) : this.missed(nodes, closing, given) * this.scale[nodes[0]];
  }

  /** Squared error in x at the end of a step of a solver without a bound; no weight is part of it. */
  missed(nodes, closing = false, given = undefined) {
    const { stage, corrector, combines, weights } = this.solver;
    const levels = nodes.map((node) => this.levels[node]);
    if (stage) {
      const [proxy, factor] = closing ? [0, 1] : [stage.proxy, stage.factor(levels[1], levels[0])];
      return factor ** 2 * this.#moment(this.#slopes(nodes, [[nodes[0], proxy], [nodes[1], 1 - proxy]]));
    }
    const weighted = (given ?? weights(levels)).map((weight, n) => [nodes[n + 1], weight]);
    if (corrector && !closing) return this.#corrected(nodes, weighted, corrector(levels));
    return this.#moment(combines === "slopes" ? this.#slopes(nodes, weighted) : this.#denoised(nodes, weighted));
  }

  /** Cost (K). */
  #girsanov(nodes) {
    const [j, i] = nodes;
    const weights = this.solver.weights(nodes.map((node) => this.levels[node]));
    let [own, square] = [0, 0];
    for (let n = 0; n < weights.length; n++) {
      const [node, weight] = [nodes[n + 1], weights[n]];
      const [row, inner] = [this.moments[node], this.inner[node]];
      own += weight * (inner[j] - inner[i]);
      square += weight * weight * row[node];
      for (let m = 0; m < n; m++) square += 2 * weight * weights[m] * row[nodes[m + 1]];
    }
    return Math.max(this.trace[j] - this.trace[i] - 2 * own + (this.norm[j] - this.norm[i]) * Math.max(square, 0), 0);
  }

  /** Error `phi' integral (D_u - Dhat) d(1/phi)`. */
  #denoised([j, i], weighted) {
    const end = this.phi[j];
    const norm = end * (this.norm[j] - this.norm[i]);
    return { values: weighted.map(([node, weight]) => [node, -norm * weight]), integrals: [[j, end], [i, -end]] };
  }

  /** Of the corrected state: its evaluation is at the predicted one, whose error D passes on by kappa. */
  #corrected(nodes, predicted, weights) {
    const [j, i] = nodes;
    const own = this.#denoised(nodes, weights.map((weight, n) => [nodes[n], weight]));
    const off = this.#denoised(nodes, predicted);
    const passed = weights[0] * (1 - this.phi[j] / this.phi[i]) * this.kappa[j];
    const scaled = ([node, factor]) => [node, passed * factor];
    return this.#moment({ values: [...own.values, ...off.values.map(scaled)], integrals: [...own.integrals, ...off.integrals.map(scaled)] });
  }

  /** The same as `#denoised` where slopes are combined: on the path x / sigma is known from the integral of D. */
  #slopes([j, i], weighted) {
    const end = this.levels[j];
    const width = end - this.levels[i];
    const terms = [[j, end], [i, -end]];
    for (const [node, weight] of weighted) if (node !== i) terms.push([i, width * weight], [node, -width * weight]);
    return { values: weighted.map(([node, weight]) => [node, (width * weight) / this.levels[node]]), integrals: terms };
  }

  /** Second moment of a functional of D. */
  #moment({ values, integrals: terms }) {
    let total = 0;
    for (let n = 0; n < values.length; n++) {
      const [g, a] = values[n];
      const [row, inner] = [this.moments[g], this.inner[g]];
      total += a * a * row[g];
      for (let m = 0; m < n; m++) total += 2 * a * values[m][1] * row[values[m][0]];
      for (let m = 0; m < terms.length; m++) total += 2 * a * terms[m][1] * inner[terms[m][0]];
    }
    for (let n = 0; n < terms.length; n++) {
      const [g, a] = terms[n];
      const square = this.square[g];
      total += a * a * square[g];
      for (let m = 0; m < n; m++) total += 2 * a * terms[m][1] * square[terms[m][0]];
    }
    return Math.max(total, 0);
  }

  /** Of starting at level j from noise alone: of a step from the top with the mean as the estimate. */
  start(j) {
    const [norm, idle] = [this.norm[j], this.idle[j]];
    if (this.solver.noise.bound) return Math.max(this.trace[j] - 2 * idle + norm * this.originSquare, 0);
    return Math.max(this.square[j][j] - 2 * norm * idle + norm ** 2 * this.originSquare, 0) * this.phi[j] ** 2 * this.scale[j];
  }

  /** Of the closing step to noise level 0 with given weights. */
  #combined(nodes, given) {
    const last = this.levels.length - 1;
    return this.scale[last] * this.#moment({ values: [[last, 1], ...given.map((weight, n) => [nodes[n], -weight])], integrals: [] });
  }

  /** Of the closing step from level i to noise level 0, which returns D_i. */
  toZero(i) {
    const last = this.levels.length - 1;
    const jump = Math.max(this.moments[last][last] - 2 * this.moments[i][last] + this.moments[i][i], 0);
    const tail = this.scale[last] * jump;
    if (!this.solver.noise.bound) return tail;
    const own = this.inner[i][last] - this.inner[i][i];
    const norm = this.norm[last] - this.norm[i];
    return tail + Math.max(this.trace[last] - this.trace[i] - 2 * own + norm * this.moments[i][i], 0);
  }

  /**
   * Cost of the step that starts at knot n, and in the first one what it costs to start there; 0 where no step starts, Infinity where
   * knots leave the grid or do not go down.
   *
   * @param {number[]} knots  Rising level indices, without a terminal 0.
   */
  at(knots, n, toZero) {
    const here = knots[n];
    if (here === undefined) return 0;
    const { length } = this.levels;
    const begins = n ? 0 : here >= 0 && here < length ? this.start(here) : Infinity;
    const left = knots.length - 1 - n;
    const given = this.given?.[n].slice(0, n + 1);
    if (!left && toZero && given) return begins + this.#combined(knots.slice(-given.length).reverse(), given);
    if (!left) return begins + (toZero ? (here < length ? this.toZero(here) : Infinity) : 0);
    const most = Math.min(this.solver.history, n + 1, this.solver.tapers && toZero ? left + 1 : Infinity);
    const nodes = [];
    for (let m = n + 1; m > n - most; m--) nodes.push(knots[m]);
    const falls = nodes[0] < length && nodes.at(-1) >= 0 && nodes.every((node, m) => m === 0 || node < nodes[m - 1]);
    return falls ? begins + this.step(nodes, left === 1 && !toZero && closesDifferently(this.solver), given) : Infinity;
  }
}

/** Integrals by profile, noise and grid: where there is no bound, no weight is part of them. */
const known = new WeakMap();

/**
 * Costs on a grid `factor` times as fine as the measured one.
 *
 * @param {object} profile  As for `interpolate`.
 * @param {import("./solvers.js").Solver} solver
 * @param {{detail: number, knee?: number}} choice
 * @param {number} factor
 */
export function costs(profile, solver, choice, factor) {
  const { noise, corrector } = solver;
  const key = [noise.name, Boolean(corrector), factor, ...(noise.bound ? [choice.detail, choice.knee] : [])].join();
  const kept = known.get(profile) ?? known.set(profile, new Map()).get(profile);
  if (!kept.has(key)) {
    if (kept.size > 12) kept.clear();
    kept.set(key, integrals(profile, positions(profile, factor), solver, weightOf(choice), { factor }));
  }
  return new StepCost(kept.get(key), solver, weightOf(choice));
}

/** A position, or that of the finer grid's level where the two differ by rounding only. */
function onto(position, factor) {
  const nearest = Math.round(position * factor) / factor;
  return Math.abs(nearest - position) < SAME ? nearest : position;
}

/**
 * Costs of all steps of any schedule, on or off the grid, with the integrals of the worker's finer grid.
 *
 * @param {object} profile  As for `interpolate`.
 * @param {import("./solvers.js").Solver} solver
 * @param {{detail: number, knee?: number}} choice  What errors count.
 * @param {number[]} sigmas  Levels within the profile's range; the last may be 0.
 * @param {number[][] | null} given  Weights of every step, for the fitted solver.
 * @returns {{start: number, steps: number[]}}  What it costs to start at the first level, and one per step.
 */
export function stepCosts(profile, solver, choice, sigmas, given = null) {
  const toZero = sigmas.at(-1) === 0;
  const factor = fineness(profile);
  const own = (toZero ? sigmas.slice(0, -1) : sigmas).map((sigma) => onto(positionOf(profile.levels, sigma), factor));
  const rising = (...places) => [...new Set(places.flat())].sort((a, b) => a - b);
  const places = rising([...profile.levels.keys()], own);
  const finer = rising(positions(profile, factor), places);
  const weight = weightOf(choice);
  const cost = new StepCost(integrals(profile, places, solver, weight, { factor, finer }), solver, weight, given);
  const knots = own.map((position) => places.indexOf(position));
  const start = cost.start(knots[0]);
  const steps = Array.from({ length: sigmas.length - 1 }, (_, n) => cost.at(knots, n, toZero) - (n ? 0 : start));
  return { start, steps };
}
