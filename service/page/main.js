// The page: it keeps the state, asks for what it needs, and has it drawn.

import { Api, Problem } from "./api.js";
import { code, lookup, toClipboard, unanswered } from "./copy.js";
import { Data } from "./data.js";
import { byId, h } from "./dom.js";
import { describe, drawJobs, FINAL, Jobs } from "./jobs.js";
import { drawModels, search } from "./models.js";
import { select } from "./selection.js";
import { FIXED, possible, SOLVERS } from "./solvers.js";
import { DETAIL, FORMATS, NFE, read, write } from "./state.js";
import * as draw from "./view.js";

const BUSY = 4000;
const IDLE = 15000;
const AWAY = 1000;
const SETTLE = 120;

const dark = matchMedia("(prefers-color-scheme: dark)");
let state = read(location.search);
let frame = 0;
let timer = 0;
let settling = 0;
let shown = null;
let coded = null;
let away = false;

const api = new Api(askKey, (answers) => {
  if (answers !== away) return;
  away = !answers;
  say(away ? "The service does not answer. Trying again." : "");
  if (!away) poll();
});
const data = new Data(api, later, complain);
const jobs = new Jobs(api, { changed: later, ended });

function later() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(redraw);
}

/** Shows a message at the top, or takes it away. */
function say(words) {
  byId("banner").hidden = !words;
  byId("banner").textContent = words;
}

function complain(problem) {
  if (!(problem instanceof Problem)) throw problem;
  if (problem.status) say([problem.message, problem.fix].filter(Boolean).join(". "));
}

/** Changes what is chosen; with `push` the back button undoes it. */
function choose(changes, { push = false } = {}) {
  state = { ...state, ...changes };
  state.nfe = possible(state.solver, state.nfe);
  if (SOLVERS[state.solver].fitted) state.detail = "auto";
  if (push) {
    history.pushState(null, "", write(state));
    say("");
  }
  later();
}

/** The part of a job's request that says which schedule is meant. */
const target = () => ({
  model: state.model,
  nfe: state.nfe,
  solver: state.solver,
  ...(state.terminal === "zero" ? {} : { terminal: state.terminal }),
  ...(state.detail === "auto" ? {} : { detail: state.detail }),
});

/** Whether a job is for the schedule on display, of the model as it comes. */
const same = (request) =>
  ["model", "nfe", "solver", "terminal", "detail"].every((name) => request[name] === state[name]) &&
  request.method === "profile" && request.sigma_min === null && request.sigma_max === null && request.guidance_scale === null;

function look() {
  const model = data.model(state.model);
  if (!model) return null;
  const profile = data.profile(model, state.solver);
  const row = data.row(model, state);
  const done = state.detail === "auto" ? null : jobs.find((request, job) => same(request) && job.state === "succeeded");
  const cell = state.detail === "auto" ? data.whole(row?.cells.find(({ nfe }) => nfe === state.nfe) ?? null) : data.made(model, done);
  const fixed = SOLVERS[state.solver].fitted ? data.row(model, { ...state, solver: FIXED }) : null;
  const published = data.published(model, state);
  const selection = select(state, model, profile, cell, published);
  const job = jobs.find((request, each) => same(request) && !FINAL.includes(each.state)) ?? null;
  const last = jobs.find(same);
  const failed = last?.state === "failed" ? last : null;
  return { state, model, profile, row, fixed, cell, published, selection, here: selection.here, job, failed, samples: data.samples(cell) };
}

function redraw() {
  if (!data.models) return;
  state.model ??= (data.models.find((model) => model.profile_state === "ready") ?? data.models[0])?.id ?? null;
  drawSides();
  shown = look();
  if (!shown) {
    const curve = state.model?.startsWith("curve-");
    byId("model-title").textContent = curve ? "A loss curve" : state.model ? `There is no model ${state.model}` : "No worker offers a model yet";
    byId("facts").textContent = curve
      ? "Its schedules are in the API: see POST /v1/curves. This page shows models."
      : state.model ? "Pick one from the list." : "Start a worker: ays worker";
    for (const section of document.querySelectorAll("main > section:not(#choose), #controls")) section.hidden = true;
    return;
  }
  draw.drawControls(shown);
  draw.drawAnswer(shown, act);
  draw.drawSteps(shown);
  draw.drawSamples(shown);
  draw.drawErrors(shown, act);
  draw.drawProfile(shown, act);
  draw.drawFormats(shown, act);
  // What needs the service, and the URL, wait for the slider to rest: browsers slow down pages that change it at every move.
  clearTimeout(settling);
  settling = setTimeout(settle, SETTLE);
}

