"""Mixtures of sharp Gaussians in the plane, in few steps: samples, and their negative log-likelihood.

Grids of 8 x 8, 8 x 4 and 6 x 6 components with the exact denoiser, solvers as in Table 4 of the paper. The paper prints neither positions
nor widths of its components, so its numbers (in brackets) can be compared in their order alone, not in size; ours are 0.5 apart, 0.02 wide.
Likelihood does not see lost modes, so the divergence of the samples' modes from even ones stands beside it. Both optimized schedules
are chosen by the sum of the two on 1,024 noises and judged on 4,096 others: the paper's search stopped at its best sweep, ours at the best
weight of errors.

    python examples/paper/mixtures.py [OUT.png]
"""

from collections.abc import Callable
from functools import partial

import torch
from style import INK, OURS, arguments, cloud, panels
from torch import Tensor

from worker.ays.analytic import GaussianMixture
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paper.coordinate_search import Neighbourhood, best, descend, optimize_midpoints, stop_early, subdivide
from worker.ays.paper.importance_sampling import GaussianProposal
from worker.ays.paper.klub_estimator import KlubEstimator
from worker.ays.paths import Stream, brownian, starting_noise
from worker.ays.profile.profile import log_grid, measure_flow, measure_forward, merge
from worker.ays.schedule import edm, log_snr, resample
from worker.ays.search.candidates import fixed_candidates
from worker.ays.solvers import SOLVERS, Solver, sample

GRIDS = {(8, 8): "dpmpp_2m_sde", (8, 4): "ddim", (6, 6): "sddim"}
NFES = (6, 8, 10)
PAPER = {  # Table 4: EDM, log-SNR, AYS
    (8, 8): {6: (9.018, 6.250, -0.143), 8: (4.029, 1.834, -0.505), 10: (1.522, 0.071, -0.574)},
    (8, 4): {6: (1.536, 1.446, -1.999), 8: (-0.144, -0.288, -2.260), 10: (-1.115, -1.091, -2.222)},
    (6, 6): {6: (1.166, -0.012, -1.152), 8: (-0.606, -0.978, -1.376), 10: (-0.996, -1.231, -1.554)},
}
SPAN = {"sigma_max": 80.0, "sigma_min": 0.002}
SHOWN = 8


def grid(columns: int, rows: int) -> GaussianMixture:
    """Equal components on a centred grid."""
    x, y = (0.5 * (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) for n in (columns, rows))
    return GaussianMixture(torch.cartesian_prod(x, y), torch.full((columns * rows,), 0.02), **SPAN)


def draw(law: GaussianMixture, solver: Solver, levels: Array, count: int, stream: Stream) -> Tensor:
    """Samples of a schedule, shape (count, 2); an SDE's noise is drawn on its own levels, so it is exact."""
    noise = starting_noise(law.shape, range(count), seed=0, stream=stream)
    paths = brownian(levels, law.shape, range(count), seed=0, stream=stream) if solver.stochastic else None
    return sample(solver, law.denoise, levels, noise, brownian=paths)


def modes(law: GaussianMixture, samples: Tensor) -> float:
    """KL of the nearest components of samples from even ones; 0: every mode has its share."""
    share = torch.bincount(torch.cdist(samples, law.means).argmin(1), minlength=len(law.means)) / len(samples)
    return float(torch.special.xlogy(share, share * len(share)).sum())


def scores(law: GaussianMixture, solver: Solver, levels: Array, count: int) -> Array:
    """What a schedule is chosen by, shape (count,)."""
    samples = draw(law, solver, levels, count, Stream.TRAINING)
    return -law.log_density(samples).numpy() + modes(law, samples)


def paper_search(law: GaussianMixture, score: Callable[[Array], Array], samples: int) -> Array:
    """The paper's 40-step schedule."""
    x_0 = law.sample_data(samples, torch.Generator().manual_seed(0))
    klub = KlubEstimator(Evaluator(law, batch=4096), x_0, proposal=GaussianProposal(0.5), seed=0)
    start = edm(10, **SPAN, terminal="sigma_min")
    record = stop_early(descend(klub, start, Neighbourhood()), start, score, sweeps=30, patience=30)
    levels = record[best(record)].levels
    for _ in range(2):
        levels = optimize_midpoints(klub, subdivide(levels), Neighbourhood(), sweeps=2)
    return levels


def our_search(law: GaussianMixture, solver: Solver, score: Callable[[Array], Array], steps: int) -> Array:
    """Best of the candidates of one measured profile."""
    levels, paths = log_grid(**SPAN, points=64), range(64)
    shard = (
        measure_forward(law.denoise, law.sample_data(64, torch.Generator().manual_seed(1)), levels, paths, seed=0)
        if solver.stochastic
        else measure_flow(law.denoise, law.shape, levels, paths, seed=0)[0]
    )
    found = fixed_candidates(merge([shard]), solver, steps, terminal="sigma_min")
    return min((candidate.levels for candidate in found), key=lambda levels: float(score(levels).mean()))


def main() -> None:
    """Draw samples at 8 steps, print the table of all."""
    out, quick = arguments(__doc__ or "", "mixtures.png")
    few, many = (64, 256) if quick else (1024, 4096)
    grids, nfes = (list(GRIDS)[:1], (SHOWN,)) if quick else (list(GRIDS), NFES)
    headline = f"Exact denoisers, {SHOWN} steps: NLL of the samples, divergence of their modes"
    heights = {"gridspec_kw": {"height_ratios": [rows for _, rows in grids]}}
    figure, axes = panels(len(grids), 5, size=(11, 0.29 * sum(rows for _, rows in grids) + 0.9), title=headline, **heights)
    print("| data | solver | steps | EDM | log-SNR | AYS, corrected | ours | data |\n|---|---|---|---|---|---|---|---|")
    for shape, row in zip(grids, axes, strict=True):
        law, solver = grid(*shape), SOLVERS[GRIDS[shape]]
        limit = (2.3, 0.25 * shape[1] + 0.3)
        score = partial(scores, law, solver, count=few)
        forty = paper_search(law, score, few // 4)
        data = law.sample_data(many, torch.Generator().manual_seed(2))
        for nfe in nfes:
            found = {"EDM": edm(nfe, **SPAN, terminal="sigma_min"), "log-SNR": log_snr(nfe, **SPAN, terminal="sigma_min")}
            found |= {"AYS, corrected": resample(forty, nfe), "ours": our_search(law, solver, score, nfe)}
            samples = {name: draw(law, solver, levels, many, Stream.FRESH) for name, levels in found.items()} | {"data": data}
            values = {name: float(-law.log_density(points).mean()) for name, points in samples.items()}
            brackets = [f" [{value:g}]" for value in PAPER[shape][nfe]] + ["", ""]
            cells = [f"{values[name]:.2f}, {modes(law, samples[name]):.2f}{b}" for name, b in zip(samples, brackets, strict=True)]
            print(f"| {shape[0]} x {shape[1]} | {solver.name} | {nfe} | {' | '.join(cells)} |", flush=True)
            if nfe == SHOWN:
                for axis, (name, points) in zip(row, samples.items(), strict=True):
                    title = f"{name}: {values[name]:.2f}, {modes(law, points):.2f}"
                    cloud(axis, points, limit=limit, title=title, colour=OURS if name == "ours" else INK)
        row[0].set_ylabel(f"{shape[0]} x {shape[1]}, {solver.name}")
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
