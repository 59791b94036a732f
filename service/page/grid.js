// What is read off a profile for all costs (worker/ays/profile/integrals.py, docs/theory.md, 5 and 6): K at noise levels of one's own, and its
// cumulative integrals over ln sigma.

/** Terms of the series that replace quotients which cancel: relative error below 1e-15 at |a| < 0.05. */
const SERIES = 8;
const SMALL = 0.05;

/** Intervals over which the growth of ||D'|| is differentiated. */
const INTERVALS = 24;

/** Levels of the polish's grid, at least. */
const FINE_LEVELS = 256;

/** How many times as fine as the measured grid the worker's grid for the polish is. */
export const fineness = ({ levels }) => Math.max(4, Math.ceil(FINE_LEVELS / (levels.length - 1)));

/** Positions of a grid `factor` times as fine as the measured one. */
export const positions = ({ levels }, factor) => Array.from({ length: (levels.length - 1) * factor + 1 }, (_, n) => n / factor);

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

const between = (values, cell, theta) => (theta ? (1 - theta) * values[cell] + theta * values[cell + 1] : values[cell]);

const levelAt = (levels, position) => {
  const cell = Math.floor(position);
  return position === cell ? levels[cell] : levels[cell] * (levels[cell + 1] / levels[cell]) ** (position - cell);
};

/**
 * K on a finer grid: bilinear in ln sigma; within a cell on the diagonal of a forward profile by triangles, since
 * `E ||D_a - D_b||^2` is linear in the distance there (worker/ays/profile/profile.py, refine_grid).
 *
 * @param {{levels: number[], moments: number[][], origin: number[] | null, measure: "flow" | "forward"}} profile
 * @param {number[]} places  Rising positions on the measured grid, in [0, G - 1]; whole numbers are measured levels.
 * @returns {{levels: Float64Array, moments: Float64Array[], origin: Float64Array, originSquare: number}}
 */
export function interpolate({ levels, moments, origin, measure }, places) {
  const last = levels.length - 2;
  const cell = places.map((position) => Math.min(Math.floor(position), last));
  const theta = places.map((position, n) => position - cell[n]);
  const row = (n) => {
    const [a, s] = [cell[n], theta[n]];
    const [upper, lower] = [moments[a], moments[a + 1]];
    return Float64Array.from(places, (_, m) => {
      const [b, t] = [cell[m], theta[m]];
      if (measure === "forward" && a === b) {
        const [low, high] = s < t ? [s, t] : [t, s];
        return (1 - high) * upper[a] + (high - low) * upper[a + 1] + low * lower[a + 1];
      }
      return (1 - s) * ((1 - t) * upper[b] + t * upper[b + 1]) + s * ((1 - t) * lower[b] + t * lower[b + 1]);
    });
  };
  // Without an origin the denoiser at the highest level is the mean.
  const idle = origin ?? [...moments[0], moments[0][0]];
  return {
    levels: Float64Array.from(places, (position) => levelAt(levels, position)),
    moments: places.map((_, n) => row(n)),
    origin: Float64Array.from(places, (_, n) => between(idle, cell[n], theta[n])),
    originSquare: idle.at(-1),
  };
}

/** Weights of both ends of one cell in `integral kernel(u) f(u) d ln u`, f linear in ln u and the kernel a power of u. */
function cellWeights(width, above, below) {
  const a = Math.log(above / below);
  let [total, top] = [Math.expm1(a) / a, (Math.exp(a) * (a - 1) + 1) / a ** 2];
  if (Math.abs(a) < SMALL) {
    [total, top] = [0, 0];
    for (let n = 0, term = 1; n < SERIES; n++, term *= a / n) {
      total += term / (n + 1);
      top += term / (n + 2);
    }
  }
  return [below * width * top, below * width * (total - top)];
}

/**
 * Weights of all cells of a grid, for a kernel that is a power of u only between finer levels.
 *
 * @param {Float64Array} levels
 * @param {number[]} places  Their positions on the measured grid.
 * @param {number[]} finer  Rising positions that hold all of `places`.
 * @param {(sigma: number) => number} kernel
 * @param {number[]} measured  Levels of the measured grid.
 */
