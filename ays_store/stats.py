"""What operators watch: how much there is of everything right now, and what has been done since the beginning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from ays_client.contract import JobState, Priority
from ays_store import keys
from ays_store.damage import DamagedError, Place, leave_out
from ays_store.limits import LOST_SECONDS
from ays_store.records import text
from ays_store.redis_settings import mistakes_in
from ays_store.scripts import Script

_DIGITS = 20

_STORED = [state for state in JobState if state is not JobState.LOST]


@dataclass(frozen=True)
class Stats:
    """A look at everything.

    Attributes:
        jobs: jobs by the state that the API shows, those of the last month.
        queued: jobs that wait in the queue, by priority.
        oldest_seconds: age of the job that has waited for longest, by priority; 0 when none waits.
        workers: live workers.
        busy: those of them that say they work on a job.
        memory_bytes: memory that Redis uses.
        memory_limit_bytes: memory that it may use, 0 for no limit.
        counters: what has been done since this Redis was set up, by the fields that `docs/redis.md` lists; a missing one is 0.
        webhooks: messages of ended jobs that have not arrived at their receivers.
        mistakes: kinds of settings of Redis that are wrong.
    """

    jobs: Mapping[JobState, int]
    queued: Mapping[Priority, int]
    oldest_seconds: Mapping[Priority, float]
    workers: int
    busy: int
    memory_bytes: int
    memory_limit_bytes: int
    counters: Mapping[str, int]
    webhooks: int
    mistakes: frozenset[str] = frozenset()


class Census:
    """Takes the stats; a handful of commands, however much is stored."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._stats = Script(redis, "stats/stats")

    def take(self) -> Stats:
        """Returns the stats of now.

        Raises:
            redis.RedisError: If Redis does not answer.
        """
        sizes, lost, waiting, workers, busy, counters, webhooks = self._stats(int(LOST_SECONDS * 1e6), *_STORED)
        jobs = dict(zip(_STORED, sizes, strict=True))
        info = self._redis.info()
        return Stats(
            jobs={**jobs, JobState.RUNNING: max(0, jobs[JobState.RUNNING] - lost), JobState.LOST: lost},
            queued={Priority(text(priority)): number for priority, number, _ in waiting},
            oldest_seconds={Priority(text(priority)): int(oldest) / 1e6 for priority, _, oldest in waiting},
            workers=workers,
            busy=busy,
            memory_bytes=info["used_memory"],
            memory_limit_bytes=info["maxmemory"],
            mistakes=frozenset(mistake.kind for mistake in mistakes_in(info)),
            counters=dict(_counters(counters)),
            webhooks=webhooks,
        )


def _counters(flat: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        if value.isdigit() and len(value) < _DIGITS:
            yield text(name), int(value)
        else:
            leave_out(DamagedError(Place(keys.COUNTERS, text(name)), received="no whole number", expected="a count"))
