"""Why the paper's search must be stopped early: the bound falls with every sweep, the quality of the output does not.

Algorithm 1 with the exact bound of Gaussian data, so there is no sampling noise to blame: ten steps of stochastic DDIM from EDM's
schedule. Its output is Gaussian as well, so the divergence from the data is in closed form. The bound (KLUB) falls to its minimum; the
divergence (KL) falls, turns, and ends many times above its own minimum.

    python examples/paper/early_stopping.py [OUT.png]
"""

from collections.abc import Callable
from itertools import islice, pairwise

import numpy as np
import torch
from style import INK, MUTED, OURS, arguments, panels

from worker.ays.analytic import AnisotropicGaussian, Gaussian, power_law_gaussian
from worker.ays.noise import Array
from worker.ays.paper.coordinate_search import Neighbourhood, descend
from worker.ays.paper.klub_estimator import KlubEstimates
from worker.ays.schedule import edm

STEPS = 10
LAWS: dict[str, Callable[[], AnisotropicGaussian]] = {
    "isotropic, c = 0.5": lambda: Gaussian(0.5),
    "isotropic, c = 1": lambda: Gaussian(1.0),
    "image-like: 3,072-d, variances k⁻¹": lambda: power_law_gaussian(3072),
}


class Exact:
    """The bound and the divergence per dimension, summed over the distinct variances of a Gaussian."""

    def __init__(self, law: AnisotropicGaussian) -> None:
        values, counts = torch.unique(law.variances, return_counts=True)
        self.variances, self.weights = values.numpy(), (counts / counts.sum()).numpy()

    def bound(self, levels: Array) -> float:
        """KLUB of stochastic DDIM (theory 7)."""
        b, a, v = levels[:-1, None], levels[1:, None], self.variances
        parts = v * b**2 / (v + b**2) * (a**-2 - b**-2) - (np.log1p(v / a**2) - np.log1p(v / b**2))
        return float(0.5 * (parts.sum(0) * self.weights).sum())

    def candidates(self, low: float, mid: Array, high: float) -> KlubEstimates:
        """The bound around each candidate for a knot."""
        values = np.array([self.bound(np.array([high, m, low])) for m in mid])
        return KlubEstimates(values, np.zeros_like(values))

    def divergence(self, levels: Array) -> float:
        """KL from the data at the last level to the output of stochastic DDIM that starts from pure noise."""
        v = self.variances
        state = np.full_like(v, levels[0] ** 2)
        for now, then in pairwise(levels):
            ratio = (then / now) ** 2
            state = (ratio + (1 - ratio) * v / (v + now**2)) ** 2 * state + then**2 * (1 - ratio)
        quotient = (v + levels[-1] ** 2) / state
        return float((0.5 * (quotient - 1 - np.log(quotient)) * self.weights).sum())


def main() -> None:
    """Draw both curves for each law and two neighbourhoods, print where the turn is."""
    out, quick = arguments(__doc__ or "", "early_stopping.png")
    laws = dict(list(LAWS.items())[:1]) if quick else LAWS
    figure, (axes,) = panels(
        1, len(laws), size=(3.8 * len(laws), 3.5), title="The bound falls with every sweep; the output gets worse again"
    )
    print("| data | neighbourhood | KL of EDM | best KL | at sweep | last KL | at sweep |\n|---|---|---|---|---|---|---|")
    for axis, (name, make) in zip(axes, laws.items(), strict=True):
        law = make()
        exact = Exact(law)
        start = edm(STEPS, sigma_max=law.sigma_max, sigma_min=law.sigma_min, terminal="sigma_min")
        for width, dash in ((1.0, "-"), (0.25, ":")):
            descent = descend(exact.candidates, start, Neighbourhood(width=width))
            schedules = [start, *islice(descent, 4 if quick else 60)]
            bounds, kls = [exact.bound(levels) for levels in schedules], [exact.divergence(levels) for levels in schedules]
            turn = int(np.argmin(kls))
            axis.semilogy(bounds, color=MUTED, ls=dash, label=f"bound, neighbourhood {width:g}")
            axis.semilogy(kls, color=OURS, ls=dash, lw=1.8, label=f"divergence, neighbourhood {width:g}")
            axis.plot(turn, kls[turn], "o", color=OURS, ms=5)
            axis.annotate(f"stop here: {kls[turn]:.3f}", (turn, kls[turn]), (4, -11), textcoords="offset points", fontsize=7, color=INK)
            row = [name, f"{width:g}", f"{kls[0]:.3f}", f"{kls[turn]:.3f}", turn, f"{kls[-1]:.3f}", len(kls) - 1]
            print("| " + " | ".join(map(str, row)) + " |")
        axis.axhline(kls[0], color=INK, lw=0.6, ls="--", label="divergence of EDM")
        axis.set(title=name, xlabel="sweeps over the ten-step schedule", ylim=(0.02, None))
    axes[0].set_ylabel("per dimension")
    axes[0].legend(loc="upper right", bbox_to_anchor=(1.02, 0.7), fontsize=6.5, labelcolor=INK)
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
