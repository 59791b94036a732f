"""Models: what the workers offer, and how far each has been measured."""

from collections.abc import Sequence
from typing import Any

from redis import Redis

from ays_client.contract import JobState, Model
from ays_store import keys
from ays_store.records import text
from ays_store.results import Results
from ays_store.scripts import Script

_PUBLISH = """
-- ARGV: source, then for every model: id, body, fingerprint ('' while unknown)
local source, offered = ARGV[1], {}
for i = 2, #ARGV, 3 do
  local id, body, fingerprint = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  offered[id] = true
  redis.call('HSET', MODELS, id, body)
  redis.call('HSET', MODEL_SOURCES, id, source)
  if fingerprint ~= '' then redis.call('HSET', FINGERPRINTS, id, fingerprint) end
end
local owners = redis.call('HGETALL', MODEL_SOURCES)
for i = 1, #owners, 2 do
  local id, owner = owners[i], owners[i + 1]
  if owner == source and not offered[id] then
    redis.call('HDEL', MODELS, id)
    redis.call('HDEL', MODEL_SOURCES, id)
    redis.call('HDEL', FINGERPRINTS, id)
  end
end
return #ARGV
"""


class Models:
    """The models in Redis."""

    def __init__(self, redis: Redis, results: Results) -> None:
        self._redis: Any = redis
        self._results = results
        self._publish = Script(redis, _PUBLISH)

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
        source = self._redis.hget(keys.MODEL_SOURCES, model.id)
        if source is not None:
            with self._redis.pipeline() as pipeline:
                pipeline.hset(keys.MODELS, model.id, model.model_dump_json())
                if model.fingerprint is not None:
                    pipeline.hset(keys.FINGERPRINTS, model.id, model.fingerprint)
                pipeline.execute()

    def list(self) -> list[Model]:
        """Returns all models, by id."""
        found = self._redis.hgetall(keys.MODELS)
        return [self._measured(Model.model_validate_json(found[key])) for key in sorted(found, key=text)]

    def get(self, model_id: str) -> Model | None:
        """Returns a model, or None when no worker has offered it."""
        raw = self._redis.hget(keys.MODELS, model_id)
        return None if raw is None else self._measured(Model.model_validate_json(raw))

    def fingerprint(self, model_id: str) -> str | None:
        """Returns the present weights of a model; None while no worker has loaded it."""
        raw = self._redis.hget(keys.FINGERPRINTS, model_id)
        return None if raw is None else text(raw)

    def _measured(self, model: Model) -> Model:
        variants = self._results.variants(model.id)
        if variants:
            profile_id = variants[0].profile_id
            schedules = self._redis.hlen(keys.cells(profile_id))
            known = {"profile_state": "ready", "profile_id": profile_id, "schedules": schedules}
        elif self._redis.zcard(keys.jobs_of_in(model.id, JobState.RUNNING)):
            known = {"profile_state": "measuring", "profile_id": None, "schedules": 0}
        else:
            known = {"profile_state": "none", "profile_id": None, "schedules": 0}
        return model.model_copy(update=known)


def _arguments(models: Sequence[Model]) -> list[str]:
    return [argument for model in models for argument in (model.id, model.model_dump_json(), model.fingerprint or "")]
