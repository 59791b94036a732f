// What each family of solvers declares (worker/ays/solvers, docs/theory.md, 12): how much noise it adds, and the weights of the
// evaluations that a step combines. Weights take noise levels from the end of the step backwards, `[then, now, before, ...]`, and give
// one number per evaluation, newest first.

/** A noise function phi: `scale` is phi, `slope` its d ln phi / d ln sigma; `bound` where the cost is Girsanov's bound. */
export const ODE = { name: "ode", bound: false, scale: (sigma) => sigma, slope: () => 1 };
export const SDE = { name: "sde", bound: true, scale: (sigma) => sigma ** 2, slope: () => 2 };
export const ER = {
  name: "er",
  bound: false,
  scale: (sigma) => sigma * (Math.exp(sigma ** 0.3) + 10),
  slope: (sigma) => 1 + (0.3 * sigma ** 0.3 * Math.exp(sigma ** 0.3)) / (Math.exp(sigma ** 0.3) + 10),
};

const product = (values) => values.reduce((all, value) => all * value, 1);
const sum = (values) => values.reduce((all, value) => all + value, 0);

/** First order: the newest evaluation alone. */
export const newest = () => [1];

/** DPM-Solver++(2M). */
export function secondOrder([then, now, before]) {
  if (before === undefined) return [1];
  const r = Math.log(now / then) / (2 * Math.log(before / now));
  return [1 + r, -r];
}

/** Mean of (lambda_u - lambda) / h over a step of length h. */
function meanShare(h) {
  const decay = -Math.expm1(-h);
  return (1 - decay / h) / decay;
}

/** Exponential Heun: weights of the evaluations at the end and at the start of a step. */
export function expHeun([then, now]) {
  const end = meanShare(Math.log(now / then));
  return [end, 1 - end];
}

/** Part of the first-order error that RES-2S leaves. */
export function leftByRes(now, then) {
  const h = Math.log(now / then);
  return 1 - (4 * meanShare(h)) / (Math.exp(h / 2) + 1);
}

/** DPM-Solver++(3M), where the linear part decays as `e^(-rate h)`. */
export const thirdOrder = (rate) => ([then, now, before, oldest]) => {
  if (before === undefined) return [1];
  const h = Math.log(now / then);
  const z = rate * h;
  const decay = -Math.expm1(-z);
  const first = (1 - decay / z) / decay;
  const r = Math.log(before / now) / h;
  if (oldest === undefined) return [1 + first / r, -first / r];
  const s = Math.log(oldest / before) / h;
  const second = ((1 - decay / z) / z - 0.5) / decay;
  const newer = (first * (1 + r / (r + s)) - second / (r + s)) / r;
  const older = ((first * r) / (r + s) - second / (r + s)) / s;
  return [1 + newer, -newer - older, older];
};

/** Means of the Lagrange polynomials of nodes beside one at 0; `moments` are means of the variable and its powers. */
function lagrangeMeans(nodes, moments) {
  const powers = moments.toReversed();
  return nodes.map((node, k) => {
    const others = nodes.toSpliced(k, 1);
    let mean = powers[0];
    if (others.length) mean -= sum(others) * powers[1];
    if (others.length === 2) mean += product(others) * powers[2];
    return mean / (node * product(others.map((other) => node - other)));
  });
}

/** Means over the step of the powers of `(lambda_u - lambda) / h`. */
function stepMoments(h, count) {
  const means = [];
  let [phi, factorial] = [Math.expm1(-h) / -h - 1, 1];
  for (let i = 1; i <= count; i++) {
    means.push((phi * factorial) / Math.expm1(-h));
    factorial *= i + 1;
    phi = phi / -h - 1 / factorial;
  }
  return means;
}

const beside = (h, nodes) => (nodes.length === 1 ? [0.5 / nodes[0]] : lagrangeMeans(nodes, stepMoments(h, nodes.length)));

/** UniPC before the step. */
export function unipcPredictor([then, now, ...before]) {
  if (!before.length) return [1];
  const h = Math.log(now / then);
  const others = beside(h, before.map((level) => Math.log(now / level) / h));
  return [1 - sum(others), ...others];
}

/** UniPC after the step: the evaluation at its end comes first. */
export function unipcCorrector([then, now, ...before]) {
  const h = Math.log(now / then);
  const others = beside(h, [...before.map((level) => Math.log(now / level) / h), 1]);
  return [others.at(-1), 1 - sum(others), ...others.slice(0, -1)];
}

/** DEIS: slopes as a polynomial in ln sigma. */
export function polynomialInLogSigma([then, now, ...before]) {
  if (!before.length) return [1];
  const q = then / now;
  const log = Math.log(q);
  const mean = (q * log - q + 1) / (q - 1);
  const square = (q * log ** 2 - 2 * q * log + 2 * q - 2) / (q - 1);
  const others = lagrangeMeans(before.map((level) => Math.log(level / now)), [mean, square].slice(0, before.length));
  return [1 - sum(others), ...others];
}

const ADAMS_BASHFORTH = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];

/** iPNDM: weights of equal steps, whatever the steps are. */
export const adamsBashforth = (levels) => ADAMS_BASHFORTH[levels.length - 2];

/** Points of the left sums in the reference implementation of ER-SDE. */
const POINTS = 200;

/** Sums by step, since a cost asks for the same steps many times. */
const summed = new Map();

function erSums(now, then) {
  const key = `${now} ${then}`;
  if (!summed.has(key)) {
    if (summed.size > 50_000) summed.clear();
    const width = (now - then) / POINTS;
    let [zeroth, first] = [0, 0];
    for (let n = 0; n < POINTS; n++) {
      const point = then + n * width;
      const density = 1 / ER.scale(point);
      zeroth += density;
      first += (point - now) * density;
    }
    summed.set(key, [zeroth * width, first * width]);
  }
  return summed.get(key);
}

/** ER-SDE-Solver: D as a polynomial in sigma. */
export function polynomialInSigma([then, now, before, oldest]) {
  if (before === undefined) return [1];
  const dt = then - now;
  const gain = 1 - ER.scale(then) / ER.scale(now);
  const [zeroth, first] = erSums(now, then);
  const slope = (dt + ER.scale(then) * zeroth) / gain / (now - before);
  if (oldest === undefined) return [1 + slope, -slope];
  const bend = (((dt ** 2 / 2 + ER.scale(then) * first) / gain) * 2) / (now - oldest);
  const [newer, older] = [slope + bend / (now - before), bend / (before - oldest)];
  return [1 + newer, -newer - older, older];
}
