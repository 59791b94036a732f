// What stock schedules are called, and what they are.

const TITLES = {
  edm: ["EDM", "Levels even in sigma^(1/7) (Karras et al. 2022)"],
  log_snr: ["log-SNR", "Levels even in ln sigma, so in the logarithm of the signal-to-noise ratio (Lu et al. 2022)"],
  time_uniform: ["uniform time", "Even steps of the model's own time"],
  kl_optimal: ["KL-optimal", "Levels even in arctan sigma (Sabour et al. 2024)"],
  beta_sigmas: ["beta (diffusers)"],
  beta: ["beta"],
  beta57: ["beta57"],
  bong_tangent: ["bong tangent"],
  karras: ["Karras (on t)"],
  exponential: ["exponential (on t)"],
  leading: ["DDPM leading"],
  trailing: ["DDPM trailing"],
  ddim_uniform: ["DDIM uniform"],
  shifted: ["shifted flow"],
  normal: ["normal"],
  sgm_uniform: ["SGM uniform"],
  simple: ["simple"],
  linear_quadratic: ["linear-quadratic"],
  flux2: ["FLUX.2"],
  ltx2: ["LTX-2"],
  ays_sd15: ["AYS for SD 1.5", "Published by the authors of Align Your Steps"],
  ays_sdxl: ["AYS for SDXL", "Published by the authors of Align Your Steps"],
  ays_if: ["AYS for DeepFloyd IF", "Published by the authors of Align Your Steps"],
  ays_svd: ["AYS for SVD", "Published by the authors of Align Your Steps"],
};

/** Name and, in brackets, moved ends: `edm(top=20, bottom=0.02)`. */
const parts = (name) => /^([^(]*)(?:\((.*)\))?$/.exec(name).slice(1);

/** Title of a stock schedule. */
export function stockTitle(name) {
  const [base, ends] = parts(name);
  const title = TITLES[base]?.[0] ?? base;
  if (!ends) return title;
  const words = ends.split(", ").map((end) => end.replace(/^top=/, "from ").replace(/^bottom=/, "to "));
  return `${title} ${words.join(" ")}`;
}

/** What it is, or null. */
export const stockRemark = (name) => TITLES[parts(name)[0]]?.[1] ?? null;
