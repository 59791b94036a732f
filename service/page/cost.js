// Costs of steps from a profile, as worker/ays/cost.py computes them (docs/theory.md, 5 and 6): all of it is arithmetic on the matrix K
// of second moments that the API serves, so the page can show what any schedule costs, and why, without asking anybody.

/** Terms of the series that replace quotients which cancel: relative error below 1e-15 at |a| < 0.05. */
const SERIES = 8;
const SMALL = 0.05;

/**
 * K on a finer grid: bilinear in ln sigma; within a cell on the diagonal of a forward profile by triangles, since
 * `E ||D_a - D_b||^2` is linear in the distance there (worker/ays/profile.py, refine_grid).
 *
 * @param {{levels: number[], moments: number[][], measure: "flow" | "forward"}} profile
 * @param {number[]} positions  Rising positions on the measured grid, in [0, G - 1]; whole numbers are measured levels.
 * @returns {{levels: Float64Array, moments: Float64Array[]}}
 */
export function interpolate({ levels, moments, measure }, positions) {
  const last = levels.length - 2;
  const cell = positions.map((position) => Math.min(Math.floor(position), last));
  const theta = positions.map((position, n) => position - cell[n]);
  const fine = positions.map((position, n) =>
    Number.isInteger(position) ? levels[position] : levels[cell[n]] * (levels[cell[n] + 1] / levels[cell[n]]) ** theta[n],
  );
  const row = (n) =>
    Float64Array.from(positions, (_, m) => {
      const [a, b, s, t] = [cell[n], cell[m], theta[n], theta[m]];
      if (measure === "forward" && a === b) {
        const [low, high] = s < t ? [s, t] : [t, s];
        return (1 - high) * moments[a][a] + (high - low) * moments[a][a + 1] + low * moments[a + 1][a + 1];
      }
      const upper = (1 - t) * moments[a][b] + t * moments[a][b + 1];
      const lower = (1 - t) * moments[a + 1][b] + t * moments[a + 1][b + 1];
      return (1 - s) * upper + s * lower;
    });
  return { levels: Float64Array.from(fine), moments: positions.map((_, n) => row(n)) };
}

/** Position of a level on a grid, in cells of ln sigma; clamped to the grid. */
export function positionOf(levels, sigma) {
  const last = levels.length - 1;
  if (sigma >= levels[0]) return 0;
  if (sigma <= levels[last]) return last;
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (levels[middle] >= sigma) low = middle;
    else high = middle;
  }
  return low + Math.log(levels[low] / sigma) / Math.log(levels[low] / levels[high]);
}

/** Weights of both ends of every cell in `integral u^power f(u) d ln u`, f linear in ln u. */
function cellWeights(levels, power) {
  const cells = levels.length - 1;
  const [upper, lower] = [new Float64Array(cells), new Float64Array(cells)];
  for (let c = 0; c < cells; c++) {
    const width = Math.log(levels[c] / levels[c + 1]);
    const a = power * width;
    let [total, top] = [Math.expm1(a) / a, (Math.exp(a) * (a - 1) + 1) / a ** 2];
    if (Math.abs(a) < SMALL) {
      [total, top] = [0, 0];
      for (let n = 0, term = 1; n < SERIES; n++, term *= a / n) {
        total += term / (n + 1);
        top += term / (n + 2);
      }
    }
    const scale = levels[c + 1] ** power * width;
    upper[c] = scale * top;
    lower[c] = scale * (total - top);
  }
  return { upper, lower };
}

/** Integrals from every level up to the highest of a function known at the levels. */
function cumulative({ upper, lower }, at) {
  const sums = new Float64Array(upper.length + 1);
  for (let c = 0; c < upper.length; c++) sums[c + 1] = sums[c] + upper[c] * at(c) + lower[c] * at(c + 1);
  return sums;
}

/** Power of u in the integrals of a solver's cost. */
const powerOf = (solver, detail) => (solver.stochastic ? detail - 2 : -1);

/**
 * K on a grid with its integrals: all that costs need.
 *
 * @param {{levels: Float64Array, moments: Float64Array[]}} grid  From `interpolate`.
 * @param {import("./solvers.js").Solver} solver
 * @param {number} detail  Only stochastic solvers' integrals depend on it.
 */
export function integrals({ levels, moments }, solver, detail) {
  const weights = cellWeights(levels, powerOf(solver, detail));
  // inner[g][j] = <integral to level j, D_g>; square[i][j] = <integral to level i, integral to level j>.
  const inner = moments.map((row) => cumulative(weights, (c) => row[c]));
  return {
    levels,
    logs: levels.map(Math.log),
    moments,
    norm: cumulative(weights, () => 1),
    trace: cumulative(weights, (c) => moments[c][c]),
    inner,
    square: solver.stochastic ? null : Array.from(levels, (_, j) => cumulative(weights, (c) => inner[c][j])),
  };
}

