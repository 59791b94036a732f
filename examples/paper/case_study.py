"""The paper's case study: data N(0, c^2), DDIM, and what a schedule does to the density of its samples.

Everything is in closed form: for Gaussian data each DDIM step multiplies the sample by a number, so the output is Gaussian too. The
optimum has even steps in arctan(sigma / c) (Sabour et al. 2024, Theorem 3.1); every hand-made schedule is good for some c only.

    python examples/paper/case_study.py [OUT.png]
"""

import math

import numpy as np
from style import COLOURS, INK, arguments, panels

from worker.ays.analytic import Gaussian
from worker.ays.noise import VP, Array, linear_betas
from worker.ays.schedule import edm, log_snr, time_uniform

PROCESS = VP(linear_betas())
RANGE = {"sigma_max": PROCESS.sigma_max, "sigma_min": PROCESS.sigma_min}
SCALES = (0.1, 0.5, 1.0)
SHOWN_STEPS = 6


def schedules(law: Gaussian, steps: int) -> dict[str, Array]:
    """Levels by name, each of shape (steps + 1,), all from sigma_max to sigma_min."""
    root = np.linspace(math.sqrt(float(PROCESS.time(law.sigma_max))), 0.0, steps + 1)
    quadratic = PROCESS.sigma(root**2)
    cosine = Gaussian(1.0, **RANGE).arctan_levels(steps)  # alpha = cos: sigma = tan(pi t / 2), the optimum for c = 1
    return {
        "time-uniform": time_uniform(steps, **RANGE, terminal="sigma_min", process=PROCESS),
        "time-quadratic": quadratic,
        "EDM": edm(steps, **RANGE, terminal="sigma_min"),
        "log-SNR linear": log_snr(steps, **RANGE, terminal="sigma_min"),
        "log-SNR cosine": cosine,
        "optimum": law.arctan_levels(steps),
    }


def output_std(law: Gaussian, levels: Array) -> float:
    """Standard deviation of DDIM's samples from the true law at the first level."""
    now, then = levels[:-1], levels[1:]
    factors = then / now + (1 - then / now) * law.c**2 / (law.c**2 + now**2)
    return float(np.prod(factors) * math.sqrt(law.c**2 + levels[0] ** 2))


def density(x: Array, std: float) -> Array:
    """Of N(0, std^2)."""
    return np.exp(-0.5 * (x / std) ** 2) / (std * math.sqrt(2 * math.pi))


def main() -> None:
    """Draw the densities and the divergences, print the table."""
    out, quick = arguments(__doc__ or "", "case_study.png")
    counts = np.array([2, 4, 8] if quick else range(2, 41))
    figure, (top, bottom) = panels(2, 3, size=(11, 5.6), title="Gaussian data N(0, c²), DDIM: the optimum depends on the data")
    print(f"| c | steps | {' | '.join(COLOURS)} |\n|---|---|{'---|' * len(COLOURS)}")
    for column, c in enumerate(SCALES):
        law = Gaussian(c, **RANGE)
        x = np.linspace(-3.2 * c, 3.2 * c, 400)
        truth = density(x, math.hypot(c, law.sigma_min))
        top[column].fill_between(x, truth, color="#e6e6e6", label="data")
        for name, levels in schedules(law, SHOWN_STEPS).items():
            best = name == "optimum"
            style = {"color": COLOURS[name], "lw": 2.2 if best else 1.2, "ls": "--" if best else "-", "zorder": 3 if best else 2}
            top[column].plot(x, density(x, output_std(law, levels)), label=name, **style)
            bottom[column].loglog(counts, [law.euler_kl(schedules(law, int(n))[name]) for n in counts], **style)
        top[column].set(title=f"c = {c:g}: output density, {SHOWN_STEPS} steps", xlabel="x", yticks=[], ylim=(0, 1.75 * truth.max()))
        bottom[column].set(title="divergence from the data, KL", xlabel="steps", xticks=[2, 5, 10, 20, 40], xlim=(counts[0], counts[-1]))
        bottom[column].set_xticklabels(["2", "5", "10", "20", "40"])
        bottom[column].minorticks_off()
        row = [f"{law.euler_kl(levels):.3g}" for levels in schedules(law, SHOWN_STEPS).values()]
        print(f"| {c:g} | {SHOWN_STEPS} | {' | '.join(row)} |")
    top[0].legend(loc="upper right", labelcolor=INK)
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
