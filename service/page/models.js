// The list of models: what each is, and how far it is measured.

import { h, keyed, number, redraw } from "./dom.js";
import { FINAL, updateProgress } from "./jobs.js";

const STATES = { none: "no profile", measuring: "measuring", ready: "ready", published: "published" };

const PREDICTS = { epsilon: "predicts noise", v_prediction: "predicts v", sample: "predicts the sample", flow_prediction: "predicts velocity" };

/** Kind, parametrization, shape and range of a model, each as a short text. */
export function facts({ kind, prediction_type: predicts, shape, sigma_min: low, sigma_max: high, guidance_scale: guidance }) {
  return [
    kind && { vp: "variance preserving", ve: "variance exploding", edm: "EDM", flow: "rectified flow" }[kind],
    predicts && (PREDICTS[predicts] ?? predicts),
    shape && shape.join(" × "),
    high && `sigma ${number(low)} to ${number(high)}`,
    guidance && `guidance ${number(guidance)}`,
  ].filter(Boolean);
}

/** Whether a worker has the model: of the catalogue's, only the published schedule is known. */
export const offered = (model) => model.published !== model.id || model.shape !== null;

/** State of a model; a job that has not measured it yet shows as measuring. */
export function stateOf(model, jobs) {
  if (!offered(model)) return { state: "published", job: null };
  if (model.profile_state === "ready") return { state: "ready", job: null };
  const job = jobs.find((each) => each.request.model === model.id && !FINAL.includes(each.state));
  return { state: job ? "measuring" : model.profile_state, job: job ?? null };
}

/**
 * Draws the list.
 *
 * @param {HTMLElement} list
 * @param {object[]} models
 * @param {{jobs: object[], selected: string | null, show: (id: string) => void, href: (id: string) => string}} view
 */
export function drawModels(list, models, { jobs, selected, show, href }) {
  const create = () =>
    h("li", {}, h("a", {}, h("b", {}), h("span", { class: "badge" }), h("small", {})), h("div", { class: "progress", hidden: true }));
  keyed(list, models, (model) => model.id, create, (item, model) => {
    const [link, progress] = item.children;
    const { state, job } = stateOf(model, jobs);
    redraw(link, [model, state], () => [
      h("b", {}, model.id),
      h("span", { class: `badge ${state}` }, STATES[state]),
      h("small", {}, model.title),
      h("small", {}, facts(model).slice(0, 4).join(" · ")),
    ]);
    link.href = href(model.id);
    if (model.id === selected) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      show(model.id);
    };
    progress.hidden = !job;
    if (job) updateProgress(progress, job);
  });
}

/** Models whose id, title or facts have all words of a text. */
export function search(models, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return models.filter((model) => {
    const all = [model.id, model.title, ...facts(model)].join(" ").toLowerCase();
    return words.every((word) => all.includes(word));
  });
}
