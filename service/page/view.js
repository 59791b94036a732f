// Draws the middle of the page from what is chosen and known.

import { errorBars, errorChart, errorOf, heatMap, legend, lossChart } from "./charts.js";
import { TABS } from "./copy.js";
import { byId, estimate, h, number, redraw } from "./dom.js";
import { facts, offered } from "./models.js";
import { updateProgress } from "./jobs.js";
import { answerTitle } from "./selection.js";
import { sampleGrid } from "./samples.js";
import { stepsPicture, stepsTable } from "./steps.js";
import { weightsPicture, weightsTable } from "./strips.js";
import { EFFORTS, FORMATS, NFE } from "./state.js";
import { FIXED, isOdd, SOLVERS } from "./solvers.js";
import { stockTitle } from "./titles.js";
import { boundNote, costNote, effortNote, verdict } from "./words.js";

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
  const { fitted } = SOLVERS[state.solver];
  byId("detail").disabled = !profile || fitted;
  byId("detail-auto").disabled = fitted || (!profile && state.detail === "auto");
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
  text("effort-note", effortNote(cell));
  text("reason", failed && !job && !cell ? `The last job failed: ${failed.error}` : reason);
  byId("answer").classList.toggle("good", cell?.error?.ratio?.interval[1] < 1);
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
  show("stock-note", SOLVERS[state.solver].fitted);
  text("stock-note", `The stock schedules run with ${SOLVERS[FIXED].title}.`);
  show("start-note", lines.some(({ costs }) => costs?.start > 0));
  const place = byId("steps");
  redraw(place, [lines, place.clientWidth], () => stepsPicture(lines, range, Math.max(place.clientWidth, 280)));
  redraw(byId("steps-table"), lines, () => stepsTable(lines));
  const fitted = lines.find(({ weights }) => weights);
  if (!show("weights-section", Boolean(fitted))) return;
  redraw(byId("weights"), [fitted, place.clientWidth], () => weightsPicture(fitted, Math.max(place.clientWidth, 280)));
  redraw(byId("weights-table"), fitted, () => weightsTable(fitted));
}

/** Same noise, stock above ours. */
export function drawSamples({ state, cell, samples, model }) {
  if (!show("samples-section", Boolean(samples && cell))) return;
  redraw(byId("samples"), [samples.schedule_id, cell.error], () => {
    const { stock, errors } = samples;
    const note = "Each column starts from the same noise. Red: where a sample misses the fine solution that both rows aim at.";
    const label = `${samples.noises} samples of ${model.title} from the same noises with each schedule`;
    // The report's where there is one: the same schedule has the same error wherever the page names it.
    const of = (found, here) => (found ? `error ${estimate(found)}` : `error of these samples ${number(here)}`);
    const rival = SOLVERS[state.solver].fitted ? `${stockTitle(stock)}, ${SOLVERS[FIXED].title}` : stockTitle(stock);
    return [h("p", { class: "note" }, note), sampleGrid(samples, label, {
      stock: [cell.error ? "Best stock" : "Stock", `${rival}, ${of(cell.error?.stock[stock], errors.stock)}`],
      ours: [answerTitle(state, cell), of(cell.error?.ours, errors.ours)],
      fine: ["Fine solution", "what both aim at"],
    })];
  });
}

/** Error and bound at this NFE, and error against NFE, for all methods, where validated. */
export function drawErrors({ state, row, cell, fixed }, act) {
  if (!show("error-section", Boolean(row))) return;
  const cells = row.cells.filter(({ error }) => error);
  const names = [...new Set(cells.flatMap(({ error }) => Object.keys(error.stock)))];
  const ours = SOLVERS[state.solver].fitted ? "Fitted" : "Optimized";
  const methods = [{ name: "ours", title: ours }, ...names.map((name) => ({ name, title: stockTitle(name) }))];
  const bars = byId("error-bars");
  const judged = cell?.error || cell?.klub ? cell : cells[0];
  redraw(bars, [judged?.schedule_id, judged?.error, judged?.klub], () => (judged ? errorBars(judged, answerTitle(state, judged)) : []));
  const chart = byId("error-chart");
  const others = (fixed?.cells ?? []).filter(({ error }) => error);
  redraw(chart, [cells, others, chart.clientWidth, act.theme()], () => {
    if (!cells.length) return h("p", {}, `No number of evaluations has been validated with ${SOLVERS[state.solver].title} yet.`);
    const all = joined(cells, others);
    if (all.length < 2) return [];
    const place = h("div", {});
    const beside = others.length ? [...methods.slice(0, 1), { name: "fixed", title: `${SOLVERS[FIXED].title}, optimized` }, ...methods.slice(1)] : methods;
    requestAnimationFrame(() => errorChart(place, all, beside));
    return [place, legend(beside)];
  });
  text("error-note", "Mean squared distance of a sample to the fine solution from the same noise, on noises that no search has seen, with 95 % intervals.");
  text("bound-note", judged?.klub ? boundNote(SOLVERS[state.solver]) : "");
  show("error-details", cells.length > 1);
  redraw(byId("error-table"), cells, () => h(
    "table",
    {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "NFE"), methods.map(({ title }) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, cells.map((each) => h("tr", {}, h("th", { scope: "row" }, String(each.nfe)), methods.map((method) => {
      const found = errorOf(each, method);
      return h("td", {}, found ? estimate(found) : "");
    })))),
  ));
  const wanted = (isOdd(state.solver) ? CURVE_ODD : CURVE).filter((nfe) => !cells.some((each) => each.nfe === nfe));
  redraw(byId("error-action"), [wanted, state], () =>
    wanted.length ? h("button", { type: "button", onclick: () => act.curve(wanted) }, `Validate ${wanted.join(", ")} evaluations`) : []);
}

/** Cells of both rows by rising NFE, the fixed solver's error beside the fitted one's. */
function joined(cells, others) {
  const nfes = [...new Set([...cells, ...others].map(({ nfe }) => nfe))].sort((a, b) => a - b);
  const at = (row, nfe) => row.find((each) => each.nfe === nfe)?.error;
  return nfes.map((nfe) => ({ nfe, error: { stock: {}, ...at(cells, nfe), fixed: at(others, nfe)?.ours } }));
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
  // Drawn again with the same text, it still says that this text was copied.
  redraw(byId("copy-note"), [format, code], () => (code === null ? "" : TABS[format][1]));
}
