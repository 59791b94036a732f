// The answer in words.

import { between, estimate, number } from "./dom.js";
import { offered } from "./models.js";
import { SOLVERS } from "./solvers.js";
import { stockTitle } from "./titles.js";

const SAMPLERS = { stock: "on the best stock schedule", fixed: "of the best fixed solver on its own schedule" };
const OPTIMIZE = "One job measures your model and finds its own, for this solver.";
const WEIGHTS = "To have its own found for your solver, add the weights to a worker's models file under this id.";

/**
 * What there is to say about the schedule on display.
 *
 * @param {{state: object, model: object, row: object | null, cell: object | null, job: object | null, here: boolean, published: object | null}} view
 * @returns {[string, string]} A headline and its reason.
 */
export function verdict({ state, model, row, cell, job, here, published }) {
  const budget = `At ${state.nfe} evaluations`;
  if (here) {
    return [
      `Computed in your browser for detail ${number(state.detail)}.`,
      "By the service's own rule, from the measured profile. Nobody has run it yet: a job does, against the stock schedules.",
    ];
  }
  if (cell?.validated && cell.error) return judged(budget, cell, state);
  if (cell?.source === "stock") return [`${budget}, ${titled(cell)} is served.`, because(cell)];
  if (cell) {
    return [
      SOLVERS[state.solver].fitted ? "Fitted to the profile, and not tried yet." : "Optimized, and not tried yet.",
      `One measurement gives the schedules of every solver and budget. A job refines this one and runs it against the stock schedules. ${because(cell)}`.trim(),
    ];
  }
  if (state.detail !== "auto" && !job && model.profile_state === "ready") return ["Loading.", ""];
  if (job) return ["A job is at work.", "The schedule appears here when it ends. You may close this page; the job goes on."];
  if (published) return ["A published schedule.", `Made by the paper's authors, taken to your number of evaluations. ${offered(model) ? OPTIMIZE : WEIGHTS}`];
  if (model.profile_state === "ready" && row) return ["Not in the table yet.", "A job adds this schedule."];
  if (model.profile_state === "ready") return ["Loading.", ""];
  if (!offered(model)) return SOLVERS[state.solver].fitted ? ["Weights are fitted to a model.", `Nobody has published any for this one. ${WEIGHTS}`] : ["Loading.", ""];
  return [
    `${model.id} has not been measured yet.`,
    "One job does it, with some thousand evaluations of the model; after that every solver and budget is answered at once.",
  ];
}

const titled = ({ candidate }) => (candidate ? stockTitle(candidate) : "a stock schedule");

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

/** Why it is not an optimized one, or has no report. */
const because = ({ provenance, source }) =>
  provenance?.reason ? sentence(provenance.reason) : source === "stock" ? "It did better than the optimized one." : "";

function judged(budget, cell, state) {
  const { error, source } = cell;
  const { best_stock: name, ratio } = error;
  const rival = name && error.stock[name];
  const against = rival && source !== "stock" ? ` against ${estimate(rival)}` : "";
  const proof = `Squared distance to the reference, mean over ${error.noises} noise samples that took part in no choice: ${estimate(error.ours)}${against}.`;
  const words = (headline, ...more) => [headline, [proof, ...more, because(cell)].filter(Boolean).join(" ")];
  if (source === "stock") return words(`${budget}, ${titled(cell)} is the best known.`);
  if (!ratio) return words(`${budget}, an error of ${number(error.ours.mean)}.`);
  return words(compared(budget, ratio, stockTitle(name)), usual(error), equivalent(error), found(cell, state));
}

/** How much less error than the best stock schedule, with its interval; with no difference beyond it, that. */
function compared(budget, { value, interval: [low, high] }, rival) {
  const than = `than the best stock schedule, ${rival}`;
  if (high < 1) return `${budget}, ${percent(1 - value)} % less error [${percent(1 - high)}, ${percent(1 - low)}] ${than}.`;
  if (low > 1) return `${budget}, ${percent(value - 1)} % more error [${percent(low - 1)}, ${percent(high - 1)}] ${than}.`;
  return `${budget}, as good as the best stock schedule, ${rival}: its error times ${number(value, 2)} ${between([low, high])}.`;
}

/** Of 100: whole, but for what would round to all of it. */
const percent = (share) => (share > 0.99 && share < 1 ? number(100 * share) : String(Math.round(100 * share)));

/** A mean of heavy-tailed errors says little of the usual sample. */
const usual = ({ median_ratio: ratio }) => (ratio === null ? "" : `On half of the samples at most ${number(ratio, 2)} of that schedule's error.`);

const equivalent = ({ equivalent_nfe: known }) =>
  known
    ? sentence(`as good as ${Object.entries(known).map(([name, nfe]) => `${number(nfe, 2)} evaluations ${SAMPLERS[name]}`).join(" and ")}`)
    : "";

function found({ detail, refined }, { solver }) {
  const refinement = refined ? ", then refined on the model itself" : "";
  if (SOLVERS[solver].fitted) return `Levels and weights fitted to the model${refinement}.`;
  return typeof detail === "number" ? `Found with detail ${number(detail)}${refinement}.` : refined ? "Refined on the model itself." : "";
}

const count = (evaluations) => evaluations.toLocaleString("en");

/** What it took, in evaluations of the model; empty until that is known. */
export function effortNote(cell) {
  const { profile_evaluations: profile, evaluations: search, report_evaluations: report } = cell?.provenance ?? {};
  const parts = [profile && `${count(profile)} for the profile, once for all schedules`, search && `${count(search)} for the search`, report && `${count(report)} for the report`];
  const said = parts.filter(Boolean);
  return said.length ? `Evaluations of the model, each of one sample at one level: ${said.join("; ")}.` : "";
}

/** What the KL bound is of. */
export const boundNote = ({ noise }) =>
  `KL bound: what Align Your Steps minimizes, here ${noise.bound ? "of this solver" : "of stochastic DDIM on the same levels"}, read off the profile.`;

/** What the cost of a step counts. */
export function costNote(profile, { noise }, { detail, knee }) {
  if (!profile) return "; it is known once the model has been measured";
  const level = Number.isFinite(knee) ? `, knee at sigma ${number(knee)}` : "";
  return ` (${noise.bound ? "root of its share of the bound" : "root of the squared error"}, detail ${number(detail)}${level})`;
}
