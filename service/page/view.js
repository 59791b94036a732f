// Draws the middle of the page from what is chosen and known.

import { errorBars, errorChart, errorOf, heatMap, legend, lossChart } from "./charts.js";
import { TABS } from "./copy.js";
import { byId, estimate, h, number, redraw } from "./dom.js";
import { facts, offered } from "./models.js";
import { updateProgress } from "./jobs.js";
import { STOCK_TITLES } from "./selection.js";
import { sampleGrid } from "./samples.js";
import { stepsPicture, stepsTable } from "./steps.js";
import { EFFORTS, FORMATS, NFE } from "./state.js";
import { isOdd, SOLVERS } from "./solvers.js";
import { costNote, verdict } from "./words.js";

const CURVE = [4, 6, 8, 12, 16];
const CURVE_ODD = [5, 7, 9, 13, 17];

const show = (id, there) => {
  byId(id).hidden = !there;
  return there;
};

const text = (id, words) => {
  if (byId(id).textContent !== words) byId(id).textContent = words;
};

/** What the controls show. */
export function drawControls({ state, model, profile, selection }) {
  text("model-title", model.title);
  text("facts", facts(model).join(" · "));
  Object.assign(byId("nfe"), isOdd(state.solver) ? { min: 3, max: NFE.max - 1, step: 2 } : { ...NFE, step: 1 });
  const { here, choice: { detail } } = selection;
  for (const [id, value] of Object.entries({ solver: state.solver, terminal: state.terminal, nfe: state.nfe, detail })) {
    if (byId(id).value !== String(value)) byId(id).value = value;
  }
  text("nfe-value", String(state.nfe));
  text("detail-value", number(detail));
  byId("detail-auto").checked = state.detail === "auto";
  byId("detail").disabled = !profile;
  byId("detail-auto").disabled = !profile && state.detail === "auto";
  const note = here || state.detail !== "auto";
  show("detail-note", note);
  if (note) text("detail-note", "Detail weights errors by sigma to this power: 0 is the paper's bound, 2 the error of the finished sample. Auto tries several.");
  show("controls", true);
}

/** Headline, reason, and what can be done about it. */
export function drawAnswer(view, act) {
  const { state, model, cell, job, failed } = view;
  const [headline, reason] = verdict(view);
  text("verdict", headline);
  text("reason", failed && !job && !cell ? `The last job failed: ${failed.error}` : reason);
  byId("answer").classList.toggle("good", Boolean(cell?.validated && cell.source !== "stock"));
  show("answer", true);
  const possible = offered(model);
  const label = cell?.validated && !view.here ? "Search again" : model.profile_state !== "ready" ? "Measure and optimize" : cell || view.here ? "Validate it" : "Optimize it";
  const action = byId("action");
  redraw(action, [job?.id, label, possible, state.effort], () => {
    if (job) {
      return [h("div", { class: "progress" }), h("button", { type: "button", onclick: () => act.cancel(job.id) }, "Cancel this job")];
    }
    if (!possible) return [];
    const words = { fast: "fast: no validation", standard: "standard", max: "max: five times the search" };
    const options = EFFORTS.map((effort) => h("option", { value: effort, selected: effort === state.effort }, words[effort]));
    return [
      h("label", {}, "Effort ", h("select", { id: "effort", onchange: (event) => act.effort(event.target.value) }, options)),
      h("button", { type: "button", id: "submit", class: cell?.validated ? null : "primary", onclick: act.submit }, label),
    ];
  });
  if (job) updateProgress(action.firstChild, job);
}

/** The schedules beside each other. */
export function drawSteps({ state, selection, profile }) {
  const { lines, range, choice } = selection;
  if (!show("steps-section", lines.length > 0)) return;
  text("cost-note", costNote(profile, SOLVERS[state.solver], choice));
  const place = byId("steps");
  redraw(place, [lines, place.clientWidth], () => stepsPicture(lines, range, Math.max(place.clientWidth, 280)));
  redraw(byId("steps-table"), lines, () => stepsTable(lines));
}

