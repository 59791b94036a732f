// The same levels for other tools: what the API answers for a format, and the code around it.

import { SOLVERS } from "./solvers.js";

/** How each tab is called, and what to do with its text. */
export const TABS = {
  apply: ["Pipeline", "pip install align-your-steps-service. The call sites of the pipeline stay as they are; restore(pipe) undoes it."],
  diffusers: ["diffusers", "Without our package: levels are written over those of set_timesteps, whose arguments would round or shift them."],
  comfyui: ["ComfyUI", "Paste into the sigmas of a ManualSigmas node, for SamplerCustom; docs/solvers.md names the sampler."],
  a1111: ["A1111, Forge", "Save it in the folder scripts/, then choose this scheduler, its sampler and its number of steps."],
  sdnext: ["SD.Next", "Paste into Timesteps override: whole numbers, so up to 0.3 % off. Karras, beta and exponential sigmas off."],
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
    case "a1111":
    case "sdnext":
      return api.text(formatted(format));
    case "sdcpp":
      return `--sigmas ${await api.text(formatted("sdcpp"))}`;
    case "kdiffusion":
      return kdiffusion(state.solver, await api.text(formatted("kdiffusion")));
    case "diffusers":
      return diffusers(await api.get(formatted("diffusers")));
    case "curl":
      return curl(path);
    case "apply":
      return path.includes("?") ? apply(state) : applyById(path.split("/").at(-1));
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
  if (format === "apply" && !request) return apply(state);
  if (format === "python") return request ? submitted(request) : client(state);
  if (format === "curl" && !request) return curl(path);
  throw new Error(request ? "Computed in this page. Validate it, and the service has it in every format." : "Nothing to copy yet: a job has to compute it first.");
}

const curl = (path) => `curl -sS --fail-with-body '${location.origin}${path}'`;

function kdiffusion(solver, sigmas) {
  const [, name, options] = /^(\w+)(?:\((.*?)\))?$/.exec(SOLVERS[solver].kdiffusion);
  return `import torch
from k_diffusion import sampling

sigmas = torch.tensor(${sigmas})
samples = sampling.${name}(model, sigmas[0] * noise, sigmas${options ? `, ${options}` : ""})`;
}

const python = (value) =>
  JSON.stringify(value, null, 1).replaceAll(/\n */g, " ").replaceAll(/\[ | \]|\{ | \}/g, (text) => text.trim())
    .replaceAll(": true", ": True").replaceAll(": false", ": False").replaceAll(": null", ": None");

function diffusers({ scheduler, config, timesteps, sigmas, note }) {
  if (scheduler === "DPMSolverSinglestepScheduler") throw new Error(`Not in a few lines: ${note}. Ask for another solver.`);
  // Heun evaluates every inner level at the end of a step and at the start of the next one.
  const twice = (name, parts) => (scheduler === "HeunDiscreteScheduler" ? `\n    scheduler.${name} = torch.cat([${parts}])` : "");
  return `import functools

import diffusers
import torch

scheduler = diffusers.${scheduler}.from_config(pipe.scheduler.config, **${python(config)})
stock = scheduler.set_timesteps


@functools.wraps(stock)
def set_timesteps(steps=None, device=None, *, mu=None, **ignored):
    stock(${timesteps.length}, device=device, **({} if mu is None else {"mu": mu}))
    times = torch.tensor(${python(timesteps)}, device=device)
    levels = torch.tensor(${python(sigmas)})
    scheduler.timesteps, scheduler.sigmas = times, levels${twice("timesteps", "times[:1], times[1:].repeat_interleave(2)")}${twice("sigmas", "levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]")}


scheduler.set_timesteps = set_timesteps
pipe.scheduler = scheduler`;
}

const asked = ({ model, nfe, solver, terminal }) => `"${model}", nfe=${nfe}, solver="${solver}"${terminal === "zero" ? "" : `, terminal="${terminal}"`}`;

const apply = (state) => `from ays_client import Schedules, apply_schedule

schedules = Schedules("${location.origin}")  # once per process
apply_schedule(pipe, schedules.get(${asked(state)}), swap=True)`;

const applyById = (id) => `from ays_client import Client, apply_schedule

with Client("${location.origin}") as client:
    apply_schedule(pipe, client.schedule_by_id("${id}"), swap=True)`;

const client = (state) => `from ays_client import Client

with Client("${location.origin}") as client:
    schedule = client.schedule(${asked(state)}, fallback="stock")

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
