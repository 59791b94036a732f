"""Measuring a profile, shard by shard: a retried job goes on where the last one stopped, and other workers may measure some."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor

from ays_client.contract import ProfileInfo, Variant, identity
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array, NoiseProcess
from worker.ays.paths import Stream, data_generator
from worker.ays.profile.profile import FlowPaths, Measure, Profile, Shard, data_mean, log_grid, measure_flow, measure_forward, merge
from worker.ays.search.reference import ReferenceSet
from worker.models.loaded import LoadedModel
from worker.tasks.profile_body import restore, to_body
from worker.tasks.stages import Host

SHARD_PATHS = 16
"""Paths of one shard at most: the unit that is stored, and the batch in which flow paths advance together."""

_SHARD_VALUES = 2**28
"""Values of a shard's states at all levels, at most: 2 GiB, so that long videos fit into memory."""

MEASURES: tuple[Measure, ...] = ("flow", "forward")

PATHS = SHARD_PATHS
"""Paths of a profile with `paths: auto`: the same for every request, so that no answer depends on what was asked before."""

_KEPT_VALUES = 2**28
"""Values of the paths that are kept for the search of the same job, at most: 2 GiB."""


@dataclass(frozen=True)
class Measured:
    """Both profiles of a variant.

    Attributes:
        flow: moments along the model's own ODE.
        forward: moments along forward paths.
        info: the same as a body of the contract.
        new: whether it was measured by this job.
        paths: the flow's paths, as far as this process solved them from the first one on and they fit into memory.
    """

    flow: Profile
    forward: Profile
    info: ProfileInfo
    new: bool
    paths: ReferenceSet | None = None

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
    """Evaluations of a profile: both path measures, M paths at G levels each."""
    return len(MEASURES) * (paths_of(variant)) * variant.grid


def shard_paths(shape: tuple[int, ...], grid: int) -> int:
    """Paths of a shard of samples of a shape."""
    return max(1, min(SHARD_PATHS, _SHARD_VALUES // (grid * math.prod(shape))))


def paths_of(variant: Variant) -> int:
    """Paths of a variant's profile."""
    return PATHS if variant.paths == "auto" else variant.paths


def measure(
    variant: Variant, model: LoadedModel, denoise: Evaluator, host: Host, *, elsewhere: Callable[[int], None] | None = None
) -> Measured:
    """Return the variant's profile: the stored one, else a new one, from finished shards where there are any.

    A stored profile of the same weights under another name is taken over as a new one of this name; nothing is measured.

    Args:
        variant: what is measured.
        model: the model.
        denoise: its counting evaluator.
        host: where shards are kept, and measured.
        elsewhere: told how many evaluations others have done for it.
    """
    stored = _stored(variant, model, host)
    if stored is not None:
        return stored
    levels, started = log_grid(*level_range(variant, model), variant.grid), time.monotonic()
    step, end = shard_paths(denoise.shape, variant.grid), paths_of(variant)
    names = [f"{first}-{min(first + step, end)}" for first in range(0, end, step)]
    kept: dict[str, FlowPaths] = {}
    bodies = host.gather(
        names,
        lambda name: measure_shard(variant, model, denoise, name, kept=kept),
        arrived=lambda name: None if elsewhere is None else elsewhere(len(MEASURES) * len(_paths(name)) * variant.grid),
    )
    if bodies is None:
        return measure(variant, model, denoise, host, elsewhere=elsewhere)
    shards: list[Shard] = []
    for name in names:
        # What cannot be used was left by another version.
        shards += _pair(bodies[name], levels) or _pair(measure_shard(variant, model, denoise, name, kept=kept), levels)
    flow, forward = (merge(shard for shard in shards if shard.measure == each) for each in MEASURES)
    body = to_body(variant, model.fingerprint, flow, forward, seconds=time.monotonic() - started)
    # As it will be read: the same request gets the same answer, whether its own job has measured the profile or another.
    return Measured(restore(body, "flow"), restore(body, "forward"), body, new=True, paths=_kept(kept, names, levels))


def _kept(kept: dict[str, FlowPaths], names: Sequence[str], levels: Array) -> ReferenceSet | None:
    """The paths of the first shards that were solved here, as references of the terminal level 0."""
    parts = [kept[name] for name in takewhile(kept.__contains__, names)]
    if not parts:
        return None
    noise, ends = torch.cat([part.noise for part in parts]), torch.cat([part.ends for part in parts])
    states = torch.cat([part.states for part in parts], dim=1)
    return ReferenceSet(noise, ends, None, tuple(range(len(noise))), levels, states)


def measure_shard(variant: Variant, model: LoadedModel, denoise: Evaluator, name: str, *, kept: dict[str, FlowPaths] | None = None) -> str:
    """Measure a part of a profile: the sums over a range of paths, which depend on nothing but these arguments.

    Args:
        variant: what is measured.
        model: the model.
        denoise: its counting evaluator.
        name: the range of paths, `first-last`, the last one not in it.
        kept: where the flow's paths are kept, if they fit.

    Returns:
        JSON of both shards, flow and forward.
    """
    levels, paths = log_grid(*level_range(variant, model), variant.grid), _paths(name)
    mean = data_mean(denoise, denoise.shape, float(levels[0]), seed=variant.seed)
    flow, solved = measure_flow(denoise, denoise.shape, levels, paths, seed=variant.seed, mean=mean)
    if kept is not None and solved.states.numel() + sum(each.states.numel() for each in kept.values()) <= _KEPT_VALUES:
        kept[name] = solved
    data = clean_samples(model, paths, seed=variant.seed, stream=Stream.PROFILE)
    x_0 = solved.ends if data is None else data.to(solved.ends)
    forward = measure_forward(denoise, x_0, levels, paths, seed=variant.seed, mean=mean)
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
    # One by one: a sample follows from its own index, whatever shard it falls into.
    drawn = torch.cat([model.data(1, data_generator(index, seed=seed, stream=stream)) for index in indices])
    expected = (len(indices), *model.denoiser.shape)
    if tuple(drawn.shape) != expected:
        msg = f"sample_data of model {model.id!r} returned shape {tuple(drawn.shape)}; expected {expected}: (n, *shape)"
        raise ValueError(msg)
    return drawn
