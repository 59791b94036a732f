"""A measured profile as a body of the contract, and back."""

import time

import numpy as np

from ays_client.contract import ProfileInfo, Range, Variant, identity
from worker.ays.noise import Array
from worker.ays.profile.profile import Measure, Profile
from worker.ays.search.stability import contradictions

_GROUPS = 4
_DIGITS = 7


def to_body(variant: Variant, fingerprint: str, flow: Profile, forward: Profile, *, seconds: float) -> ProfileInfo:
    """Body of both profiles of a variant.

    Args:
        variant: what was asked for.
        fingerprint: identity of the weights.
        flow: moments along the model's own ODE.
        forward: moments along forward paths.
        seconds: time that it took to measure them.
    """
    both = (flow, forward)
    return ProfileInfo(
        id=identity(variant),
        variant=variant,
        fingerprint=fingerprint,
        levels=flow.levels.tolist(),
        paths=flow.paths,
        evaluations=flow.evaluations + forward.evaluations,
        seconds=seconds,
        loss=forward.moments.diagonal().tolist(),
        moments={profile.measure: profile.moments.tolist() for profile in both},
        standard_errors={profile.measure: profile.standard_errors.tolist() for profile in both},
        origin={profile.measure: profile.mean_moments.tolist() for profile in both if profile.mean_moments is not None},
        groups={profile.measure: _triangles(profile.groups) for profile in both if profile.groups is not None},
        contradictions=[Range(sigma_min=found.sigma_min, sigma_max=found.sigma_max) for found in contradictions(forward)],
        created_at=time.time(),
    )


def restore(info: ProfileInfo, measure: Measure) -> Profile:
    """Profile of one path measure from a stored body: its moments bit for bit, its groups at the digits that were kept."""
    levels = np.array(info.levels, dtype=np.float64)
    return Profile(
        measure=measure,
        levels=levels,
        moments=np.array(info.moments[measure], dtype=np.float64),
        standard_errors=np.array(info.standard_errors[measure], dtype=np.float64),
        paths=info.paths,
        evaluations=info.paths * len(levels),
        mean_moments=np.array(info.origin[measure], dtype=np.float64) if measure in info.origin else None,
        groups=_squares(info.groups[measure], len(levels) + 1) if measure in info.groups else None,
    )


def _triangles(groups: Array) -> list[list[float]]:
    """Lower triangles of the means of at most four groups; they are there for standard errors, so a few digits do."""
    rows, columns = np.tril_indices(groups.shape[1])
    parts = [groups[start::_GROUPS].mean(axis=0) for start in range(min(_GROUPS, len(groups)))]
    return [[float(f"{value:.{_DIGITS}g}") for value in part[rows, columns]] for part in parts]


def _squares(triangles: list[list[float]], size: int) -> Array:
    rows, columns = np.tril_indices(size)
    found = np.zeros((len(triangles), size, size))
    for part, triangle in zip(found, triangles, strict=True):
        part[rows, columns] = triangle
        part[columns, rows] = triangle
    return found
