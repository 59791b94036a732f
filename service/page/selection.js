// From what is chosen and what is known to what is drawn: our schedule beside those that everybody uses, with the cost of every step.

import { defaultChoice, ratioBound } from "./choice.js";
import { stepCosts } from "./cost.js";
import { Optimizer } from "./optimize.js";
import { FIXED, measureOf, SOLVERS, stepsOf } from "./solvers.js";
import { edm, logSnr } from "./stock.js";
import { DETAIL } from "./state.js";
import { stockRemark, stockTitle } from "./titles.js";

/**
 * @typedef {object} Line  One schedule of the picture.
 * @property {string} name  `ours`, `best`, `edm`, `log_snr` or `published`.
 * @property {string} title
 * @property {string | null} remark  What it is.
 * @property {number[]} sigmas
 * @property {{start: number, steps: number[]} | null} costs  Null without a profile, or where a level is outside of it.
 * @property {{mean: number, standard_error: number} | null} error  Measured on held-out noises.
 * @property {number[][] | null} weights  Of the fitted solver's steps.
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
  const { fitted } = SOLVERS[state.solver];
  const costsOf = (sigmas, weights) => {
    const positive = sigmas.filter((sigma) => sigma > 0);
    const inside = profile && positive[0] <= range.sigmaMax * 1.000001 && positive.at(-1) >= range.sigmaMin * 0.999999;
    if (!inside) return null;
    return stepCosts(profile, SOLVERS[fitted && !weights ? FIXED : state.solver], choice, sigmas, weights);
  };
  const add = (name, title, sigmas, { error = null, remark = null, weights = null, known = true } = {}) =>
    lines.push({ name, title, sigmas, error, remark, weights, costs: known ? costsOf(sigmas, weights) : null });
  const stock = (name, key, sigmas) => {
    if (cell?.source === "stock" && cell.candidate === key) return;
    add(name, stockTitle(key), sigmas, { error: cell?.error?.stock[key], remark: stockRemark(key) });
  };
  if (here) add("ours", "Optimized", optimized(profile, state));
  else if (cell) {
    const weights = cell.weights ?? null;
    add("ours", answerTitle(state, cell), cell.sigmas, { error: cell.error?.ours, weights, known: !fitted || weights !== null });
  }
  const { best_stock: best, best_stock_sigmas: levels } = cell?.error ?? {};
  if (levels && !["edm", "log_snr"].includes(best)) stock("best", best, levels);
  if (range.sigmaMin) {
    const span = { ...range, toZero };
    stock("edm", "edm", edm(steps, span));
    stock("log_snr", "log_snr", logSnr(steps, span));
  }
  if (published) add("published", "Published", published.sigmas);
  return { lines, range, toZero, steps, choice, here: Boolean(here), measure: measureOf(state.solver) };
}

/** What the schedule on display is called, in the picture and in the tables. */
export function answerTitle({ solver }, cell) {
  if (cell?.source === "stock") return `Stock: ${stockTitle(cell.candidate ?? "")}`;
  return SOLVERS[solver].fitted ? "Fitted" : "Optimized";
}

/** What errors count in the bars: what our schedule was optimized for, else what one would be by default. */
function chosen({ solver, detail }, profile, cell) {
  if (detail !== "auto") return { detail, knee: Infinity };
  if (typeof cell?.detail === "number") return { detail: cell.detail, knee: cell.knee ?? Infinity };
  return profile ? defaultChoice(profile, SOLVERS[solver]) : { detail: DETAIL.start, knee: Infinity };
}
