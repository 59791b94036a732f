"""What a schedule does to a stock pipeline of diffusers: `python -m benchmarks.integrate`, a table and a picture for docs/integrate.md.

The bundled digits in `DDPMPipeline` and `DDIMPipeline` at 8 evaluations, called the same way each time: as the pipelines come, with
DPM-Solver++(2M) as users put it in, and after `apply_schedule`. The error is the squared distance of a sample to the fine solution from
the same starting noise, summed over pixels, with its standard error; DDPM adds noise of its own, so it has none. The Frechet distance to
held-out digits (raw pixels) compares all of them.
"""

import argparse
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

import diffusers
import numpy as np
import torch
from matplotlib.figure import Figure

from ays_client import Solver, apply_schedule
from ays_client.contract import JobRequest, Schedule
from worker.ays.denoise import Evaluator
from worker.ays.profile import log_grid
from worker.ays.solvers import SOLVERS, sample
from worker.local import LocalHost
from worker.models.digits import PIPELINE
from worker.models.digits.data import digits
from worker.models.frechet import frechet_distance
from worker.models.registry import Registry
from worker.pipeline import optimize

DOCS = Path(__file__).parents[1] / "docs"
NFE, NOISES, PART, COLUMNS, FINE = 8, 2000, 125, 16, 32

Pipeline = diffusers.DDPMPipeline | diffusers.DDIMPipeline


class Row(NamedTuple):
    """How one way of sampling did: squared errors (none for a stochastic one), Frechet distances of parts, and the samples."""

    label: str
    errors: torch.Tensor | None
    frechet: torch.Tensor
    samples: torch.Tensor


def pipeline(kind: type[Pipeline] = diffusers.DDPMPipeline) -> Pipeline:
    """A stock pipeline."""
    pipe = kind.from_pretrained(PIPELINE)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generate(pipe: Pipeline) -> torch.Tensor:
    """The call site, the same for every row: samples in [-1, 1], shape (NOISES, 1, 8, 8)."""
    images = pipe(batch_size=NOISES, generator=torch.Generator().manual_seed(0), num_inference_steps=NFE, output_type="np").images
    return 2 * torch.from_numpy(images).permute(0, 3, 1, 2) - 1


def fine() -> torch.Tensor:
    """The fine solution from the noise that `generate` draws, clamped to the range of images as the pipeline does."""
    model = Registry(None).load("digits")
    top, bottom = model.process.sigma_max, model.process.sigma_min
    denoise = Evaluator(model.denoiser, batch=1000)
    noise = torch.randn(NOISES, *denoise.shape, generator=torch.Generator().manual_seed(0)).double()
    # The pipeline's state is x / sqrt(1 + sigma^2); the sampler starts at sigma_0 times what it is given.
    levels = np.array([*log_grid(top, bottom, FINE), 0.0])
    return sample(SOLVERS["dpmpp_2m"], denoise, levels, noise * math.hypot(1, top) / top).clamp(-1, 1).float()


def row(label: str, samples: torch.Tensor, reference: torch.Tensor | None) -> Row:
    """Errors and distances of samples."""
    held_out = digits()[1]
    parts = [frechet_distance(part.double(), held_out) for part in samples.split(PART)]
    errors = None if reference is None else (samples - reference).double().square().flatten(1).sum(1)
    return Row(label, errors, torch.tensor(parts), samples)


def rows(optimized: dict[str, Schedule]) -> list[Row]:
    """All ways of sampling, the fine solution last."""
    target = fine()
    multistep = pipeline()
    multistep.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(multistep.scheduler.config)
    return [
        row("DDPMPipeline as it comes", generate(pipeline()), None),
        row("DDIMPipeline as it comes", generate(pipeline(diffusers.DDIMPipeline)), target),
        row("DDIMPipeline, apply_schedule (ddim)", generate(_applied(diffusers.DDIMPipeline, optimized["ddim"])), target),
        row("DDPMPipeline with DPM-Solver++(2M)", generate(multistep), target),
        row("DDPMPipeline, apply_schedule (dpmpp_2m)", generate(_applied(diffusers.DDPMPipeline, optimized["dpmpp_2m"])), target),
        row(f"fine solution, {FINE} evaluations", target, target),
    ]


def _applied(kind: type[Pipeline], schedule: Schedule) -> Pipeline:
    return apply_schedule(pipeline(kind), schedule, strict=True)


def table(found: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| 8 evaluations | error ± standard error | Frechet distance ± standard error |", "|---|---|---|"]
    for each in found:
        error = "-" if each.errors is None else _estimate(each.errors)
        lines.append(f"| {each.label} | {error} | {_estimate(each.frechet)} |")
    return "\n".join(lines) + "\n"


def draw(found: list[Row], path: Path) -> None:
    """A strip of samples for every row, from the same noises."""
    figure = Figure(figsize=(11, 1.05 * len(found) + 0.2), facecolor="white")
    for axis, each in zip(figure.subplots(len(found), 1), found, strict=True):
        padded = torch.nn.functional.pad(each.samples[:COLUMNS], (0, 1), value=-1.0)
        axis.imshow(padded.permute(2, 0, 3, 1).flatten(1, 2)[:, :-1, 0].numpy(), cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
        error = "" if each.errors is None else f"   error {each.errors.mean():.3g}"
        ours = "apply_schedule" in each.label
        axis.set_title(each.label + error, loc="left", fontsize=9, color="#0a7d4f" if ours else "#1a1a1a")
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=140)


def _estimate(values: torch.Tensor) -> str:
    return f"{values.mean():.3f} ± {values.std() / math.sqrt(len(values)):.3f}"


def main() -> None:
    """Optimize, sample, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DOCS / "images" / "integrate.png", help="PNG to write")
    out = parser.parse_args().out
    model, optimized = Registry(None).load("digits"), {}
    for solver in (Solver.DDIM, Solver.DPMPP_2M):
        with contextlib.redirect_stdout(sys.stderr):  # The progress.
            outcome = optimize(JobRequest(model="digits", nfe=NFE, solver=solver), model, LocalHost())
        optimized[solver.value] = outcome.requested
    found = rows(optimized)
    draw(found, out)
    sys.stderr.write(json.dumps({name: schedule.sigmas for name, schedule in optimized.items()}) + "\n")
    sys.stdout.write(table(found))


if __name__ == "__main__":
    main()