function weightsOf(levels, places, finer, kernel, measured) {
  const [upper, lower] = [new Float64Array(places.length - 1), new Float64Array(places.length - 1)];
  let [cell, above] = [0, kernel(levels[0])];
  for (let n = 0; n + 1 < finer.length; n++) {
    if (finer[n] >= places[cell + 1]) cell += 1;
    const whole = places[cell + 1] - places[cell];
    const [high, low] = [levelAt(measured, finer[n]), levelAt(measured, finer[n + 1])];
    const below = kernel(low);
    const [top, bottom] = cellWeights(Math.log(high / low), above, below);
    const [from, to] = [(finer[n] - places[cell]) / whole, (finer[n + 1] - places[cell]) / whole];
    upper[cell] += (1 - from) * top + (1 - to) * bottom;
    lower[cell] += from * top + to * bottom;
    above = below;
  }
  return { upper, lower };
}

/** Integrals from every level up to the highest of a function known at the levels. */
function cumulative({ upper, lower }, values) {
  const sums = new Float64Array(upper.length + 1);
  for (let c = 0; c < upper.length; c++) sums[c + 1] = sums[c] + upper[c] * values[c] + lower[c] * values[c + 1];
  return sums;
}

/** How much of a displacement of x the denoiser passes on, at every level of a finer grid (theory.md, 18). */
function contraction(profile, places, factor) {
  const count = (profile.levels.length - 1) * factor + 1;
  const intervals = Math.min(count - 1, INTERVALS);
  const spaced = Array.from({ length: intervals + 1 }, (_, n) => Math.floor(n * ((count - 1) / intervals)) / factor);
  const { levels, moments } = interpolate(profile, spaced);
  const knots = Array.from(levels, (sigma) => -Math.log(sigma));
  const middle = knots.slice(1).map((knot, n) => (knots[n] + knot) / 2);
  const logs = middle.map((_, n) => {
    const change = Math.max(moments[n][n] - 2 * moments[n][n + 1] + moments[n + 1][n + 1], 1e-300);
    return Math.log(change / (knots[n + 1] - knots[n]) ** 2);
  });
  const growth = gradient(logs, middle);
  return Float64Array.from(places, (position) => {
    const at = -Math.log(levelAt(profile.levels, position));
    const n = Math.min(Math.max(middle.findLastIndex((knot) => knot <= at), 0), Math.max(middle.length - 2, 0));
    const share = middle.length > 1 ? Math.min(Math.max((at - middle[n]) / (middle[n + 1] - middle[n]), 0), 1) : 0;
    const here = share ? growth[n] + share * (growth[n + 1] - growth[n]) : growth[n];
    return Math.min(Math.max((1 - here / 2) / 3, 0), 1);
  });
}

/** Derivatives at uneven places: second order inside, one-sided at the ends. */
function gradient(values, at) {
  const last = at.length - 1;
  if (last < 1) return values.map(() => 1);
  const slope = (n) => (values[n + 1] - values[n]) / (at[n + 1] - at[n]);
  return values.map((_, n) => {
    if (n === 0 || n === last) return slope(n === 0 ? 0 : last - 1);
    const [before, after] = [at[n] - at[n - 1], at[n + 1] - at[n]];
    return (after * slope(n - 1) + before * slope(n)) / (before + after);
  });
}

/**
 * K at some levels with its integrals: all that costs need.
 *
 * @param {object} profile  As for `interpolate`.
 * @param {number[]} places  As for `interpolate`.
 * @param {import("./solvers.js").Solver} solver
 * @param {(sigma: number) => number} weight  Of errors by noise level; only a bound's integrals depend on it.
 * @param {{factor: number, finer?: number[]}} grid  How fine the grid is beside the measured one; positions between which the kernel is
 *   a power of u, if those of `places` are too few.
 */
export function integrals(profile, places, solver, weight, { factor, finer = places }) {
  const { noise } = solver;
  const { levels, moments, origin, originSquare } = interpolate(profile, places);
  const kernel = noise.bound ? (sigma) => weight(sigma) * sigma ** -2 : (sigma) => noise.slope(sigma) / noise.scale(sigma);
  const weights = weightsOf(levels, places, finer, kernel, profile.levels);
  // inner[g][j] = <integral to level j, D_g>; square[i][j] = <integral to level i, integral to level j>.
  const inner = moments.map((row) => cumulative(weights, row));
  const column = (j) => inner.map((row) => row[j]);
  return {
    levels,
    logs: levels.map(Math.log),
    phi: levels.map(noise.scale),
    moments,
    originSquare,
    norm: cumulative(weights, levels.map(() => 1)),
    trace: cumulative(weights, levels.map((_, c) => moments[c][c])),
    idle: cumulative(weights, origin),
    inner,
    square: noise.bound ? null : Array.from(levels, (_, j) => cumulative(weights, column(j))),
    kappa: solver.corrector ? contraction(profile, places, factor) : null,
  };
}
