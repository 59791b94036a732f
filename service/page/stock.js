// The schedules that everybody uses, in closed form: `steps + 1` noise levels, strictly decreasing.

const RHO = 7;

function ramp(steps, { sigmaMin, sigmaMax, toZero }, mark, level) {
  const count = toZero ? steps : steps + 1;
  const [high, low] = [mark(sigmaMax), mark(sigmaMin)];
  const levels = Array.from({ length: count }, (_, i) => level(high + (count > 1 ? i / (count - 1) : 0) * (low - high)));
  levels[0] = sigmaMax;
  if (count > 1) levels[count - 1] = sigmaMin;
  return toZero ? [...levels, 0] : levels;
}

/** Levels even in `sigma^(1/7)` (Karras et al. 2022, Equation 5). */
export const edm = (steps, range) => ramp(steps, range, (sigma) => sigma ** (1 / RHO), (mark) => mark ** RHO);

/** Levels even in `ln sigma` (Lu et al. 2022). */
export const logSnr = (steps, range) => ramp(steps, range, Math.log, Math.exp);

/** Takes a schedule to another number of steps, log-linearly over the step index; a last level 0 stays apart. */
export function resample(levels, steps) {
  const toZero = levels.at(-1) === 0;
  const logs = (toZero ? levels.slice(0, -1) : levels).map(Math.log);
  const count = toZero ? steps : steps + 1;
  const taken = Array.from({ length: count }, (_, i) => {
    const at = count > 1 ? (i * (logs.length - 1)) / (count - 1) : 0;
    const index = Math.min(Math.floor(at), Math.max(logs.length - 2, 0));
    return Math.exp(logs[index] + (at - index) * ((logs[index + 1] ?? logs[index]) - logs[index]));
  });
  taken[count - 1] = Math.exp(logs.at(-1));
  taken[0] = Math.exp(logs[0]);
  return toZero ? [...taken, 0] : taken;
}