function drawSides() {
  if (byId("search").value !== state.search) byId("search").value = state.search;
  const found = search(data.models, state.search);
  const show = (id) => choose({ model: id }, { push: true });
  drawModels(byId("models"), found, { jobs: jobs.all, selected: state.model, show, href: (id) => write({ ...state, model: id }) });
  byId("models-none").hidden = found.length > 0;
  byId("models-none").textContent = data.models.length ? "No model has all these words." : "No worker has offered a model yet.";
  const of = ({ request }) => Object.fromEntries(["model", "nfe", "solver", "terminal", "detail", "effort"].map((name) => [name, request[name]]));
  const href = (job) => write({ ...state, ...of(job) });
  drawJobs(byId("jobs"), jobs.all, { href, show: (job) => choose(of(job), { push: true }), cancel: (job) => act.cancel(job.id) });
  byId("jobs-none").hidden = jobs.all.length > 0;
  byId("older").hidden = !jobs.cursor;
  const { workers } = data;
  byId("health").textContent = away ? "no answer" : workers ? `ready, ${workers} worker${workers > 1 ? "s" : ""}` : "no worker";
  byId("health").className = `badge ${workers && !away ? "ready" : "failed"}`;
}

function settle() {
  if (location.search !== write(state)) history.replaceState(null, "", write(state));
  if (shown?.cell) data.ask(shown.cell);
  drawCode();
}

async function drawCode() {
  const { here, cell, published } = shown;
  const { format } = state;
  const path = state.detail === "auto" ? lookup(state, cell || !published ? {} : { fallback: "published" }) : `/v1/schedules/${cell?.schedule_id}`;
  const wanted = [format, path, cell?.schedule_id, here].join(" ");
  if (wanted === coded) return;
  coded = wanted;
  const text = !here && (cell || published) ? code(api, format, { path, state }) : unanswered(format, { path, state, request: here ? target() : null });
  try {
    const words = await text;
    if (wanted === coded) draw.drawCode(format, words);
  } catch (problem) {
    if (wanted !== coded) return;
    coded = null;
    draw.drawCode(format, null, problem.message);
  }
}

function ended(job) {
  byId("announce").textContent = `Job ${job.state}: ${describe(job.request)}`;
  data.forget();
  data.load().then(later, complain);
}

const tried = (deed) => deed.then(() => say(""), complain);

const act = {
  theme: () => dark.matches,
  submit: () => tried(jobs.submit({ ...target(), effort: state.effort })),
  curve: (nfes) => tried(Promise.all(nfes.map((nfe) => jobs.submit({ ...target(), detail: "auto", nfe })))),
  cancel: (id) => tried(jobs.cancel({ id })),
  effort: (effort) => choose({ effort }),
  format: (format) => choose({ format }),
};

async function poll() {
  clearTimeout(timer);
  try {
    await Promise.all([data.load(), jobs.load()]);
    later();
  } catch (problem) {
    complain(problem);
  }
  const busy = jobs.all.some((job) => !FINAL.includes(job.state));
  timer = setTimeout(poll, away ? AWAY : busy ? BUSY : IDLE);
}

function askKey() {
  const dialog = byId("key-dialog");
  dialog.showModal();
  return new Promise((resolve) => {
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close();
      resolve(byId("key").value);
      byId("key").value = "";
    };
  });
}

function listen() {
  byId("solver").append(...Object.entries(SOLVERS).map(([name, { title }]) => h("option", { value: name }, title)));
  Object.assign(byId("detail"), DETAIL);
  Object.assign(byId("nfe"), NFE);
  const on = (id, event, deed) => byId(id).addEventListener(event, deed);
  on("controls", "submit", (event) => event.preventDefault());
  on("nfe", "input", () => choose({ nfe: Number(byId("nfe").value) }));
  on("detail", "input", () => choose({ detail: Number(byId("detail").value) }));
  on("detail-auto", "change", () => choose({ detail: byId("detail-auto").checked ? "auto" : Number(byId("detail").value) }));
  on("solver", "change", () => choose({ solver: byId("solver").value }, { push: true }));
  on("terminal", "change", () => choose({ terminal: byId("terminal").value }, { push: true }));
  on("search", "input", () => choose({ search: byId("search").value }));
  on("older", "click", () => tried(jobs.older()));
  on("copy", "click", () =>
    toClipboard(byId("code").textContent, byId("code")).then(
      () => (byId("copy-note").textContent = "Copied."),
      (error) => (byId("copy-note").textContent = error.message),
    ));
  on("formats", "keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    act.format(FORMATS.at((FORMATS.indexOf(state.format) + move) % FORMATS.length));
    byId(`tab-${state.format}`).focus();
  });
  // The dialog guards requests that wait for a key; there is nothing to go back to.
  on("key-dialog", "cancel", (event) => event.preventDefault());
  addEventListener("popstate", () => {
    state = read(location.search);
    redraw();
  });
  new ResizeObserver(later).observe(byId("choose"));
  dark.addEventListener("change", later);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));
}

listen();
poll();
