// What is optimized for where nothing was validated (worker/ays/search/weight.py).

/** Noise level below which less than half of the loss at the highest level is left: the scale of the data. */
function halfway({ levels, moments }) {
  const half = moments[0][0] / 2;
  return levels[Math.max(0, moments.findIndex((row, n) => row[n] <= half))];
}

/** Largest h_i / h_(i-1) of successive steps by default: a long step after a short one amplifies errors. */
const RATIO_BOUND = 2;

/** The default bound of a solver; `null`: none. */
export const ratioBound = ({ history }) => (history > 1 ? RATIO_BOUND : null);

/**
 * @param {{levels: number[], moments: number[][], measure: string}} profile
 * @param {import("./solvers.js").Solver} solver
 * @returns {{detail: number, knee: number}}
 */
export function defaultChoice(profile, solver) {
  if (solver.history > 1 && solver.noise.name === "ode") return { detail: 1.8, knee: Infinity };
  return { detail: 2.1, knee: (profile.measure === "forward" ? 3 : 1.5) * halfway(profile) };
}
