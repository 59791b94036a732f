"""Shards: the parts of a profile in the making, which any worker may measure for all jobs that need them.

A shard is a range of paths, named `first-last` (the last one not in it): a function of the variant, the weights and that range, so
whoever measures it gets the same. What is wanted is offered; a worker takes one shard at a time, for as long as its lease lasts, and
the first body that comes in stands. Several jobs that need the same profile share its shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from ays_store import keys
from ays_store.bodies import pack, unpack
from ays_store.damage import Place, leaving_out, reading
from ays_store.limits import HELPERS_MAX, LEASE_SECONDS, SHARDS_SECONDS
from ays_store.records import text
from ays_store.scripts import Script
from ays_store.standing import Standing


@dataclass(frozen=True)
class Measurement:
    """A variant as it is measured with certain weights.

    Attributes:
        profile_id: the profile that is made of its shards.
        fingerprint: the weights; what was measured with others never mixes.
    """

    profile_id: str
    fingerprint: str

    @property
    def name(self) -> str:
        """Its name in keys."""
        return f"{self.profile_id}/{self.fingerprint}"

    def field(self, shard: str) -> str:
        """The field of a shard among all shards of the profile."""
        return f"{self.fingerprint}/{shard}"


class Shards:
    """The shards in Redis."""

    def __init__(self, redis: Redis, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._redis: Any = redis
        self._lease = int(lease_seconds * 1e6)
        self._offer = Script(redis, "shards/head", "shards/offer")
        self._take = Script(redis, "shards/head", "shards/take")
        self._renew = Script(redis, "shards/head", "shards/renew")
        self._keep = Script(redis, "shards/head", "shards/keep")
        self._hand_back = Script(redis, "shards/head", "shards/hand_back")
        self._withdraw = Script(redis, "shards/head", "shards/withdraw")

    def read(self, of: Measurement, shards: Sequence[str]) -> dict[str, str]:
        """Returns those of some shards that are finished, as JSON by name; '' for a damaged one, which has to be measured again.

        Args:
            of: The measurement.
            shards: Their names.
        """
        found = self._redis.hmget(keys.shards(of.profile_id), [of.field(shard) for shard in shards]) if shards else []
        return {shard: self._body(of, shard, raw) for shard, raw in zip(shards, found, strict=True) if raw is not None}

    @staticmethod
    def _body(of: Measurement, shard: str, raw: bytes) -> str:
        with leaving_out():
            return text(unpack(raw, Place(keys.shards(of.profile_id), of.field(shard))))
        return ""

    def edition(self, of: Measurement, model: str) -> bytes:
        """Returns what is another value as soon as a job has stored the whole profile anew.

        Args:
            of: The measurement.
            model: Id of its model.
        """
        place = Place(keys.variants(model), of.profile_id)
        with leaving_out(), reading(place):
            return self._redis.hget(place.key, place.field) or b""
        return b""

    def offer(self, of: Measurement, model: str, shards: Sequence[str], *, edition: bytes = b"") -> list[str] | None:
        """Says that some shards are wanted; to say it again changes nothing.

        Args:
            of: The measurement.
            model: Id of its model.
            shards: Their names.
            edition: That of a stored profile that will not do; empty: whatever is stored will.

        Returns:
            Those that are finished already; None, and nothing is offered, when another job has stored a whole profile meanwhile.
        """
        found = self._offer(of.profile_id, of.fingerprint, SHARDS_SECONDS, model, edition, *shards)
        return None if found is None else [text(shard) for shard in found]

    def withdraw(self, of: Measurement, shards: Sequence[str]) -> None:
        """Says that some shards are not wanted any more; who is at one goes on.

        Args:
            of: The measurement.
            shards: Their names.
        """
        if shards:
            self._withdraw(of.profile_id, of.fingerprint, SHARDS_SECONDS, *shards)

    def wanted(self, of: Measurement) -> bool:
        """Returns whether any shard of a measurement is wanted and not finished."""
        return bool(self._redis.exists(keys.open_shards(of.name)))

    def take(self, of: Measurement, job_id: str, worker: str, shards: Sequence[str] = ()) -> str | None:
        """Takes a shard that nobody is measuring, or whose worker has died, for as long as the lease lasts.

        Args:
            of: The measurement.
            job_id: The running job for which it is measured.
            worker: Name of the worker.
            shards: What the job's own worker chooses from. Left out: whatever is wanted, as a helper; it gets no shard that two
                helpers have died of or given up, that is left to the job's own worker.

        Returns:
            The shard's name; None when there is none to take.
        """
        found = self._take(of.profile_id, of.fingerprint, SHARDS_SECONDS, job_id, worker, self._lease, HELPERS_MAX, *shards)
        return None if found is None else text(found)

    def renew(self, of: Measurement, job_id: str, worker: str, shard: str) -> Standing:
        """Renews the lease of a shard.

        Returns:
            `STALE` when the job has ended or the shard was given to another, `CANCEL` when the job is to stop.
        """
        return Standing(self._renew(of.profile_id, of.fingerprint, SHARDS_SECONDS, job_id, worker, self._lease, shard))

    def keep(self, of: Measurement, shard: str, body: str) -> bool:
        """Keeps a finished shard, until the profile is committed.

        Args:
            of: The measurement.
            shard: Its name.
            body: Its JSON.

        Returns:
            Whether this body stands: not when another came first, or the profile is committed.
        """
        return bool(self._keep(of.profile_id, of.fingerprint, SHARDS_SECONDS, shard, pack(body)))

    def hand_back(self, of: Measurement, worker: str, shard: str, *, failed: bool = False) -> None:
        """Gives a shard back that could not be finished.

        Args:
            of: The measurement.
            worker: Name of the worker that has taken it.
            shard: Its name.
            failed: Whether measuring it failed: then it is left to the worker of its job, whose failure is the job's.
        """
        self._hand_back(of.profile_id, of.fingerprint, SHARDS_SECONDS, worker, shard, HELPERS_MAX if failed else 0)
