// What the person has chosen. The URL holds all of it, so that any view can be linked to, and the back button works.

import { possible, SOLVERS } from "./solvers.js";

export const NFE = { min: 2, max: 64 };
export const DETAIL = { min: 0, max: 3, step: 0.1, start: 1.8 };
export const EFFORTS = ["fast", "standard", "max"];
export const FORMATS = ["apply", "diffusers", "comfyui", "a1111", "sdnext", "kdiffusion", "sdcpp", "curl", "python"];

const DEFAULTS = {
  model: null, solver: "dpmpp_2m", nfe: 8, terminal: "zero", detail: "auto", effort: "standard", format: "apply", search: "",
};

/** Reads a query string; what it does not say or says wrongly is the default. */
export function read(query) {
  const given = new URLSearchParams(query);
  const one = (name, allowed) => (allowed.includes(given.get(name)) ? given.get(name) : DEFAULTS[name]);
  const bounded = (name, { min, max }) => {
    const value = Number.parseFloat(given.get(name));
    return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : DEFAULTS[name];
  };
  const solver = one("solver", Object.keys(SOLVERS));
  return {
    model: given.get("model"),
    solver,
    nfe: possible(solver, Math.round(bounded("nfe", NFE))),
    terminal: one("terminal", ["zero", "sigma_min"]),
    detail: SOLVERS[solver].fitted ? "auto" : bounded("detail", DETAIL),
    effort: one("effort", EFFORTS),
    format: one("format", FORMATS),
    search: given.get("search") ?? DEFAULTS.search,
  };
}

/** Writes a state as a query string: the cell always, the rest where it is not the default. */
export function write(state) {
  const kept = Object.entries(state).filter(
    ([name, value]) => value !== null && (["model", "solver", "nfe"].includes(name) || value !== DEFAULTS[name]),
  );
  return `?${new URLSearchParams(kept)}`;
}
