// Sampling methods as the API names them, and what their steps cost depends on. A test compares this table with the contract, the worker
// and docs/solvers.md.

import {
  adamsBashforth, ER, expHeun, leftByRes, newest, ODE, polynomialInLogSigma, polynomialInSigma, SDE, secondOrder, thirdOrder, unipcCorrector, unipcPredictor,
} from "./weights.js";

/**
 * @typedef {object} Stage  A second evaluation within a step.
 * @property {number} proxy  Weight of an evaluation at the end of the step in the rule that stands for its cost.
 * @property {(now: number, then: number) => number} factor  How many times the error of that rule counts.
 */

/**
 * @typedef {object} Solver
 * @property {string} title  What people call it.
 * @property {"flow" | "forward"} measure  Path measure whose moments decide its steps' costs.
 * @property {object} noise  Of weights.js.
 * @property {number} history  Evaluations that a step combines at most.
 * @property {(levels: number[]) => number[]} weights  Of those evaluations, newest first.
 * @property {"denoised" | "slopes"} combines  Whether the weights are of D or of (x - D) / sigma.
 * @property {((levels: number[]) => number[]) | null} corrector  Weights with which the next step first replaces this one's state.
 * @property {Stage | null} stage
 * @property {boolean} tapers  Whether the history shrinks before a step to noise level 0.
 * @property {number} evaluations  Of every step but the last, which has one.
 * @property {boolean} fitted  Whether the weights belong to the schedule.
 * @property {string | null} kdiffusion  The call of k-diffusion, or of ComfyUI's, that runs it.
 */

const ode = {
  measure: "flow", noise: ODE, history: 1, weights: newest, combines: "denoised", corrector: null, stage: null, tapers: false, evaluations: 1,
  fitted: false, kdiffusion: null,
};
const sde = { ...ode, measure: "forward", noise: SDE };
const twoStage = { ...ode, evaluations: 2 };
const unipc = { ...ode, weights: unipcPredictor, corrector: unipcCorrector, tapers: true };
const er = (stage, weights = polynomialInSigma) =>
  ({ ...ode, noise: ER, history: stage, weights, title: `ER-SDE, stage ${stage}`, kdiffusion: `sample_er_sde(max_stage=${stage}) (ComfyUI)` });

/** @type {Record<string, Solver>} */
export const SOLVERS = {
  fitted: { ...ode, title: "Fitted", history: 4, fitted: true },
  dpmpp_2m: { ...ode, title: "DPM-Solver++(2M)", history: 2, weights: secondOrder, kdiffusion: "sample_dpmpp_2m" },
  ddim: { ...ode, title: "DDIM", kdiffusion: "sample_euler" },
  euler: { ...ode, title: "Euler", kdiffusion: "sample_euler" },
  heun: { ...twoStage, title: "Heun", combines: "slopes", stage: { proxy: 0.5, factor: () => 2 }, kdiffusion: "sample_heun" },
  dpmpp_2s: {
    ...twoStage, title: "DPM-Solver++(2S)", stage: { proxy: 0, factor: (now, then) => Math.tanh(Math.log(now / then) / 4) },
    kdiffusion: "sample_dpmpp_2s_ancestral(eta=0)",
  },
  res_2s: { ...twoStage, title: "RES-2S", stage: { proxy: 0, factor: leftByRes }, kdiffusion: "sample_res_2s (RES4LYF)" },
  // Its second evaluation is at the end of the step: its cost is that of a corrector.
  exp_heun_2_x0: {
    ...twoStage, title: "Exponential Heun", corrector: expHeun, kdiffusion: "sample_exp_heun_2_x0 (ComfyUI)",
  },
  res_multistep: { ...ode, title: "RES multistep", history: 2, weights: thirdOrder(1), kdiffusion: "sample_res_multistep (ComfyUI)" },
  dpmpp_3m: { ...ode, title: "DPM-Solver++(3M)", history: 3, weights: thirdOrder(1), kdiffusion: "sample_dpmpp_3m_sde(eta=0)" },
  unipc: { ...unipc, title: "UniPC, order 2", history: 2 },
  unipc_3: { ...unipc, title: "UniPC, order 3", history: 3, kdiffusion: "sample_unipc_bh2 (ComfyUI)" },
  deis: { ...ode, title: "DEIS", history: 3, weights: polynomialInLogSigma, combines: "slopes", tapers: true },
  ipndm: { ...ode, title: "iPNDM", history: 4, weights: adamsBashforth, combines: "slopes", kdiffusion: "sample_ipndm (ComfyUI)" },
  euler_ancestral: { ...sde, title: "Euler ancestral", kdiffusion: "sample_euler_ancestral" },
  ddpm: { ...sde, title: "DDPM", kdiffusion: "sample_euler_ancestral" },
  sddim: { ...sde, title: "DDIM, eta = 1", kdiffusion: "sample_euler_ancestral" },
  dpmpp_2m_sde: {
    ...sde, title: "DPM-Solver++(2M) SDE", history: 2, weights: secondOrder, kdiffusion: 'sample_dpmpp_2m_sde(solver_type="midpoint")',
  },
  dpmpp_2m_sde_heun: {
    ...sde, title: "DPM-Solver++(2M) SDE, heun", history: 2, weights: thirdOrder(2), kdiffusion: 'sample_dpmpp_2m_sde(solver_type="heun")',
  },
  dpmpp_3m_sde: { ...sde, title: "DPM-Solver++(3M) SDE", history: 3, weights: thirdOrder(2), kdiffusion: "sample_dpmpp_3m_sde" },
  er_sde_1: er(1, newest),
  er_sde_2: er(2),
  er_sde_3: er(3),
};

/** The fixed solver that the fitted one is drawn beside, and with whose weights stock schedules run there. */
export const FIXED = "dpmpp_2m";

/** The same method with a shorter history, as in its own first steps. */
export const truncated = (solver, history) => ({ ...solver, history: Math.min(history, solver.history) });

/** Whether a last step above noise level 0 is another one: nothing is evaluated at its end. */
export const closesDifferently = ({ stage, corrector }) => stage !== null || corrector !== null;

/** Path measure whose moments decide the cost of a solver's steps. */
export const measureOf = (solver) => SOLVERS[solver].measure;

/** Steps that spend `nfe` evaluations. */
export const stepsOf = (solver, nfe) => 1 + Math.floor((nfe - 1) / SOLVERS[solver].evaluations);

/** Whether a solver spends odd numbers of evaluations only. */
export const isOdd = (solver) => SOLVERS[solver].evaluations === 2;

/** The nearest number of evaluations that a solver can spend. */
export const possible = (solver, nfe) => (isOdd(solver) && nfe % 2 === 0 ? nfe - 1 || 3 : nfe);
