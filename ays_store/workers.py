"""Workers: who is alive, by heartbeats on Redis' clock."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis import Redis

from ays_store import keys
from ays_store.damage import Place, leaving_out, parsed
from ays_store.records import text
from ays_store.scripts import Script


class Worker(BaseModel):
    """A live worker."""

    model_config = ConfigDict(frozen=True)

    name: str
    info: dict[str, Any]
    silent_seconds: float


class Workers:
    """The workers that have sent a heartbeat lately."""

    def __init__(self, redis: Redis) -> None:
        self._beat = Script(redis, "workers/beat")
        self._leave = Script(redis, "workers/leave")
        self._live = Script(redis, "workers/live")
        self._idle = Script(redis, "workers/idle")
        self._count = Script(redis, "workers/count")

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
