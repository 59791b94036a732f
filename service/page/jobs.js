// The list of jobs: live progress, cancelling, why one failed.

import { h, keyed, redraw } from "./dom.js";
import { SOLVERS } from "./solvers.js";

export const FINAL = ["succeeded", "failed", "canceled"];

/** Streams open at once: a browser allows six connections to a host, and the page needs some for itself. */
const STREAMS = 2;

const STAGES = {
  waiting: "waiting for a worker",
  loading: "loading the model",
  profile: "measuring the model",
  sweep: "searching as the paper does",
  subdivide: "halving its steps",
  table: "computing the table",
  guard: "comparing with stock schedules",
  validate: "searching",
  report: "measuring the error",
  store: "storing",
};

/** Where a job is, in words. */
export function stage({ state, progress, live_workers: workers }) {
  if (state === "queued") return workers === 0 ? "no worker is alive: start one with `ays worker`" : STAGES.waiting;
  if (state === "lost") return "its worker is silent; another takes over";
  const left = progress.eta_seconds ? `, ${Math.max(1, Math.round(progress.eta_seconds))} s left` : "";
  return `${STAGES[progress.stage] ?? progress.stage}${left}`;
}

/** A progress bar with its words. */
export function progressBar(job) {
  const { done, total } = job.progress;
  const known = total > 0 && job.state === "running";
  return [
    h("progress", { max: known ? total : null, value: known ? done : null, "aria-label": `Progress of ${describe(job.request)}` }),
    h("span", { class: "note" }, stage(job)),
  ];
}

export function describe({ model, nfe, solver, terminal, detail, effort, method }) {
  const how = method === "profile" ? null : `${method} method`;
  const extra = [how, terminal === "zero" ? null : "to sigma_min", detail === "auto" ? null : `detail ${detail}`, effort === "standard" ? null : effort];
  return [model, SOLVERS[solver]?.title ?? solver, `${nfe} evaluations`, ...extra.filter(Boolean)].join(", ");
}

/** Jobs as the page knows them: the list of the API, and the streams of those that are at work. */
export class Jobs {
  /**
   * @param {import("./api.js").Api} api
   * @param {{changed: () => void, ended: (job: object) => void}} told  Called after every change, and once for every job that ended.
   */
  constructor(api, told) {
    this.api = api;
    this.told = told;
    this.known = new Map();
    this.cursor = null;
    this.streams = new Map();
  }

  get all() {
    return [...this.known.values()].sort((a, b) => b.created_at - a.created_at);
  }

  find = (matches) => this.all.find((job) => matches(job.request, job));

  async load() {
    const page = await this.api.get("/v1/jobs?limit=20");
    this.cursor ??= page.next_cursor;
    this.#take(...page.jobs);
  }

  async older() {
    const page = await this.api.get(`/v1/jobs?limit=20&cursor=${encodeURIComponent(this.cursor)}`);
    this.#take(...page.jobs);
    this.cursor = page.next_cursor;
  }

  async submit(request) {
    const job = await this.api.post("/v1/jobs", request);
    this.#take(job);
    if (FINAL.includes(job.state)) this.told.ended(job);
    return job;
  }

  cancel = async (job) => this.#take(await this.api.post(`/v1/jobs/${job.id}/cancel`));

  #take(...jobs) {
    const before = new Map(this.known);
    for (const job of jobs) this.known.set(job.id, job);
    const open = (job) => job && !FINAL.includes(job.state);
    for (const job of jobs) if (open(before.get(job.id)) && !open(job)) this.told.ended(job);
    // Once for all of them: a stream for each job of half a list would leave no connection for anything else.
    this.#follow();
    this.told.changed();
  }

  /** Keeps streams for the jobs at work; the others of the list are polled. */
  #follow() {
    const open = this.all.filter((job) => !FINAL.includes(job.state));
    // The oldest are those that a worker has.
    const followed = open.slice(-STREAMS);
    for (const [id, controller] of this.streams) {
      if (followed.some((job) => job.id === id)) continue;
      controller.abort();
      this.streams.delete(id);
    }
    for (const job of followed) {
      if (this.streams.has(job.id)) continue;
      const controller = new AbortController();
      this.streams.set(job.id, controller);
      const event = (news) => this.#take({ ...this.known.get(job.id), ...news, schedule_id: news.schedule_url?.split("/").at(-1) ?? null });
      this.api.follow(job.id, event, controller.signal).finally(() => {
        if (this.streams.get(job.id) === controller) this.streams.delete(job.id);
      });
    }
  }
}

/**
 * Draws the list.
 *
 * @param {HTMLElement} list
 * @param {object[]} jobs
 * @param {{show: (job: object) => void, cancel: (job: object) => void, href: (job: object) => string}} act
 */
export function drawJobs(list, jobs, act) {
  const create = () => h("li", {}, h("a", {}), h("span", { class: "badge" }), h("div", { class: "body" }));
  keyed(list, jobs, (job) => job.id, create, (item, job) => {
    const [link, badge, body] = item.children;
    link.textContent = describe(job.request);
    link.href = act.href(job);
    link.onclick = (event) => {
      event.preventDefault();
      act.show(job);
    };
    badge.textContent = job.state;
    badge.className = `badge ${job.state}`;
    if (FINAL.includes(job.state)) redraw(body, [job.state, job.error], () => (job.state === "failed" ? h("p", { class: "why" }, job.error) : []));
    else drawOpen(body, job, act);
  });
}

/** The cancel button stays the same element while the progress beside it changes: it may have the focus. */
function drawOpen(body, job, act) {
  if (body.drawn !== "open") {
    body.drawn = "open";
    body.replaceChildren(h("div", { class: "progress" }), h("button", { type: "button", onclick: () => act.cancel(job) }, "Cancel"));
    body.lastChild.setAttribute("aria-label", `Cancel ${describe(job.request)}`);
  }
  updateProgress(body.firstChild, job);
}

/** Moves an existing progress bar instead of making a new one. */
export function updateProgress(place, job) {
  if (!place.firstChild) place.replaceChildren(...progressBar(job));
  const [bar, words] = place.children;
  const { done, total } = job.progress;
  if (total > 0 && job.state === "running") Object.assign(bar, { max: total, value: done });
  else bar.removeAttribute("value");
  words.textContent = stage(job);
}
