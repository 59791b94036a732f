// The same levels for other tools: what the API answers for a format, and the code around it.

import { SOLVERS } from "./solvers.js";

/** How each tab is called, and what to do with its text. */
export const TABS = {
  diffusers: ["diffusers", "Overwrite the scheduler's levels after set_timesteps, which would round them."],
  comfyui: ["ComfyUI", "Paste into the sigmas of a ManualSigmas node, for SamplerCustom."],
  kdiffusion: ["k-diffusion", "Noise-to-signal ratios, whatever the model's own process."],
  sdcpp: ["stable-diffusion.cpp", "An argument of its command line."],
  curl: ["curl", "What an inference server asks; the answer may be cached."],
  python: ["Python client", "pip install align-your-steps-service: httpx2 and pydantic, no torch."],
};

/** Path and query of a lookup; `kind` is a `fallback` or a `source`, where none is cached or another is wanted. */
export function lookup({ model, nfe, solver, terminal }, kind = {}) {
  const cell = { model, nfe, solver, ...(terminal === "zero" ? {} : { terminal }), ...kind };
  return `/v1/schedules?${new URLSearchParams(cell)}`;
}

/**
 * The text of a tab.
 *
 * @param {import("./api.js").Api} api
 * @param {string} format
 * @param {{path: string, state: object}} answer  Where the schedule is, and for what.
 * @returns {Promise<string>}
 */
export async function code(api, format, { path, state }) {
  const formatted = (name) => `${path}${path.includes("?") ? "&" : "?"}format=${name}`;
  switch (format) {
    case "comfyui":
      return api.text(formatted("comfyui"));
    case "sdcpp":
      return `--sigmas ${await api.text(formatted("sdcpp"))}`;
    case "kdiffusion":
      return kdiffusion(state.solver, await api.text(formatted("kdiffusion")));
    case "diffusers":
      return diffusers(await api.get(formatted("diffusers")));
    case "curl":
      return curl(path);
    default:
      return path.includes("?") ? client(state) : byId(path.split("/").at(-1));
  }
}

/**
 * The text of a tab while the service has no such schedule: what to ask it later, or a job to submit.
 *
 * @param {string} format
 * @param {{path: string, state: object, request: object | null}} answer  As for `code`; a request where only a job makes the schedule.
 * @returns {Promise<string>}  Rejected where the format needs the levels.
 */
export async function unanswered(format, { path, state, request }) {
  if (format === "python") return request ? submitted(request) : client(state);
  if (format === "curl" && !request) return curl(path);
  throw new Error(request ? "Computed in this page. Validate it, and the service has it in every format." : "Nothing to copy yet: a job has to compute it first.");
}

const curl = (path) => `curl -sS --fail-with-body '${location.origin}${path}'`;

function kdiffusion(solver, sigmas) {
  const levels = `import torch\n\nsigmas = torch.tensor(${sigmas})`;
  const [, name, options, comfy] = /^(\w+)(?:\((.*?)\))?( \(ComfyUI\))?$/.exec(SOLVERS[solver].kdiffusion ?? "") ?? [];
  if (!name) return `# k-diffusion does not have ${SOLVERS[solver].title}; the levels are these.\n${levels}`;
  const library = comfy ? "comfy.k_diffusion" : "k_diffusion";
  return `from ${library} import sampling\n${levels}\nsamples = sampling.${name}(model, sigmas[0] * noise, sigmas${options ? `, ${options}` : ""})`;
}

const python = (value) =>
  JSON.stringify(value, null, 1).replaceAll(/\n */g, " ").replaceAll(/\[ | \]|\{ | \}/g, (text) => text.trim())
    .replaceAll(": true", ": True").replaceAll(": false", ": False").replaceAll(": null", ": None");

const diffusers = ({ scheduler, config, timesteps, sigmas }) => `import diffusers
import torch

scheduler = diffusers.${scheduler}.from_config(pipeline.scheduler.config, **${python(config)})
scheduler.set_timesteps(${timesteps.length})
scheduler.timesteps = torch.tensor(${python(timesteps)})
scheduler.sigmas = torch.tensor(${python(sigmas)})`;

const client = ({ model, nfe, solver, terminal }) => `from ays_client import Client

with Client("${location.origin}") as client:
    schedule = client.schedule("${model}", nfe=${nfe}, solver="${solver}"${terminal === "zero" ? "" : `, terminal="${terminal}"`}, fallback="stock")

print(schedule.source, schedule.sigmas)`;

const byId = (id) => `from ays_client import Client

with Client("${location.origin}") as client:
    schedule = client.schedule_by_id("${id}")

print(schedule.source, schedule.sigmas)`;

const submitted = (request) => `from ays_client import Client, JobRequest

request = JobRequest(${Object.entries(request).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ")})
with Client("${location.origin}") as client:
    job = client.wait(client.submit(request).id, timeout=3600)
    schedule = client.schedule_by_id(job.schedule_id)

print(schedule.source, schedule.sigmas)`;

/** Puts a text on the clipboard; pages that are not served from a safe origin have only the old way. */
export async function toClipboard(text, selected) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  getSelection().selectAllChildren(selected);
  if (!document.execCommand("copy")) throw new Error("the browser refused to copy; the text is selected, press Ctrl+C");
  return getSelection().removeAllRanges();
}
