"""The catalogue: models whose schedules were published, which can be looked up before any worker has run."""

import math

from ays_client.contract import Model, Provenance, Schedule, Source, Target
from ays_client.published import PUBLISHED, STEPS, Table
from ays_client.version import VERSION
from service.schedules.fallback import compose

CANDIDATE = "align_your_steps"
"""Name of the published tables in the provenance."""

_SAME_RANGE = 0.02
"""Relative: the paper's printed levels and those of the betas differ by up to 1.4 %."""


def catalogue() -> list[Model]:
    """The models of the published tables, by id."""
    return [_listed(name, PUBLISHED[name]) for name in sorted(PUBLISHED)]


def listed(model_id: str) -> Model | None:
    """A model of the catalogue; None when no table was published under that id."""
    table = PUBLISHED.get(model_id)
    return None if table is None else _listed(model_id, table)


def published(model: Model, target: Target, *, path: str) -> Schedule | None:
    """The published schedule of a model for 10 steps, or its log-linear interpolation for another number.

    Args:
        model: the model; `model.published` names its table.
        target: what is asked for.
        path: URL path of this answer, for the links to its formats.

    Returns:
        None where nothing was published: for this model, for its range of noise levels, or for the range that was asked for.
    """
    table = PUBLISHED.get(model.published or "")
    if table is None or not _fits(table, model) or target.sigma_min is not None or target.sigma_max is not None:
        return None
    as_published = target.steps == STEPS
    levels = table.schedule(target.steps, target.terminal)
    return compose(
        target,
        levels,
        times=table.times(levels[:-1]),
        source=Source.PUBLISHED if as_published else Source.INTERPOLATED,
        provenance=Provenance(candidate=CANDIDATE, interpolated_from=None if as_published else model.published, code_version=VERSION),
        path=path,
        # Weights that nobody has loaded yet have no fingerprint; these levels do not depend on them.
        known={"fingerprint": model.fingerprint or "", "kind": table.kind, "prediction_type": model.prediction_type}
        | {"guidance_scale": model.guidance_scale, "sigma_min": table.levels[-1], "sigma_max": table.levels[0]},
    )


def _listed(name: str, table: Table) -> Model:
    return Model(
        id=name,
        title=table.title,
        kind=table.kind,
        sigma_min=table.levels[-1],
        sigma_max=table.levels[0],
        prediction_type=table.prediction_type,
        published=name,
    )


def _fits(table: Table, model: Model) -> bool:
    """Whether the table covers the model's own range; a model that nobody has loaded is taken at its operator's word."""
    if model.kind not in {None, table.kind}:
        return False
    ends = zip((model.sigma_min, model.sigma_max), (table.levels[-1], table.levels[0]), strict=True)
    return all(own is None or math.isclose(own, end, rel_tol=_SAME_RANGE) for own, end in ends)
