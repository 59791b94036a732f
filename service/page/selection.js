// From what is chosen and what is known to what is drawn: our schedule beside those that everybody uses, with the cost of every step.

import { defaultChoice, ratioBound } from "./choice.js";
import { stepCosts } from "./cost.js";
import { Optimizer } from "./optimize.js";
import { measureOf, SOLVERS, stepsOf } from "./solvers.js";
import { edm, logSnr } from "./stock.js";
import { DETAIL } from "./state.js";

export const STOCK_TITLES = {
  edm: "EDM",
  log_snr: "log-SNR",
  time_uniform: "uniform time",
  kl_optimal: "KL-optimal",
  beta_sigmas: "beta (diffusers)",
  beta: "beta",
  beta57: "beta57",
  bong_tangent: "bong tangent",
  karras: "Karras (on t)",
  exponential: "exponential (on t)",
  leading: "DDPM leading",
  trailing: "DDPM trailing",
  ddim_uniform: "DDIM uniform",
  shifted: "shifted flow",
  normal: "normal",
  sgm_uniform: "SGM uniform",
  simple: "simple",
  linear_quadratic: "linear-quadratic",
  flux2: "FLUX.2",
  ltx2: "LTX-2",
  ays_sd15: "AYS for SD 1.5",
  ays_sdxl: "AYS for SDXL",
  ays_if: "AYS for DeepFloyd IF",
  ays_svd: "AYS for SVD",
};

/**
 * @typedef {object} Line  One schedule of the picture.
 * @property {string} name  `ours`, `edm`, `log_snr` or `published`.
 * @property {string} title
 * @property {number[]} sigmas
 * @property {{start: number, steps: number[]} | null} costs  Null without a profile, or where a level is outside of it.
 * @property {{mean: number, standard_error: number} | null} error  Measured on held-out noises.
 */

/** Optimizers by what they depend on: the sweep is kept while the sliders move. */
const optimizers = new Map();

function optimized(profile, { solver, nfe, terminal, detail }) {
  const key = [profile.id, profile.created_at, solver, terminal, detail].join();
  let optimizer = optimizers.get(key);
  if (!optimizer) {
    if (optimizers.size > 8) optimizers.clear();
    optimizer = new Optimizer(profile, SOLVERS[solver], { toZero: terminal === "zero", detail, ratioBound: ratioBound(SOLVERS[solver]) });
    optimizers.set(key, optimizer);
  }
  return optimizer.schedule(stepsOf(solver, nfe));
}

/**
 * What the picture shows.
 *
 * @param {object} state  From `state.js`.
 * @param {object} model  A model of the API.
 * @param {object | null} profile  `{levels, moments, measure}` of the measure that the solver needs.
 * @param {object | null} cell  Our schedule as the API has it: a cell of a row, or a schedule in short.
 * @param {object | null} published  A published schedule of the API.
 */
export function select(state, model, profile, cell, published) {
  const range = { sigmaMax: profile?.levels[0] ?? model.sigma_max, sigmaMin: profile?.levels.at(-1) ?? model.sigma_min };
  const toZero = state.terminal === "zero";
  const steps = stepsOf(state.solver, state.nfe);
  const here = state.detail !== "auto" && !cell && profile;
  const choice = chosen(state, profile, cell);
  const lines = [];
  const add = (name, title, sigmas, error) => lines.push({ name, title, sigmas, error: error ?? null, costs: costsOf(sigmas) });
  const costsOf = (sigmas) => {
    const positive = sigmas.filter((sigma) => sigma > 0);
    const inside = profile && positive[0] <= range.sigmaMax * 1.000001 && positive.at(-1) >= range.sigmaMin * 0.999999;
    return inside ? stepCosts(profile, SOLVERS[state.solver], choice, sigmas) : null;
  };
  if (here) add("ours", "Optimized", optimized(profile, state), null);
  else if (cell) add("ours", cell.source === "stock" ? "Chosen" : "Optimized", cell.sigmas, cell.error?.ours);
  if (range.sigmaMin) {
    const span = { ...range, toZero };
    add("edm", "EDM", edm(steps, span), cell?.error?.stock.edm);
    add("log_snr", "log-SNR", logSnr(steps, span), cell?.error?.stock.log_snr);
  }
  if (published) add("published", "Published", published.sigmas, null);
  return { lines, range, toZero, steps, choice, here: Boolean(here), measure: measureOf(state.solver) };
}

/** What errors count in the bars: what our schedule was optimized for, else what one would be by default. */
function chosen({ solver, detail }, profile, cell) {
  if (detail !== "auto") return { detail, knee: Infinity };
  if (typeof cell?.detail === "number") return { detail: cell.detail, knee: cell.knee ?? Infinity };
  return profile ? defaultChoice(profile, SOLVERS[solver]) : { detail: DETAIL.start, knee: Infinity };
}

/** The best stock schedule of a validated cell, as `[name, estimate]`. */
export const bestStock = (error) => Object.entries(error.stock).reduce((best, each) => (each[1].mean < best[1].mean ? each : best));
