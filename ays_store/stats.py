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

_STATS = """
-- ARGV: lost (microseconds that a lease is overdue), stored states
local t = now()
local states = {}
for i = 2, #ARGV do states[#states + 1] = size('ZCARD', key_jobs_in(ARGV[i])) end
local names, busy = live_workers(), 0
for _, name in ipairs(names) do
  local raw = redis.pcall('GET', key_worker(name))
  local readable, told = pcall(cjson.decode, type(raw) == 'string' and raw or '')
  if readable and type(told) == 'table' and type(told.info) == 'table' and type(told.info.job) == 'string' then busy = busy + 1 end
end
local waiting = {}
for priority in pairs(WEIGHTS) do
  local oldest = redis.pcall('ZRANGE', key_waiting_as(priority), 0, 0, 'WITHSCORES')
  local since = oldest[2] and int(math.max(0, t - number(oldest[2], t))) or '0'
  waiting[#waiting + 1] = { priority, size('ZCARD', key_waiting_as(priority)), since }
end
local counters = redis.pcall('HGETALL', COUNTERS)
return {
  states,
  size('ZCOUNT', LEASES, '-inf', '(' .. int(t - tonumber(ARGV[1]))),
  waiting,
  #names,
  busy,
  counters.err and {} or counters,
  size('ZCARD', DELIVERIES),
}
"""

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
        self._stats = Script(redis, _STATS)

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
