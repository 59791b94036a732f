// The answer in words.

import { estimate, number } from "./dom.js";
import { offered } from "./models.js";
import { bestStock, STOCK_TITLES } from "./selection.js";

const OPTIMIZE = "One job measures your model and finds its own, for this solver.";
const WEIGHTS = "To have its own found for your solver, add the weights to a worker's models file under this id.";

const titled = (name) => STOCK_TITLES[name] ?? name;

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
  if (cell?.validated) return judged(budget, cell);
  if (cell) {
    return [
      "Optimized, and not tried yet.",
      "One measurement gives the schedules of every solver and budget. A job refines this one and runs it against the stock schedules.",
    ];
  }
  if (state.detail !== "auto" && !job && model.profile_state === "ready") return ["Loading.", ""];
  if (job) return ["A job is at work.", "The schedule appears here when it ends. You may close this page; the job goes on."];
  if (published) return ["A published schedule.", `Made by the paper's authors, taken to your number of evaluations. ${offered(model) ? OPTIMIZE : WEIGHTS}`];
  if (model.profile_state === "ready" && row) return ["Not in the table yet.", "The model was measured before the service had this solver. A job adds its row."];
  if (model.profile_state === "ready") return ["Loading.", ""];
  if (!offered(model)) return ["Loading.", ""];
  return [
    `${model.id} has not been measured yet.`,
    "One job does it, with some thousand evaluations of the model; after that every solver and budget is answered at once.",
  ];
}

function judged(budget, { error, source, candidate, detail, refined }) {
  const [name, stock] = bestStock(error);
  const proof = `Squared distance to the reference on ${error.noises} noise samples that took part in no choice: ${estimate(error.ours)} against ${estimate(stock)}`;
  if (source === "stock") return [`${budget}, ${titled(candidate)} is the best known.`, `Nothing that the search tried beat it. ${proof}.`];
  const times = stock.mean / error.ours.mean;
  // A mean of heavy-tailed errors says little of the usual sample.
  const usual = error.median_ratio ? ` On half of them at most ${number(error.median_ratio, 2)} of the stock schedule's error.` : "";
  const how = detail === null ? "" : `Found with detail ${number(detail)}${refined ? ", then refined on the model itself" : ""}.`;
  if (times < 1.05) return [`${budget}, as good as the best stock schedule, ${titled(name)}.`, `${proof}.${usual} ${how}`];
  const less = Math.round(100 * (1 - 1 / times));
  return [`${budget}, ${less} % less error than the best stock schedule.`, `${proof} for ${titled(name)}.${usual} ${how}`];
}

/** What the cost of a step counts. */
export function costNote(profile, { noise }, { detail, knee }) {
  if (!profile) return "; it is known once the model has been measured";
  const level = Number.isFinite(knee) ? `, knee at sigma ${number(knee)}` : "";
  return ` (${noise.bound ? "root of its share of the bound" : "root of the squared error"}, detail ${number(detail)}${level})`;
}
