"""Models that can be asked for, and the problem when one cannot."""

import difflib

from ays_client.contract import Model
from ays_store import Store
from service.problems import ProblemError


def known_model(store: Store, model_id: str) -> Model:
    """A model by its id.

    Args:
        store: where the workers have announced their models.
        model_id: the id, as a client sent it.

    Raises:
        ProblemError: 404, naming the models there are.
    """
    model = store.models.get(model_id)
    if model is not None:
        return model
    known = [each.id for each in store.models.list()]
    if not known:
        raise ProblemError(
            404,
            f"there is no model {model_id}: no worker has announced any model yet",
            received=model_id,
            expected="a model that a worker offers",
            fix="start a worker (`ays worker`), then look at /v1/models",
        )
    close = difflib.get_close_matches(model_id, known, n=1)
    raise ProblemError(
        404,
        f"there is no model {model_id}",
        received=model_id,
        expected=f"one of {', '.join(known[:20])}",
        fix=f"use {close[0]}" if close else "see /v1/models; operators add models in the file that AYS_MODELS names",
    )