/** Cost of single steps of one solver at one detail exponent; indices count levels of its grid. */
export class StepCost {
  /**
   * @param {object} known  From `integrals`, for this solver and detail.
   * @param {import("./solvers.js").Solver} solver
   * @param {number} detail  Exponent p of the weight sigma^p.
   */
  constructor(known, solver, detail) {
    Object.assign(this, known, { solver, detail });
  }

  /** A step from level i to level j; k is the level of the evaluation before it, or -1. */
  step(k, i, j) {
    if (this.solver.corrector) return this.#trapezoid(i, j);
    let own = this.inner[i][j] - this.inner[i][i];
    let square = this.moments[i][i];
    if (k >= 0 && this.solver.multistep) {
      const r = (this.logs[i] - this.logs[j]) / (2 * (this.logs[k] - this.logs[i]));
      own = (1 + r) * own - r * (this.inner[k][j] - this.inner[k][i]);
      square = (1 + r) ** 2 * square - 2 * r * (1 + r) * this.moments[k][i] + r ** 2 * this.moments[k][k];
    }
    if (!this.solver.stochastic) return this.#injected(own, square, i, j);
    return Math.max(this.trace[j] - this.trace[i] - 2 * own + (this.norm[j] - this.norm[i]) * square, 0);
  }

  /** The closing step from level i to noise level 0, which returns D_i. */
  toZero(i) {
    const last = this.levels.length - 1;
    const jump = Math.max(this.moments[last][last] - 2 * this.moments[i][last] + this.moments[i][i], 0);
    const tail = this.levels[last] ** (this.detail - 2) * jump;
    if (!this.solver.stochastic) return tail;
    const own = this.inner[i][last] - this.inner[i][i];
    const norm = this.norm[last] - this.norm[i];
    return tail + Math.max(this.trace[last] - this.trace[i] - 2 * own + norm * this.moments[i][i], 0);
  }

  /** A closing step above noise level 0: Heun's is of first order, as nothing is evaluated at its end. */
  toLast(k, i, j) {
    return this.solver.corrector ? this.#injected(this.inner[i][j] - this.inner[i][i], this.moments[i][i], i, j) : this.step(k, i, j);
  }

  /** Costs of all steps of a schedule: knots are rising level indices, without a terminal 0. */
  steps(knots, toZero) {
    const costs = [];
    for (let n = 0; n + 1 < knots.length; n++) {
      const closing = !toZero && n + 2 === knots.length;
      costs.push(this[closing ? "toLast" : "step"](n ? knots[n - 1] : -1, knots[n], knots[n + 1]));
    }
    return toZero ? [...costs, this.toZero(knots.at(-1))] : costs;
  }

  #target(i, j) {
    return this.square[j][j] - 2 * this.square[i][j] + this.square[i][i];
  }

  #injected(own, square, i, j) {
    const norm = this.norm[j] - this.norm[i];
    return Math.max(this.#target(i, j) - 2 * norm * own + norm ** 2 * square, 0) * this.levels[j] ** this.detail;
  }

  #trapezoid(i, j) {
    const [now, then] = [this.levels[i], this.levels[j]];
    const [alpha, beta, gamma] = [now + then, (then - now) / now, (then - now) / then];
    const own = this.inner[i][j] - this.inner[i][i];
    const other = this.inner[j][j] - this.inner[j][i];
    const square = alpha ** 2 * this.#target(i, j) + beta ** 2 * this.moments[i][i] + gamma ** 2 * this.moments[j][j];
    const mixed = alpha * beta * own + alpha * gamma * other + beta * gamma * this.moments[i][j];
    return Math.max(square + 2 * mixed, 0) * then ** (this.detail - 2);
  }
}

/**
 * Costs of all steps of any schedule, on or off the measured grid.
 *
 * @param {object} profile  As for `interpolate`.
 * @param {number[]} sigmas  Levels within the profile's range; the last may be 0.
 * @returns {number[]} One per step.
 */
export function stepCosts(profile, solver, detail, sigmas) {
  const toZero = sigmas.at(-1) === 0;
  const own = (toZero ? sigmas.slice(0, -1) : sigmas).map((sigma) => positionOf(profile.levels, sigma));
  const positions = [...new Set([...profile.levels.keys(), ...own])].sort((a, b) => a - b);
  const cost = new StepCost(integrals(interpolate(profile, positions), solver, detail), solver, detail);
  return cost.steps(own.map((position) => positions.indexOf(position)), toZero);
}