/** Same noise, stock above ours. */
export function drawSamples({ cell, samples, model }) {
  if (!show("samples-section", Boolean(samples && cell))) return;
  redraw(byId("samples"), samples.schedule_id, () => {
    const { stock, errors } = samples;
    const note = "Each column starts from the same noise. Red: where a sample misses the fine solution that both rows aim at.";
    const label = `${samples.noises} samples of ${model.title} from the same noises with each schedule`;
    return [h("p", { class: "note" }, note), sampleGrid(samples, label, {
      stock: ["Stock", `${STOCK_TITLES[stock] ?? stock}, error ${number(errors.stock)}`],
      ours: ["Optimized", `error ${number(errors.ours)}`],
      fine: ["Fine solution", "what both aim at"],
    })];
  });
}

/** Error against NFE, for all methods, where validated. */
export function drawErrors({ state, row }, act) {
  if (!show("error-section", Boolean(row))) return;
  const cells = row.cells.filter((cell) => cell.validated);
  const names = [...new Set(cells.flatMap((cell) => Object.keys(cell.error.stock)))];
  const methods = [{ name: "ours", title: "Optimized" }, ...names.map((name) => ({ name, title: STOCK_TITLES[name] ?? name }))];
  const chart = byId("error-chart");
  redraw(chart, [cells, chart.clientWidth, act.theme()], () => {
    if (!cells.length) return h("p", {}, `No number of evaluations has been validated with ${SOLVERS[state.solver].title} yet.`);
    if (cells.length === 1) return errorBars(cells[0], methods);
    const place = h("div", {});
    requestAnimationFrame(() => errorChart(place, cells, methods));
    return [place, legend(methods)];
  });
  const one = cells.length === 1;
  text("error-note", `Mean squared distance of a sample to the fine solution from the same noise, on noises that no search has seen${one ? `, at ${cells[0].nfe} evaluations` : ""}.`);
  show("error-details", cells.length > 1);
  redraw(byId("error-table"), cells, () => h(
    "table",
    {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "NFE"), methods.map(({ title }) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, cells.map((cell) => h("tr", {}, h("th", { scope: "row" }, String(cell.nfe)), methods.map((method) => {
      const found = errorOf(cell, method);
      return h("td", {}, found ? estimate(found) : "");
    })))),
  ));
  const wanted = (isOdd(state.solver) ? CURVE_ODD : CURVE).filter((nfe) => !cells.some((cell) => cell.nfe === nfe));
  redraw(byId("error-action"), [wanted, state], () =>
    wanted.length ? h("button", { type: "button", onclick: () => act.curve(wanted) }, `Validate ${wanted.join(", ")} evaluations`) : []);
}

/** Loss and K. */
export function drawProfile({ profile, selection }, act) {
  if (!show("profile-section", Boolean(profile))) return;
  const { evaluations, paths, levels, seconds } = profile;
  text("profile-facts", `${evaluations} evaluations of the model, ${paths} paths through ${levels.length} noise levels, ${number(seconds, 2)} s.`);
  const loss = byId("loss");
  const heat = byId("heat");
  redraw(loss, [profile.id, profile.created_at, loss.clientWidth, act.theme()], () => {
    const place = h("div", {});
    if (profile.loss) requestAnimationFrame(() => lossChart(place, levels, profile.loss));
    return place;
  });
  const sigmas = selection.lines.find(({ name }) => name === "ours")?.sigmas ?? [];
  redraw(heat, [profile.id, profile.created_at, profile.measure, sigmas], () => heatMap(profile, sigmas));
}

/** Tabs of formats; the text comes with `drawCode`. */
export function drawFormats({ state }, act) {
  show("copy-section", true);
  const list = byId("formats");
  redraw(list, "once", () => FORMATS.map((format) =>
    h("button", { type: "button", role: "tab", id: `tab-${format}`, "aria-controls": "code-panel", onclick: () => act.format(format) }, TABS[format][0])));
  for (const tab of list.children) {
    const chosen = tab.id === `tab-${state.format}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  byId("code-panel").setAttribute("aria-labelledby", `tab-${state.format}`);
}

/** The text of the chosen format. */
export function drawCode(format, code, problem) {
  text("code", code ?? problem);
  byId("copy").disabled = code === null;
  text("copy-note", code === null ? "" : TABS[format][1]);
}
