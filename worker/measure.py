"""Measuring a profile, shard by shard, so that a retried job goes on where the last one stopped."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ays_client.contract import ProfileInfo, Variant, identity
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array, NoiseProcess
from worker.ays.paths import Stream, data_generator
from worker.ays.profile import Measure, Profile, Shard, log_grid, measure_flow, measure_forward, merge
from worker.models.loaded import LoadedModel
from worker.profile_body import restore, to_body
from worker.stages import Host

SHARD_PATHS = 16
"""Paths of one shard at most: the unit that is stored, and the batch in which flow paths advance together."""

_SHARD_VALUES = 2**28
"""Values of a shard's states at all levels, at most: 2 GiB, so that long videos fit into memory."""

MEASURES: tuple[Measure, ...] = ("flow", "forward")

FEWEST_PATHS, MOST_PATHS = SHARD_PATHS, 256
"""Paths of a profile that grows until it is enough."""

Enough = Callable[[Profile, Profile], bool]


@dataclass(frozen=True)
class Measured:
    """Both profiles of a variant.

    Attributes:
        flow: moments along the model's own ODE.
        forward: moments along forward paths.
        info: the same as a body of the contract.
        new: whether it was measured by this job.
    """

    flow: Profile
    forward: Profile
    info: ProfileInfo
    new: bool

    def of(self, measure: Measure) -> Profile:
        """The profile of a path measure."""
        return self.forward if measure == "forward" else self.flow


class RangeError(ValueError):
    """A request asks for noise levels that the model does not have."""


def level_range(variant: Variant, model: LoadedModel) -> tuple[float, float]:
    """Highest and lowest noise level of a request.

    Raises:
        RangeError: it leaves the model's range, or is empty.
    """
    return span_within(variant, model.process, f"model {model.id!r}")


def span_within(variant: Variant, process: NoiseProcess, whose: str) -> tuple[float, float]:
    """Highest and lowest noise level of a request, within those of a process.

    Raises:
        RangeError: it leaves that range, or is empty.
    """
    low, high = process.sigma_min, process.sigma_max
    sigma_min = low if variant.sigma_min is None else variant.sigma_min
    sigma_max = high if variant.sigma_max is None else variant.sigma_max
    if not low * (1 - 1e-9) <= sigma_min < sigma_max <= high * (1 + 1e-9):
        msg = f"received sigma_min={sigma_min:g}, sigma_max={sigma_max:g}; expected {low:g} <= sigma_min < sigma_max <= {high:g}, "
        raise RangeError(msg + f"the range of {whose}; leave them out for the whole range")
    return sigma_max, sigma_min


def planned_evaluations(variant: Variant) -> int:
    """Evaluations of a profile, of its first one if it may grow: both path measures, M paths at G levels each."""
    return len(MEASURES) * (FEWEST_PATHS if variant.paths == "auto" else variant.paths) * variant.grid


def shard_paths(shape: tuple[int, ...], grid: int) -> int:
    """Paths of a shard of samples of a shape."""
    return max(1, min(SHARD_PATHS, _SHARD_VALUES // (grid * math.prod(shape))))


def measure(variant: Variant, model: LoadedModel, denoise: Evaluator, host: Host, *, enough: Enough | None = None) -> Measured:
    """Return the variant's profile: the stored one if it is of these weights, else a new one, from finished shards where there are any.

    A stored profile of the same weights under another name is taken over as a new one of this name; nothing is measured.

    Args:
        variant: what is measured; with `paths: auto` the number of paths doubles until there are enough, or 256.
        model: the model.
        denoise: its counting evaluator.
        host: where shards are kept.
        enough: whether these profiles, flow and forward, will do; None: the first ones will.
    """
    stored = host.profile()
    if stored is not None and stored.fingerprint == model.fingerprint:
        info = stored.model_copy(update={"id": identity(variant), "variant": variant})
        return Measured(restore(info, "flow"), restore(info, "forward"), info, new=info.id != stored.id)
    levels = log_grid(*level_range(variant, model), variant.grid)
    started = time.monotonic()
    finished = _restore_shards(host.shards(), levels)
    shards: dict[Measure, list[Shard]] = {"flow": [], "forward": []}
    done, paths = 0, FEWEST_PATHS if variant.paths == "auto" else variant.paths
    step = shard_paths(denoise.shape, variant.grid)
    while True:
        for start in range(done, paths, step):
            pair = finished.get(start)
            if pair is None:
                pair = _measure_shard(variant, model, denoise, levels, range(start, min(start + step, paths)))
                host.keep_shard(str(start), json.dumps([shard.to_json() for shard in pair]))
            for shard in pair:
                shards[shard.measure].append(shard)
        flow, forward = merge(shards["flow"]), merge(shards["forward"])
        if variant.paths != "auto" or enough is None or paths >= MOST_PATHS or enough(flow, forward):
            body = to_body(variant, model.fingerprint, flow, forward, seconds=time.monotonic() - started)
            # As it will be read: the same request gets the same answer, whether its own job has measured the profile or another.
            return Measured(restore(body, "flow"), restore(body, "forward"), body, new=True)
        done, paths = paths, 2 * paths


def _restore_shards(stored: list[str], levels: Array) -> dict[int, list[Shard]]:
    """Pairs of shards on this grid by the index of their first path."""
    pairs = [[Shard.from_json(body) for body in json.loads(text)] for text in stored]
    return {pair[0].start: pair for pair in pairs if all(np.array_equal(shard.levels, levels) for shard in pair)}


def _measure_shard(variant: Variant, model: LoadedModel, denoise: Evaluator, levels: Array, paths: range) -> list[Shard]:
    flow, ends = measure_flow(denoise, denoise.shape, levels, paths, seed=variant.seed)
    data = clean_samples(model, paths, seed=variant.seed, stream=Stream.PROFILE)
    x_0 = ends if data is None else data.to(ends)
    return [flow, measure_forward(denoise, x_0, levels, paths, seed=variant.seed)]


def clean_samples(model: LoadedModel, indices: range, *, seed: int, stream: Stream) -> Tensor | None:
    """Samples of the model's data, shape (len(indices), *shape); None where it has none.

    Raises:
        ValueError: they have another shape.
    """
    if model.data is None:
        return None
    if model.paired is not None:
        return model.paired(indices)
    drawn = model.data(len(indices), data_generator(indices[0], seed=seed, stream=stream))
    expected = (len(indices), *model.denoiser.shape)
    if tuple(drawn.shape) != expected:
        msg = f"sample_data of model {model.id!r} returned shape {tuple(drawn.shape)}; expected {expected}: (n, *shape)"
        raise ValueError(msg)
    return drawn
