"""Workers: who is alive, by heartbeats on Redis' clock."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis import Redis

from ays_store import keys
from ays_store.damage import Place, leaving_out, parsed
from ays_store.records import text
from ays_store.scripts import Script

_BEAT = """
-- ARGV: name, info, evaluations
mend(WORKERS, 'zset')
redis.call('ZADD', WORKERS, int(now()), ARGV[1])
redis.call('SET', key_worker(ARGV[1]), ARGV[2], 'PX', int(LIVE / 1000))
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', int(now() - 10 * LIVE))
if tonumber(ARGV[3]) > 0 then count('evaluations', ARGV[3]) end
return 1
"""

_LEAVE = """
-- ARGV: name, evaluations
redis.call('ZREM', WORKERS, ARGV[1])
redis.call('DEL', key_worker(ARGV[1]))
if tonumber(ARGV[2]) > 0 then count('evaluations', ARGV[2]) end
return 1
"""

_LIVE = """
local t, out = now(), {}
for _, name in ipairs(live_workers()) do
  local told = redis.pcall('GET', key_worker(name))
  out[#out + 1] = { name, type(told) == 'string' and told or '{}', int(math.max(0, t - number(redis.call('ZSCORE', WORKERS, name), t))) }
end
return out
"""


_IDLE = """
-- ARGV: worker, job
local idle = -size('ZCARD', key_jobs_in('queued'))
for _, name in ipairs(live_workers()) do
  local raw = redis.pcall('GET', key_worker(name))
  local readable, told = pcall(cjson.decode, type(raw) == 'string' and raw or '')
  local job = readable and type(told) == 'table' and type(told.info) == 'table' and told.info.job
  if name ~= ARGV[1] and (type(job) ~= 'string' or job == ARGV[2]) then idle = idle + 1 end
end
return idle
"""

_COUNT = "return size('ZCOUNT', WORKERS, int(now() - LIVE), '+inf')"


class Worker(BaseModel):
    """A live worker."""

    model_config = ConfigDict(frozen=True)

    name: str
    info: dict[str, Any]
    silent_seconds: float


class Workers:
    """The workers that have sent a heartbeat lately."""

    def __init__(self, redis: Redis) -> None:
        self._beat = Script(redis, _BEAT)
        self._leave = Script(redis, _LEAVE)
        self._live = Script(redis, _LIVE)
        self._idle = Script(redis, _IDLE)
        self._count = Script(redis, _COUNT)

    def beat(self, name: str, info: Mapping[str, str | int | float | None], *, evaluations: int = 0) -> None:
        """Says that a worker is alive.

        Args:
            name: Its name.
            info: What it has to say about itself: host, process, device, the job it runs.
            evaluations: Evaluations of denoisers since it last said so.
        """
        self._beat(name, _Info(info=dict(info)).model_dump_json(), evaluations)

    def leave(self, name: str, *, evaluations: int = 0) -> None:
        """Says that a worker ends.

        Args:
            name: Its name.
            evaluations: Evaluations of denoisers since it last said so.
        """
        self._leave(name, evaluations)

    def count(self) -> int:
        """Returns how many workers are live."""
        return int(self._count())

    def live(self) -> list[Worker]:
        """Returns the live workers, the one silent for longest first."""
        return [
            Worker(name=text(name), info=_info(text(name), info), silent_seconds=int(micros) / 1e6) for name, info, micros in self._live()
        ]

    def idle(self, name: str, job_id: str) -> int:
        """Returns how many workers have nothing to do but to help a worker with its job: no job of their own runs or waits.

        Args:
            name: Name of the worker.
            job_id: Its job.
        """
        return max(0, int(self._idle(name, job_id)))


class _Info(BaseModel):
    info: dict[str, str | int | float | None] = {}


def _info(name: str, raw: bytes) -> dict[str, str | int | float | None]:
    with leaving_out():
        return parsed(_Info, raw, Place(keys.worker(name), again="its next heartbeat writes it anew")).info
    return {}
