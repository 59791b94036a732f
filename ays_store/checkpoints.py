"""Checkpoints: what a job in the making has finished, for the attempt that takes over when this one dies."""

from typing import Any

from redis import Redis

from ays_store import keys
from ays_store.bodies import pack, unpack
from ays_store.damage import Place, leaving_out, reading
from ays_store.limits import SHARDS_SECONDS
from ays_store.records import text
from ays_store.scripts import Script
from ays_store.standing import Standing


class Checkpoints:
    """The checkpoints in Redis, one of a job at most; the end of the job drops it."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._keep = Script(redis, "checkpoints/keep")

    def read(self, job_id: str) -> str | None:
        """Returns the checkpoint of a job as JSON; None when there is none, or none that can be read."""
        place = Place(keys.checkpoint(job_id))
        with leaving_out(), reading(place):
            raw = self._redis.get(place.key)
            return None if raw is None else text(unpack(raw, place))
        return None

    def keep(self, job_id: str, token: int, body: str) -> Standing:
        """Keeps a checkpoint in place of the one before, if the attempt holds the job.

        Args:
            job_id: The job.
            token: The attempt.
            body: Its JSON.
        """
        return Standing(self._keep(job_id, token, SHARDS_SECONDS, pack(body)))
