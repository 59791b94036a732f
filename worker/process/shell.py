"""The shell of a worker: one process, one queue, one job at a time, and the threads that keep it honest."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from ays_client.contract import Model
from ays_client.version import VERSION
from ays_process.environment import BAD_CONFIGURATION
from ays_process.tracing import Tracing
from ays_store import Queue, SchemaError, Store
from ays_store.queue import MEASURE, OPTIMIZE
from worker.process import exits
from worker.process.settings import Settings
from worker.process.watchdog import Watchdog
from worker.runtime.drain import Drain
from worker.runtime.heartbeat import Heartbeat, Info
from worker.runtime.helper import Helper, MeasureShard
from worker.runtime.jobs import Compute, Optimizer
from worker.runtime.reaper import Reaper
from worker.runtime.warm_models import WarmModels
from worker.runtime.warm_worker import WarmWorker

if TYPE_CHECKING:
    from worker.models.loaded import LoadedModel

_log = structlog.stdlib.get_logger(__name__)


class Shell:
    """A worker process."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        models: Sequence[Model],
        load: "Callable[[str], LoadedModel]",
        compute: Compute,
        measure_shard: MeasureShard,
        device: str,
        supervisor: int | None = None,
    ) -> None:
        """Connects the parts; nothing runs yet.

        Args:
            settings: Configuration.
            name: The name of this worker, like no other's.
            models: What the worker offers.
            load: Loads a model.
            compute: Turns a request and a model into profile and schedules.
            measure_shard: Measures a part of that profile for another worker's job.
            device: What it computes on, for people.
            supervisor: Process id of our parent, without which we end; None: nobody keeps us.
        """
        self.name = name
        self._settings = settings
        self._models = models
        # The other half is for giving the job back, and for what cannot stop at once.
        self._drain = Drain(finish_seconds=settings.drain_seconds / 2)
        self._store = Store.open(settings.redis_url, patient=True, lease_seconds=settings.lease_seconds)
        self._telling = Store.open(settings.redis_url, lease_seconds=settings.lease_seconds)
        self._load = load
        self._compute = compute
        self._supervisor = supervisor
        self._measure_shard = measure_shard
        self._tracing = Tracing.of_environment("ays-worker", VERSION)
        self._info: Info = {"host": socket.gethostname(), "pid": os.getpid(), "device": device, "version": VERSION, "since": time.time()}

    def run(self) -> int:
        """Works until it is asked to end.

        Returns:
            The exit status: 0 after SIGTERM or SIGINT, else as `worker.process.exits` says.
        """
        if not self._reachable():
            return exits.NO_REDIS
        try:
            self._store.check_schema()
        except SchemaError as error:
            _log.critical(str(error))
            return BAD_CONFIGURATION
        worker, heartbeat = self._connect()
        reaper = self._reaper()
        self._watchdog(heartbeat).start()
        self._telling.models.publish(self._models, source=self._settings.source)
        heartbeat.beat()
        heartbeat.start()
        reaper.start()
        _log.info("worker ready", worker=self.name, models=[model.id for model in self._models], **self._info)
        try:
            worker.work(logging_level=None)
        except StopRequested:
            # The signal came between two commands of RQ's own loop.
            _log.info("worker asked to end")
        finally:
            reaper.end()
            heartbeat.end()
            self._tracing.close()
        asked = self._drain.is_set()
        _log.log(20 if asked else 40, "worker ended" if asked else "worker broke", worker=self.name)
        return 0 if asked else exits.BROKEN

    def _connect(self) -> tuple[WarmWorker, Heartbeat]:
        settings, every = self._settings, self._settings.lease_seconds / 5
        heartbeat = Heartbeat(self._telling, name=self.name, info=self._info, every_seconds=every)
        models = WarmModels(self._load, size=settings.warm_models)
        optimizer = Optimizer(
            worker=self.name,
            store=self._store,
            telling=self._telling,
            queue=Queue(self._store.redis),
            heartbeat=heartbeat,
            models=models,
            compute=self._compute,
            drain=self._drain,
            break_off=lambda: worker.break_off(),
            tracing=self._tracing,
        )
        helper = Helper(
            worker=self.name,
            store=self._store,
            heartbeat=heartbeat,
            models=models,
            measure_shard=self._measure_shard,
            drain=self._drain,
            break_off=lambda: worker.break_off(),
            tracing=self._tracing,
        )
        worker = WarmWorker(
            self._store.redis,
            name=self.name,
            # All that a string in Redis can make this process do.
            functions={OPTIMIZE: optimizer.optimize, MEASURE: helper.measure},
            job_seconds=settings.job_seconds,
            lease_seconds=settings.lease_seconds,
            drain=self._drain,
        )
        heartbeat.keep_alive(worker.keep_alive)
        return worker, heartbeat

    def _reaper(self) -> Reaper:
        lease = self._settings.lease_seconds
        return Reaper(self._telling, Queue(self._telling.redis), every_seconds=lease / 5, lease_seconds=lease)

    def _watchdog(self, heartbeat: Heartbeat) -> Watchdog:
        return Watchdog(
            lease=lambda: heartbeat.lease,
            drain=self._drain,
            job_seconds=self._settings.job_seconds,
            drain_seconds=self._settings.drain_seconds,
            supervisor=self._supervisor,
        )

    def _reachable(self) -> bool:
        end = time.monotonic() + self._settings.wait_seconds
        while True:
            try:
                self._telling.ping()
            except RedisError as error:
                if time.monotonic() > end:
                    fix = "check AYS_REDIS_URL (not shown: it may hold a password) and that Redis is up"
                    _log.critical("no Redis", received=str(error), expected="an answer to PING", fix=fix)
                    return False
                time.sleep(0.5)
            else:
                return True
