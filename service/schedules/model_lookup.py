"""Models that can be asked for, and the problem when one cannot."""

import difflib

from ays_client.contract import Model, is_curve
from ays_client.curve import LossCurve
from ays_store import Store
from service.problems import ProblemError
from service.schedules.catalogue import catalogue, listed


def known_model(store: Store, model_id: str) -> Model:
    """A model by its id: one that a worker offers, one of the catalogue, or a loss curve.

    Args:
        store: where the workers have announced their models.
        model_id: the id, as a client sent it.

    Raises:
        ProblemError: 404, naming the models there are.
    """
    if is_curve(model_id):
        return _curve(store, model_id)
    model = store.models.get(model_id) or listed(model_id)
    if model is None:
        raise _unknown(model_id, [*store.models.ids(), *(each.id for each in catalogue())])
    return model


def offered_model(store: Store, model_id: str) -> Model:
    """A model that a worker can measure, or a loss curve.

    Args:
        store: where the workers have announced their models.
        model_id: the id, as a client sent it.

    Raises:
        ProblemError: 404, nobody offers it: it is unknown, or only its published schedule is known.
    """
    if is_curve(model_id):
        return _curve(store, model_id)
    model = store.models.get(model_id)
    if model is not None:
        return model
    if listed(model_id) is None:
        raise _unknown(model_id, store.models.ids())
    raise ProblemError(
        404,
        f"no worker offers the model {model_id}; only its published schedule is known",
        received=model_id,
        expected="a model that a worker offers",
        fix=f"GET /v1/schedules?model={model_id} for the published schedule, or add the weights to a worker's models file under that id",
    )


def _curve(store: Store, curve_id: str) -> Model:
    curve = store.results.curve(curve_id)
    if curve is None:
        raise ProblemError(
            404,
            f"there is no {curve_id}: curves are dropped a month after they were posted last",
            received=curve_id,
            expected="the id of a loss curve",
            fix="POST the curve to /v1/curves: the same curve gets the same id",
        )
    return model_of_curve(curve)


def model_of_curve(curve: LossCurve) -> Model:
    """A loss curve as the model that requests name.

    Args:
        curve: the curve, by rising noise level.
    """
    title = f"denoising loss at {len(curve.sigma)} noise levels"
    low, high = curve.sigma[0], curve.sigma[-1]
    return Model(id=curve.id, title=title, kind=curve.kind, sigma_min=low, sigma_max=high, fingerprint=curve.id)


def _unknown(model_id: str, known: list[str]) -> ProblemError:
    if not known:
        return ProblemError(
            404,
            f"there is no model {model_id}: no worker has announced any model yet",
            received=model_id,
            expected="a model that a worker offers",
            fix="start a worker (`ays worker`), then look at /v1/models",
        )
    close = difflib.get_close_matches(model_id, known, n=1)
    return ProblemError(
        404,
        f"there is no model {model_id}",
        received=model_id,
        expected=f"one of {', '.join(known[:20])}",
        fix=f"use {close[0]}" if close else "see /v1/models; operators add models in the file that AYS_MODELS names",
    )
