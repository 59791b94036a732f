"""Models: what the workers offer, and how far each has been measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis

from ays_client.contract import JobState, Model
from ays_store import keys
from ays_store.damage import DamagedError, Place, leaving_out, parsed, reading
from ays_store.records import text
from ays_store.results import Results
from ays_store.scripts import Script


class Page(NamedTuple):
    """Some of the models.

    Attributes:
        models: the models, by id.
        last: id of the last one that was looked at, from which the next page goes on; None: there are no more.
    """

    models: list[Model]
    last: str | None


class Models:
    """The models in Redis."""

    def __init__(self, redis: Redis, results: Results) -> None:
        self._redis: Any = redis
        self._results = results
        self._publish = Script(redis, "models/mend", "models/publish")
        self._refine = Script(redis, "models/mend", "models/refine")
        self._ids = Script(redis, "models/ids")

    def publish(self, models: Sequence[Model], *, source: str) -> None:
        """Says what a worker offers; models that the same source offered before and does not any more go away.

        Args:
            models: All of them.
            source: Where they come from, the same after a restart (host and models file): models of other sources stay.
        """
        self._publish(source, *_arguments(models))

    def refine(self, model: Model) -> None:
        """Replaces what is known of one model, when a worker has loaded it and knows more.

        Args:
            model: The model; ignored when nobody offers it any more.
        """
        self._refine(*_arguments([model]))

    def page(self, *, after: str = "", limit: int = 50) -> Page:
        """Returns some of the models, by id; damaged ones are left out. What it costs does not depend on how many there are.

        Args:
            after: Id of a model; only those behind it. '': from the first one.
            limit: Most models, 1 or more.
        """
        ids = self.ids(after=after, limit=limit + 1)
        chosen = ids[:limit]
        with reading(Place(keys.MODELS)):
            bodies = self._redis.hmget(keys.MODELS, chosen) if chosen else []
        found = []
        for model_id, raw in zip(chosen, bodies, strict=True):
            with leaving_out():
                found += [] if raw is None else [_model(model_id, raw)]
        # Ids are ASCII: behind one that is not there are none of ours.
        more = len(ids) > limit and chosen[-1].isascii()
        return Page(self._measured(found), chosen[-1] if more else None)

    def ids(self, *, after: str = "", limit: int = 1000) -> list[str]:
        """Returns the ids of the first models, in their order.

        Args:
            after: Id of a model; only those behind it. '': from the first one.
            limit: Most ids.
        """
        return [text(raw) for raw in self._ids(after, limit)]

    def offered(self, model_ids: Sequence[str]) -> set[str]:
        """Returns those of some models that a worker offers."""
        with reading(Place(keys.MODELS)):
            bodies = self._redis.hmget(keys.MODELS, model_ids) if model_ids else []
        return {model_id for model_id, raw in zip(model_ids, bodies, strict=True) if raw is not None}

    def get(self, model_id: str) -> Model | None:
        """Returns a model, or None when no worker has offered it.

        Raises:
            DamagedError: What is known of it is damaged.
        """
        with reading(Place(keys.MODELS)):
            raw = self._redis.hget(keys.MODELS, model_id)
        return None if raw is None else self._measured([_model(model_id, raw)])[0]

    def fingerprint(self, model_id: str) -> str | None:
        """Returns the present weights of a model; None while no worker has loaded it."""
        with reading(Place(keys.FINGERPRINTS)):
            raw = self._redis.hget(keys.FINGERPRINTS, model_id)
        return None if raw is None else text(raw)

    def of_weights(self, fingerprint: str) -> list[str]:
        """Returns the ids of the models that have these weights, by id."""
        with reading(Place(keys.FINGERPRINTS)):
            found = self._redis.hgetall(keys.FINGERPRINTS)
        return sorted(text(model_id) for model_id, raw in found.items() if text(raw) == fingerprint)

    def _measured(self, models: Sequence[Model]) -> list[Model]:
        """The same models, with how far they are measured: a few commands each, all sent together."""
        variants = self._results.variants_of([model.id for model in models])
        profiles = [found[0].profile_id if found else None for found in variants]
        with self._redis.pipeline(transaction=False) as pipeline:
            for model, profile_id in zip(models, profiles, strict=True):
                if profile_id is None:
                    pipeline.zcard(keys.jobs_of_in(model.id, JobState.RUNNING))
                else:
                    pipeline.hlen(keys.cells(profile_id))
            sizes = pipeline.execute(raise_on_error=False) if models else []
        return [_as_measured(*each) for each in zip(models, profiles, sizes, strict=True)]


def _model(model_id: str, raw: bytes) -> Model:
    place = Place(keys.MODELS, model_id, again="a worker that offers it writes it anew when it starts")
    model = parsed(Model, raw, place)
    if model.id != model_id:
        raise DamagedError(place, received="another model", expected=f"the model {model_id}")
    return model


def _as_measured(model: Model, profile_id: str | None, size: object) -> Model:
    # A key of another type counts nothing.
    number = size if isinstance(size, int) else 0
    if profile_id is not None:
        known = {"profile_state": "ready", "profile_id": profile_id, "schedules": number}
    else:
        known = {"profile_state": "measuring" if number else "none", "profile_id": None, "schedules": 0}
    return model.model_copy(update=known)


def _arguments(models: Sequence[Model]) -> list[str]:
    return [argument for model in models for argument in (model.id, model.model_dump_json(), model.fingerprint or "")]
