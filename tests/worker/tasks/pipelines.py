"""A host in memory, and models of one small law that count, crash or misbehave: what the pipeline's tests share."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from ays_client.contract import JobRequest, ProfileInfo, Progress, Schedule
from tests.ays.problems import plane
from worker.ays.analytic import GaussianMixture
from worker.ays.denoise import Denoiser
from worker.ays.noise import VP, NoiseProcess, scaled_linear_betas
from worker.ays.search.report import FEWEST
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks import pipeline
from worker.tasks.outcome import Outcome

LAW = plane(sigma_min=0.01, sigma_max=1000.0)
SMALL = {"model": "plane", "grid": 32, "paths": 40, "sigma_min": 0.03, "sigma_max": 14.0, "nfe": 6, "effort": "fast"}
"""40 paths are three shards, the last of them short."""

PROFILE = 2 * 40 * 32
"""Its evaluations."""


SMALL_TABLE = ("dpmpp_2m", "dpmpp_2m_sde", "fitted")
"""Solvers of a small table."""


class Interrupted(Exception):
    """The host stops the work."""


@dataclass
class Memory:
    """A host that keeps everything in memory, and stops at a stage, or when it has kept so many checkpoints, if it is told to."""

    stop_at: str | None = None
    stop_after: int | None = None
    checkpoints: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    stored: ProfileInfo | None = None
    seen: list[Progress] = field(default_factory=list)
    published: list[Schedule] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.stage == self.stop_at:
            raise Interrupted(progress.stage)

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str]:
        del arrived
        for shard in shards:
            if shard not in self.kept:
                self.kept[shard] = measure(shard)
        return {shard: self.kept[shard] for shard in shards}

    def checkpoint(self) -> str | None:
        return self.checkpoints[-1] if self.checkpoints else None

    def keep(self, checkpoint: str) -> None:
        self.checkpoints.append(checkpoint)
        if len(self.checkpoints) == self.stop_after:
            raise Interrupted(checkpoint)

    def profile(self) -> ProfileInfo | None:
        return self.stored

    def publish(self, profile: ProfileInfo, table: list[Schedule]) -> None:
        self.stored, self.published = profile, table

    def validated(self) -> list[Schedule]:
        return []


def optimize(asked: JobRequest, loaded: LoadedModel, host: Memory) -> Outcome:
    """The pipeline's outcome, with the profile and the table that it has published on the way."""
    before = host.stored
    outcome = pipeline.optimize(asked, loaded, host)
    if host.stored is before:
        return outcome
    place = (outcome.requested.solver, outcome.requested.terminal, outcome.requested.nfe)
    others = [each for each in host.published if (each.solver, each.terminal, each.nfe) != place]
    return replace(outcome, profile=host.stored, schedules=[*others, outcome.requested])


class Counted:
    """A law's denoiser in float32 that counts its evaluations, and misbehaves from some number of them on."""

    def __init__(self, law: GaussianMixture = LAW, *, until: float = math.inf, then: Callable[[Tensor], Tensor] | None = None) -> None:
        self.law, self.until, self.then = law, until, then
        self.shape, self.sigma_min, self.sigma_max = law.shape, law.sigma_min, law.sigma_max
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.evaluations = 0

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.evaluations += len(x)
        if self.evaluations > self.until and self.then is not None:
            return self.then(x)
        return self.law.denoise(x.double(), sigma.double()).to(x)


@contextmanager
def small_table() -> Iterator[None]:
    """The table of three solvers, one of each measure and the fitted one: all of them take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.tasks.table.SOLVERS", {name: SOLVERS[name] for name in SMALL_TABLE})
        yield


@contextmanager
def small_reports() -> Iterator[None]:
    """Reports of the fewest noises: those of a cheap model have sixteen times as many, and take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.ays.search.report.MOST", FEWEST)
        yield


def model(denoiser: Denoiser | None = None, process: NoiseProcess | None = None, **changes: object) -> LoadedModel:
    loaded = LoadedModel(
        id="plane",
        title="three components in the plane",
        denoiser=denoiser or Counted(),
        process=process or VP(scaled_linear_betas()),
        fingerprint="f" * 32,
        prediction_type="epsilon",
        guidance_scale=None,
        data=LAW.sample_data,
    )
    return replace(loaded, **changes)


def request(**changes: object) -> JobRequest:
    return JobRequest.model_validate(SMALL | changes)
