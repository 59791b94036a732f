// Sampling methods as the API names them. A test compares this table with the contract, the worker and docs/solvers.md.

/**
 * @typedef {object} Solver
 * @property {string} title  What people call it.
 * @property {"flow" | "forward"} measure  Path measure whose moments decide its steps' costs.
 * @property {boolean} stochastic  Whether its cost is the bound (K) of the SDE, else the injected error (F).
 * @property {boolean} multistep  Whether a step extrapolates from the evaluation before it.
 * @property {boolean} corrector  Whether it is Heun, whose cost is that of the trapezoid rule.
 * @property {number} evaluations  Of every step but the last, which has one.
 * @property {boolean} costs  Whether cost.js knows what its steps cost; the worker's costs of the others are not computed in the page.
 * @property {string | null} kdiffusion  The call of k-diffusion, or of ComfyUI's, that runs it.
 */

const ode = { measure: "flow", stochastic: false, multistep: false, corrector: false, evaluations: 1, costs: true, kdiffusion: null };
const sde = { ...ode, measure: "forward", stochastic: true };
const other = { ...ode, costs: false };
const er = (stage) => ({ ...other, title: `ER-SDE, stage ${stage}`, kdiffusion: `sample_er_sde(max_stage=${stage}) (ComfyUI)` });

/** @type {Record<string, Solver>} */
export const SOLVERS = {
  dpmpp_2m: { ...ode, title: "DPM-Solver++(2M)", multistep: true, kdiffusion: "sample_dpmpp_2m" },
  ddim: { ...ode, title: "DDIM", kdiffusion: "sample_euler" },
  euler: { ...ode, title: "Euler", kdiffusion: "sample_euler" },
  heun: { ...ode, title: "Heun", corrector: true, evaluations: 2, kdiffusion: "sample_heun" },
  dpmpp_2s: { ...other, title: "DPM-Solver++(2S)", evaluations: 2, kdiffusion: "sample_dpmpp_2s_ancestral(eta=0)" },
  dpmpp_3m: { ...other, title: "DPM-Solver++(3M)", kdiffusion: "sample_dpmpp_3m_sde(eta=0)" },
  unipc: { ...other, title: "UniPC, order 2" },
  unipc_3: { ...other, title: "UniPC, order 3", kdiffusion: "sample_unipc_bh2 (ComfyUI)" },
  deis: { ...other, title: "DEIS" },
  ipndm: { ...other, title: "iPNDM", kdiffusion: "sample_ipndm (ComfyUI)" },
  euler_ancestral: { ...sde, title: "Euler ancestral", kdiffusion: "sample_euler_ancestral" },
  ddpm: { ...sde, title: "DDPM", kdiffusion: "sample_euler_ancestral" },
  sddim: { ...sde, title: "DDIM, eta = 1", kdiffusion: "sample_euler_ancestral" },
  dpmpp_2m_sde: { ...sde, title: "DPM-Solver++(2M) SDE", multistep: true, kdiffusion: 'sample_dpmpp_2m_sde(solver_type="midpoint")' },
  dpmpp_3m_sde: { ...sde, title: "DPM-Solver++(3M) SDE", costs: false, kdiffusion: "sample_dpmpp_3m_sde" },
  er_sde_1: er(1),
  er_sde_2: er(2),
  er_sde_3: er(3),
};

/** Path measure whose moments decide the cost of a solver's steps. */
export const measureOf = (solver) => SOLVERS[solver].measure;

/** Steps that spend `nfe` evaluations. */
export const stepsOf = (solver, nfe) => 1 + Math.floor((nfe - 1) / SOLVERS[solver].evaluations);

/** Whether a solver spends odd numbers of evaluations only. */
export const isOdd = (solver) => SOLVERS[solver].evaluations === 2;

/** The nearest number of evaluations that a solver can spend. */
export const possible = (solver, nfe) => (isOdd(solver) && nfe % 2 === 0 ? nfe - 1 || 3 : nfe);
