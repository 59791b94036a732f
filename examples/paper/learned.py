"""Two harder sets in the plane, learned by a small network: a checkerboard and a pinwheel.

An MLP with EDM's preconditioning is trained for about a minute each (seeded, one CPU thread); then DPM-Solver++(2M) draws samples in six
steps from the same noises with EDM's and the log-SNR schedule and with ours, exactly as a job would choose it.

    python examples/paper/learned.py [OUT.png]
"""

import math

import numpy as np
import torch
from network import Network, train
from style import INK, OURS, arguments, cloud, panels
from torch import Tensor

from ays_client.contract import JobRequest, Progress
from worker.ays.denoise import Evaluator
from worker.ays.noise import EDM, Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.schedule import edm, log_snr
from worker.ays.search.reference import solve_reference, squared_errors
from worker.ays.solvers import SOLVERS, sample
from worker.models.loaded import LoadedModel, SampleData
from worker.process.local import LocalHost
from worker.tasks.pipeline import optimize

SPAN = {"sigma_max": Network.sigma_max, "sigma_min": Network.sigma_min}
STEPS = 6
LIMIT = (1.6, 1.6)


def checkerboard(n: int, generator: torch.Generator) -> Tensor:
    """Uniform on the dark squares of a 4 x 4 board, standard deviation about one half."""
    column = torch.randint(4, (n,), generator=generator)
    row = 2 * torch.randint(2, (n,), generator=generator) + column % 2
    return (torch.stack([column, row], 1) + torch.rand(n, 2, generator=generator) - 2) * 0.45


def pinwheel(n: int, generator: torch.Generator) -> Tensor:
    """Five bent arms."""
    radial = 1 + 0.3 * torch.randn(n, generator=generator)
    across = 0.05 * torch.randn(n, generator=generator)
    angle = 2 * math.pi / 5 * torch.randint(5, (n,), generator=generator) + 0.6 * torch.exp(radial)
    return torch.stack([radial * angle.cos() - across * angle.sin(), radial * angle.sin() + across * angle.cos()], 1) * 0.7


class Silent(LocalHost):
    """A host that shows nothing."""

    def report(self, progress: Progress) -> None:
        """Show nothing."""


def ours(name: str, network: Network, data: SampleData, effort: str) -> Array:
    """The schedule that a job answers."""
    model = LoadedModel(
        id=name,
        title=name,
        denoiser=network,
        process=EDM(**SPAN),
        fingerprint="0" * 32,
        prediction_type=None,
        guidance_scale=None,
        data=data,
    )
    request = JobRequest(model=name, nfe=STEPS, solver="dpmpp_2m", effort=effort)
    return np.array(optimize(request, model, Silent()).requested.sigmas)


def main() -> None:
    """Train, optimize, draw."""
    out, quick = arguments(__doc__ or "", "learned.png")
    torch.set_num_threads(1)
    sets = {"pinwheel": pinwheel} if quick else {"checkerboard": checkerboard, "pinwheel": pinwheel}
    count, iterations, effort = (128, 50, "fast") if quick else (8192, 8000, "standard")
    figure, axes = panels(
        len(sets), 5, size=(11, 2.35 * len(sets) + 0.3), title=f"Learned denoisers, DPM-Solver++(2M), {STEPS} steps, the same noises"
    )
    print("| data | EDM | log-SNR | ours |\n|---|---|---|---|")
    for (name, data), row in zip(sets.items(), axes, strict=True):
        network = train(data, iterations=iterations)
        denoise, solver = Evaluator(network, batch=4096), SOLVERS["dpmpp_2m"]
        found = {"EDM": edm(STEPS, **SPAN, terminal="zero"), "log-SNR": log_snr(STEPS, **SPAN, terminal="zero")}
        found["ours"] = ours(name, network, data, effort)
        fine = log_grid(**SPAN, points=128)
        noises = solve_reference(solver, denoise, (2,), levels=fine, terminal="zero", indices=range(count), seed=0, stream=Stream.FRESH)
        cells = []
        for axis, (label, levels) in zip(row, found.items(), strict=False):
            errors = squared_errors(solver, denoise, levels[None], noises)[0]
            cells.append(f"{errors.mean():.4f} ± {errors.std() / math.sqrt(count):.4f}")
            points = sample(solver, denoise, levels, noises.noise)
            cloud(axis, points, limit=LIMIT, title=f"{label}: error {errors.mean():.3g}", colour=OURS if label == "ours" else INK)
        cloud(row[3], noises.reference, limit=LIMIT, title="fine solution, 128 steps")
        cloud(row[4], data(count, torch.Generator().manual_seed(1)), limit=LIMIT, title="data")
        row[0].set_ylabel(name)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
