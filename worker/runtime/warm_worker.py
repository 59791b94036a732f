"""The warm worker: runs jobs in this process, one after the other, so that models stay in memory.

RQ's own worker of that kind neither renews the lease of a running job nor stops one; here the heartbeat renews it, and the drain
event stops it between two batches. RQ's maintenance is left to the reaper, its remote commands to nobody.
"""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.queue import Queue as RQQueue
from rq.utils import now
from rq.worker import SimpleWorker
from rq.worker.base import WorkerStatus

from ays_store.fair_queue import FairQueue
from ays_store.queue import KEPT_SECONDS, QUEUE, SERIALIZER, JobFunction, allowed

_WORKER_TTL = 20
"""RQ listens for this long less 15 s at a time, and takes silence of this long plus a minute for death."""

_REFUSED_SECONDS = 1.0

_log = structlog.stdlib.get_logger(__name__)


class WarmWorker(SimpleWorker):
    """A worker of one queue, with the table of its job functions."""

    def __init__(
        self,
        redis: Redis,
        *,
        name: str,
        functions: dict[str, JobFunction],
        job_seconds: int,
        lease_seconds: float,
        drain: threading.Event,
    ) -> None:
        """Prepares the worker.

        Args:
            redis: A patient client.
            name: Name of the worker.
            functions: Job functions by their names; nothing else is ever called.
            job_seconds: How long a job may run.
            lease_seconds: How long RQ believes in a job without a sign of life.
            drain: Set here when the process is asked to end.
        """
        job_class = allowed(functions)
        queue = FairQueue(QUEUE, connection=redis, job_class=job_class, serializer=SERIALIZER)
        super().__init__(
            [queue],
            name=name,
            connection=redis,
            queue_class=FairQueue,
            job_class=job_class,
            serializer=SERIALIZER,
            worker_ttl=_WORKER_TTL,
        )
        self._job_seconds = job_seconds
        self._lease = max(1, int(lease_seconds))
        self._drain = drain
        self._running: tuple[RQJob, Execution] | None = None

    def get_heartbeat_ttl(self, job: RQJob, working_time: float = 0.0) -> int:
        """Seconds until RQ takes silence for death."""
        del job, working_time
        return self._lease

    def execute_job(self, job: RQJob, queue: RQQueue) -> None:
        """Runs a job here; how it may run is the worker's decision, not that of who wrote it into Redis."""
        job.timeout, job.result_ttl, job.failure_ttl = self._job_seconds, 0, KEPT_SECONDS
        job.retries_left = job.repeats_left = job.group_id = None
        try:
            self._execute(job, queue)
        except ResponseError as error:
            # The job has told its own story; this is RQ's bookkeeping, which the reaper puts right.
            _log.warning("Redis refuses RQ's bookkeeping", rq_job=job.id, error=str(error))

    def _execute(self, job: RQJob, queue: RQQueue) -> None:
        execution = self.prepare_execution(job)
        self._running = (job, execution)
        try:
            self.perform_job(job, queue, execution)
        finally:
            self._running = None
        self.set_state(WorkerStatus.IDLE)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> tuple[RQJob, RQQueue] | None:
        """Waits for a job, also while Redis refuses to be written to: full, or a replica for the moment.

        Args:
            timeout: Seconds that RQ listens at a time.
            max_idle_time: Seconds after which an idle worker ends; None: never.
        """
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except ResponseError as error:
                _log.error("Redis refuses to be written to; waiting", error=str(error))
                time.sleep(_REFUSED_SECONDS)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
                # Taken from the queue already: the reaper drops it.
                _log.warning("job refused: it is none that RQ has written", error=f"{type(error).__name__}: {str(error)[:200]}")

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Tells RQ that the worker is alive; if Redis refuses, it will hear it later.

        Args:
            timeout: Seconds until RQ takes silence for death.
            pipeline: Where to put the commands instead of sending them.
        """
        try:
            super().heartbeat(timeout, pipeline)
        except ResponseError as error:
            _log.warning("Redis refuses the heartbeat for RQ", error=str(error))

    def break_off(self) -> None:
        """Ends the worker after the running job, without having been asked to."""
        self._stop_requested = True

    def keep_alive(self) -> None:
        """Renews what RQ knows of the running job; called by the heartbeat."""
        running = self._running
        if running is not None:
            self.maintain_heartbeats(*running)

    def run_maintenance_tasks(self) -> None:
        """Does nothing: the reaper does it, more often."""
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def subscribe(self) -> None:
        """Does nothing: whoever can write to Redis could end us by RQ's commands; jobs are canceled through the store."""

    def check_for_suspension(self, burst: bool) -> None:
        """Does nothing: suspending all workers is another of RQ's commands, and asking for it writes to Redis."""

    def register_death(self) -> None:
        """Tells RQ that the worker ends; if Redis refuses, the record runs out by itself."""
        try:
            super().register_death()  # type: ignore[no-untyped-call]
        except ResponseError as error:
            _log.warning("Redis refuses the goodbye for RQ", error=str(error))

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Ends the worker: at once when it is idle, else when its job has come to a stop between two batches.

        Args:
            signum: The signal.
            frame: Where it has interrupted the main thread.

        Raises:
            StopRequested: If the worker is idle.
        """
        del frame
        if self._drain.is_set():
            # Asked twice, by somebody who does not want to wait. The lease runs out by itself.
            os._exit(128 + signum)
        self._drain.set()
        self._stop_requested = True
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGINT, self.request_stop)
        signal.signal(signal.SIGTERM, self.request_stop)

    def handle_exception(self, job: RQJob, *exc_info: Any) -> None:
        """Logs what a job raised; jobs of ours catch their own errors, so this one was not one of them.

        Args:
            job: The job.
            *exc_info: What was raised.
        """
        _log.error("job refused", rq_job=job.id[:100], error=str(exc_info[1])[:500] or type(exc_info[1]).__name__)
