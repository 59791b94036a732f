"""Measuring a profile, shard by shard: a retried job goes on where the last one stopped, and other workers may measure some."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import numpy as np
from torch import Tensor

from ays_client.contract import ProfileInfo, Variant, identity
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array, NoiseProcess
from worker.ays.paths import Stream, data_generator
from worker.ays.profile.profile import Measure, Profile, Shard, log_grid, measure_flow, measure_forward, merge
from worker.models.loaded import LoadedModel
from worker.tasks.profile_body import restore, to_body
from worker.tasks.stages import Host

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


def measure(
    variant: Variant,
    model: LoadedModel,
    denoise: Evaluator,
    host: Host,
    *,
    enough: Enough | None = None,
    elsewhere: Callable[[int], None] | None = None,
) -> Measured:
    """Return the variant's profile: the stored one if it will do, else a new one, from finished shards where there are any.

    A stored profile of the same weights under another name is taken over as a new one of this name; nothing is measured. One that may
    grow and is not enough for this request is measured anew with twice as many paths, and so on, as for a first request.

    Args:
        variant: what is measured; with `paths: auto` the number of paths doubles until there are enough, or 256.
        model: the model.
        denoise: its counting evaluator.
        host: where shards are kept, and measured.
        enough: whether these profiles, flow and forward, will do; None: any will.
        elsewhere: told how many evaluations others have done for it.
    """
    stored = _stored(variant, model, host)
    rounds = _rounds(variant, shard_paths(denoise.shape, variant.grid), beyond=stored.info.paths if stored else 0)
    if stored is not None and (not rounds or enough is None or enough(stored.flow, stored.forward)):
        return stored
    levels = log_grid(*level_range(variant, model), variant.grid)
    started = time.monotonic()
    shards: list[Shard] = []
    while True:
        names, *more = rounds
        bodies = host.gather(
            names,
            lambda name: measure_shard(variant, model, denoise, name),
            ahead=[] if enough is None else list(chain(*more)),
            arrived=lambda name: None if elsewhere is None else elsewhere(len(MEASURES) * len(_paths(name)) * variant.grid),
        )
        if bodies is None:
            return measure(variant, model, denoise, host, enough=enough, elsewhere=elsewhere)
        for name in names:
            # What cannot be used was left by another version.
            shards += _pair(bodies[name], levels) or _pair(measure_shard(variant, model, denoise, name), levels)
        flow, forward = (merge(shard for shard in shards if shard.measure == each) for each in MEASURES)
        if not more or enough is None or enough(flow, forward):
            body = to_body(variant, model.fingerprint, flow, forward, seconds=time.monotonic() - started)
            # As it will be read: the same request gets the same answer, whether its own job has measured the profile or another.
            return Measured(restore(body, "flow"), restore(body, "forward"), body, new=True)
        rounds = more


def measure_shard(variant: Variant, model: LoadedModel, denoise: Evaluator, name: str) -> str:
    """Measure a part of a profile: the sums over a range of paths, which depend on nothing but these arguments.

    Args:
        variant: what is measured.
        model: the model.
        denoise: its counting evaluator.
        name: the range of paths, `first-last`, the last one not in it.

    Returns:
        JSON of both shards, flow and forward.
    """
    levels, paths = log_grid(*level_range(variant, model), variant.grid), _paths(name)
    flow, ends = measure_flow(denoise, denoise.shape, levels, paths, seed=variant.seed)
    data = clean_samples(model, paths, seed=variant.seed, stream=Stream.PROFILE)
    x_0 = ends if data is None else data.to(ends)
    forward = measure_forward(denoise, x_0, levels, paths, seed=variant.seed)
    return json.dumps([flow.to_json(), forward.to_json()])


def _stored(variant: Variant, model: LoadedModel, host: Host) -> Measured | None:
    """The stored profile of these weights; None where there is none, or its levels and matrices do not fit each other."""
    stored = host.profile()
    if stored is None or stored.fingerprint != model.fingerprint:
        return None
    info = stored.model_copy(update={"id": identity(variant), "variant": variant})
    try:
        return Measured(restore(info, "flow"), restore(info, "forward"), info, new=info.id != stored.id)
    except (KeyError, ValueError):
        return None


def _pair(body: str, levels: Array) -> list[Shard]:
    """Both shards of a body on these levels; none if it has others, or cannot be read."""
    try:
        pair = [Shard.from_json(shard) for shard in json.loads(body)]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return []
    # The last digit is that of the processor it was measured on.
    same = all(shard.levels.shape == levels.shape and np.allclose(shard.levels, levels, rtol=1e-12, atol=0) for shard in pair)
    return [replace(shard, levels=levels) for shard in pair] if same else []


def _rounds(variant: Variant, step: int, *, beyond: int) -> list[list[str]]:
    """Names of the shards that are measured before anybody asks whether they are enough, `step` paths in each but the last of a doubling.

    The first question is asked of more than `beyond` paths; none are left where there may be no more.
    """
    doublings = range((MOST_PATHS // FEWEST_PATHS).bit_length())
    ends = [FEWEST_PATHS * 2**i for i in doublings] if variant.paths == "auto" else [variant.paths]
    rounds = [[f"{first}-{min(first + step, end)}" for first in range(start, end, step)] for start, end in pairwise([0, *ends])]
    passed = sum(end <= beyond for end in ends)
    return [list(chain(*rounds[: passed + 1])), *rounds[passed + 1 :]] if passed < len(rounds) else []


def _paths(name: str) -> range:
    start, stop = name.split("-")
    return range(int(start), int(stop))


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
