// What the page knows of the service: every answer is fetched once and kept until a job may have changed it.

import { measureOf, SOLVERS } from "./solvers.js";
import { lookup } from "./copy.js";

/** A schedule of the API, in the short form of a row's cell. */
const inShort = (schedule, model) => ({
  ...schedule,
  schedule_id: schedule.id,
  detail: schedule.provenance.detail,
  knee: schedule.provenance.knee,
  refined: schedule.provenance.refined,
  candidate: schedule.provenance.candidate,
  samples: isImage(model),
});

const ofId = (id) => `/v1/schedules/${id}`;

const isImage = ({ shape }) => shape?.length === 3 && [1, 3].includes(shape[0]);

/** Models of a page of the list. */
const PAGE = 200;

export class Data {
  /**
   * @param {import("./api.js").Api} api
   * @param {() => void} changed  Called when something has arrived.
   * @param {(problem: Error) => void} failed  Called when something could not be had.
   */
  constructor(api, changed, failed) {
    Object.assign(this, { api, changed, failed, models: null, workers: 0 });
    this.kept = new Map();
  }

  async load() {
    const models = [];
    for (let path = `/v1/models?limit=${PAGE}`; path; ) {
      const { models: some, live_workers: workers, next_cursor: cursor } = await this.api.get(path);
      models.push(...some);
      this.workers = workers;
      path = cursor && `/v1/models?limit=${PAGE}&cursor=${cursor}`;
    }
    this.models = models;
  }

  model = (id) => this.models?.find((model) => model.id === id) ?? null;

  profile(model, solver) {
    if (!model.profile_id) return null;
    const measure = measureOf(solver);
    return this.#once(`/v1/profiles/${model.profile_id}?measure=${measure}`, (profile) => ({
      ...profile,
      measure,
      moments: profile.moments[measure],
      origin: profile.origin[measure] ?? null,
    }));
  }

  row(model, { solver, terminal }) {
    return model.profile_id ? this.#once(`/v1/profiles/${model.profile_id}/schedules?solver=${solver}&terminal=${terminal}`) : null;
  }

  /** The schedule that a job with a chosen detail has made. */
  made(model, job) {
    return job?.schedule_id ? this.#once(ofId(job.schedule_id), (schedule) => inShort(schedule, model)) : null;
  }

  /** A cell with all that a row leaves out, as soon as `ask` has brought it. */
  whole(cell) {
    const known = cell && this.kept.get(ofId(cell.schedule_id))?.value;
    return known ? { ...known, ...cell } : cell;
  }

  ask = (cell) => this.#once(ofId(cell.schedule_id));

  /** The published table of a model, taken to this number of evaluations. */
  published(model, state) {
    if (!model.published || SOLVERS[state.solver].fitted) return null;
    return this.#once(lookup(state, { source: "published" }));
  }

  samples(cell) {
    return cell?.samples ? this.#once(`/v1/schedules/${cell.schedule_id}/samples`) : null;
  }

  /** Rows and profiles may be others now. */
  forget() {
    for (const path of this.kept.keys()) if (path.startsWith("/v1/profiles/")) this.kept.get(path).stale = true;
  }

  /** What an answer was made into, or what it was before while it is fetched again, or null. */
  #once(path, make = (body) => body) {
    const entry = this.kept.get(path) ?? { value: null, stale: true };
    this.kept.set(path, entry);
    if (entry.stale) {
      entry.stale = false;
      this.api.get(path).then(
        (body) => {
          entry.value = make(body);
          this.changed();
        },
        (problem) => {
          // Once more when it is asked for again, unless there is no such thing.
          entry.stale = problem.status !== 404;
          this.failed(problem);
        },
      );
    }
    return entry.value;
  }
}
