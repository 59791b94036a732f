"""When schedules were used last: noted in memory for every answer, told to Redis now and then, where the unused ones are dropped."""

import asyncio
import time

import structlog
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from ays_store.retention import Retention

_TELL_SECONDS = 60.0
_SWEEP_SECONDS = 6 * 3600.0
_NAMES_MAX = 100_000
_DAY_SECONDS = 86_400.0

_log = structlog.get_logger("service")


class LastUse:
    """The tables and schedules that this process has answered with since it told Redis last."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._swept = -_SWEEP_SECONDS

    def note(self, name: str) -> None:
        """Note that a table or a schedule has answered a request.

        Args:
            name: its id.
        """
        if len(self._names) < _NAMES_MAX:
            self._names.add(name)

    async def keep(self, retention: Retention, *, days: float) -> None:
        """Tell Redis every minute, and drop what has not been used for long every six hours, until canceled.

        Args:
            retention: where it is told.
            days: days without a use; 0: nothing is dropped.
        """
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            try:
                await run_in_threadpool(self._tell, retention)
                if days and time.monotonic() - self._swept >= _SWEEP_SECONDS:
                    self._swept = time.monotonic()
                    done = await run_in_threadpool(retention.sweep, unused_seconds=days * _DAY_SECONDS)
                    if done.tables:
                        _log.info("forgot unused results", tables=done.tables, schedules=done.schedules, days=days)
            except RedisError as error:
                _log.warning("the use of schedules cannot be told", error=f"{type(error).__name__}: {error}")

    def _tell(self, retention: Retention) -> None:
        names, self._names = self._names, set()
        try:
            retention.note(names)
        except RedisError:
            self._names |= names
            raise
