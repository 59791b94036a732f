"""Workers: who is alive, by heartbeats on Redis' clock."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis import Redis

from ays_store.records import text
from ays_store.scripts import Script

_BEAT = """
-- ARGV: name, info, evaluations
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
for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, int(t - LIVE), '+inf')) do
  out[#out + 1] = { name, redis.call('GET', key_worker(name)) or '{}', int(t - tonumber(redis.call('ZSCORE', WORKERS, name))) }
end
return out
"""


_IDLE = """
-- ARGV: worker, job
local t, idle = now(), -redis.call('ZCARD', key_jobs_in('queued'))
for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, int(t - LIVE), '+inf')) do
  local readable, told = pcall(cjson.decode, redis.call('GET', key_worker(name)) or '')
  local job = readable and type(told) == 'table' and type(told.info) == 'table' and told.info.job
  if name ~= ARGV[1] and (type(job) ~= 'string' or job == ARGV[2]) then idle = idle + 1 end
end
return idle
"""


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

    def live(self) -> list[Worker]:
        """Returns the live workers, the one silent for longest first."""
        return [
            Worker(name=text(name), info=_Info.model_validate_json(info).info, silent_seconds=int(micros) / 1e6)
            for name, info, micros in self._live()
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
