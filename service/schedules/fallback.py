"""Schedules for cells that nobody has optimized: interpolated from a neighbour, or a stock one.

They are computed on request and not stored; `source` says what they are, and none is ever `validated`.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

from ays_client.contract import Model, Provenance, Schedule, Solver, Source, Target, Terminal, identity
from ays_client.formats import links
from ays_client.solvers import CARDS
from ays_client.stock import Stock, resample, stock, times_between, times_of_kind, whole_times
from ays_client.version import VERSION
from ays_store import Cell, Store
from ays_store.damage import leaving_out
from service.problems import ProblemError

STOCK: Stock = "edm"
"""The stock schedule that is served."""

_TIME_TABLES = 4
_EXACT = 1e-6


def nearest(store: Store, model: Model, target: Target, *, path: str) -> Schedule | None:
    """The levels of the cached schedule with the nearest number of steps, resampled log-linearly.

    Args:
        store: the cache.
        model: the model.
        target: what is asked for.
        path: URL path of this answer, for the links to its formats.

    Returns:
        None when the variant has no cached schedule for this solver and terminal.
    """
    cells = _cells(store, lambda: store.results.table(target))
    near = {nfe: cell for (solver, terminal, nfe), cell in cells.items() if (solver, terminal) == (target.solver, target.terminal)}
    if not near:
        return None
    # The denser of two equally near ones loses less.
    nfe = min(near, key=lambda nfe: (abs(math.log(nfe / target.nfe)), -nfe))
    base = _stored(store, near[nfe])
    if base is None:
        return None
    levels = resample(base.sigmas, target.steps)
    provenance = base.provenance.model_copy(update={"interpolated_from": base.id, "refined": False})
    return compose(
        target,
        levels,
        times=_times(store, model, levels),
        source=Source.INTERPOLATED,
        provenance=provenance,
        path=path,
        known={"fingerprint": base.fingerprint, "kind": base.kind, "prediction_type": base.prediction_type}
        | {"guidance_scale": base.guidance_scale, "sigma_min": base.sigma_min, "sigma_max": base.sigma_max},
    )


def from_stock(store: Store, model: Model, target: Target, *, path: str) -> Schedule:
    """The stock schedule of the model's range, or of the range that was asked for.

    Args:
        store: the cache, for the model's time map.
        model: the model.
        target: what is asked for.
        path: URL path of this answer, for the links to its formats.

    Raises:
        ProblemError: 404, the model's range, kind or time map is not known yet.
    """
    if model.kind is None or model.sigma_min is None or model.sigma_max is None:
        raise ProblemError(
            404,
            f"no worker has loaded the model {model.id} yet, so its range of noise levels is not known",
            received={"fallback": "stock"},
            expected="a model whose range is known",
            fix=f"POST a job for {model.id} to /v1/jobs; its worker loads the model first",
        )
    sigma_min = model.sigma_min if target.sigma_min is None else target.sigma_min
    sigma_max = model.sigma_max if target.sigma_max is None else target.sigma_max
    if sigma_min >= sigma_max:
        raise ProblemError(
            422,
            "the range of noise levels is empty",
            received={"sigma_min": sigma_min, "sigma_max": sigma_max},
            expected="sigma_min < sigma_max",
            fix="change one of them, or leave both out",
        )
    levels = stock(STOCK, target.steps, sigma_min=sigma_min, sigma_max=sigma_max, terminal=target.terminal)
    return compose(
        target,
        levels,
        times=_times(store, model, levels),
        source=Source.STOCK,
        provenance=Provenance(candidate=STOCK, code_version=VERSION),
        path=path,
        # Weights that nobody has loaded yet have no fingerprint; these levels do not depend on them.
        known={"fingerprint": model.fingerprint or "", "kind": model.kind, "prediction_type": model.prediction_type}
        | {"guidance_scale": model.guidance_scale, "sigma_min": sigma_min, "sigma_max": sigma_max},
    )


def compose(
    target: Target,
    levels: list[float],
    *,
    times: list[float],
    source: Source,
    provenance: Provenance,
    path: str,
    known: Mapping[str, object],
) -> Schedule:
    """A schedule that was computed on request.

    Args:
        target: what was asked for.
        levels: `steps + 1` of them.
        times: native times of those that are evaluated.
        source: what it is.
        provenance: where the levels come from.
        path: URL path of this answer, for the links to its formats.
        known: the fields of the model: fingerprint, kind, prediction type, guidance, range.
    """
    flow = known["kind"] == "flow"
    guidance = {} if target.guidance_scale is None else {"guidance_scale": target.guidance_scale}
    body = Schedule.model_validate(
        {
            **known,
            **guidance,
            "id": "",
            "model": target.model,
            "nfe": target.nfe,
            "steps": target.steps,
            "solver": target.solver,
            "terminal": target.terminal,
            "sigmas": levels,
            "t": [sigma / (1.0 + sigma) for sigma in levels] if flow else None,
            "timesteps": times,
            "timesteps_int": whole_times(times) if known["kind"] == "vp" else None,
            "source": source,
            "validated": False,
            "provenance": provenance,
        }
    )
    return body.model_copy(update={"id": identity(body), "formats": links(path, body)})


def _times(store: Store, model: Model, levels: list[float]) -> list[float]:
    """Native times of the levels that the model is evaluated at, from the times of cached schedules and from its kind."""
    evaluated = levels[:-1]
    known = _known_times(store, model)
    exact = times_of_kind(model.kind or "", evaluated)
    if exact is not None:
        by_kind = times_of_kind(model.kind or "", [sigma for sigma, _ in known]) or []
        if all(math.isclose(time, rule, rel_tol=_EXACT, abs_tol=_EXACT) for (_, time), rule in zip(known, by_kind, strict=True)):
            return exact
    if len(known) < 2:
        raise ProblemError(
            404,
            f"the native time of the model {model.id} depends on its betas, and no schedule that would show it is cached yet",
            expected="a model with at least one cached schedule",
            fix=f"POST a job for {model.id} to /v1/jobs",
        )
    times = times_between(known, evaluated)
    floor = min(time for _, time in known)
    # Below the lowest known level the line may leave the range of times: they start at 0.
    return [max(time, 0.0) for time in times] if floor >= 0 else times


def _known_times(store: Store, model: Model) -> list[tuple[float, float]]:
    """Pairs (sigma, native time) of the densest cached schedules of the model."""
    pairs: dict[float, float] = {}
    for measured in store.results.variants(model.id)[:1]:
        cells = _cells(store, partial(str, measured.profile_id))
        for place in sorted(cells, key=_density)[:_TIME_TABLES]:
            table = _stored(store, cells[place])
            pairs.update(zip(table.sigmas, table.timesteps, strict=False) if table is not None else ())
    return list(pairs.items())


def _density(place: tuple[Solver, Terminal, int]) -> tuple[int, str, str]:
    solver, terminal, nfe = place
    return -CARDS[solver].steps(nfe), terminal, solver


def _cells(store: Store, table_of: Callable[[], str | None]) -> dict[tuple[Solver, Terminal, int], Cell]:
    """The cells of a table; damaged, it has none: whoever falls back takes what there is."""
    with leaving_out():
        table = table_of()
        return {} if table is None else store.results.cells(table)
    return {}


def _stored(store: Store, cell: Cell) -> Schedule | None:
    with leaving_out():
        raw = store.results.schedule(cell.schedule_id)
        return None if raw is None else Schedule.model_validate_json(raw)
    return None
