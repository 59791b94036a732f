"""The queue: RQ as the carrier of job ids, and nothing else.

A queued job is a string in RQ: JSON, the name of a job function and our job id. RQ would import and call any dotted path it
finds there; ours looks names up in the worker's own table. Each time a job is queued it gets a new delivery number, and with it
a new RQ id: enqueuing twice makes one RQ job, and what RQ has kept of an earlier delivery is not in the way.
"""

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue as RQQueue
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job as RQJob
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.worker_registration import clean_worker_registry

from ays_store import keys
from ays_store.records import text
from ays_store.scripts import Script

QUEUE = "ays"
"""Name of the queue."""

OPTIMIZE = "optimize"
"""Name of the job function that computes schedules; its one argument is a job id."""

MEASURE = "measure"
"""Name of the job function that measures a shard for the worker of a running job; its one argument is the id of that job."""

SERIALIZER = "json"

JOB_SECONDS = 6 * 3600
"""How long a job may run, unless the worker's settings say something else."""

KEPT_SECONDS = 3600
"""How long RQ keeps what has failed; our record of a job says why."""

_LARGEST = 64 * 1024
"""Bytes of a job in RQ; ours have some hundred."""

_LONGEST = 100

_log = logging.getLogger(__name__)

JobFunction = Callable[[str], None]


class Refused(Exception):
    """A job in RQ that nobody of ours has put there."""


class AllowedJob(RQJob):
    """A job of RQ that can only call the functions of a table; a subclass holds the table of a worker."""

    functions: ClassVar[Mapping[str, JobFunction]] = {}

    def restore(self, raw_data: Any) -> Any:
        """Reads a job; what cannot be read, or is too large, does not exist, instead of taking the worker down."""
        try:
            _check_size(raw_data)
            # They are not sent, and RQ would tell at length of those that it cannot read.
            return super().restore({name: value for name, value in raw_data.items() if name not in {b"webhooks", "webhooks"}})
        except Exception as error:
            reason = _short(str(error) or type(error).__name__)
            msg = f"refused RQ job {_short(self.id)}: it cannot be read ({reason}), expected one written by RQ"
            _log.warning(msg)
            raise NoSuchJobError(msg) from None

    def refresh(self) -> None:
        """Reads a job anew; a key of another type does not hold one."""
        try:
            super().refresh()  # type: ignore[no-untyped-call]
        except ResponseError as error:
            msg = f"refused RQ job {_short(self.id)}: its key is of another type"
            _log.warning(msg)
            raise NoSuchJobError(msg) from error

    @property
    def func(self) -> JobFunction:
        """The function to call.

        Raises:
            Refused: If the job asks for anything but a function of the table with a job id.
        """
        if self.instance is not None or self._success_callback_name or self._failure_callback_name or self._stopped_callback_name:
            self._refuse("an instance or a callback")
        function = self.functions.get(self.func_name or "")
        if function is None:
            self._refuse(f"the function {_short(repr(self.func_name))}")
        if self.kwargs or len(self.args) != 1 or not isinstance(self.args[0], str):
            self._refuse(f"the arguments {_short(self.args)} {_short(self.kwargs)}")
        return function

    @property
    def success_callback(self) -> None:
        """None: a callback is a name that RQ would import."""

    @property
    def failure_callback(self) -> None:
        """None: a callback is a name that RQ would import."""

    @property
    def stopped_callback(self) -> None:
        """None: a callback is a name that RQ would import."""

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """Does nothing: a web hook is a request that somebody else writes."""

    def _refuse(self, received: str) -> NoReturn:
        msg = f"refused RQ job {_short(self.id)}: received {received}, expected one of {sorted(self.functions)} with one job id"
        raise Refused(msg)


def _check_size(fields: Mapping[bytes | str, bytes]) -> None:
    """Whether the fields of a job are as small as ours are, inflated, too.

    Raises:
        ValueError: They are not.
    """
    size = sum(len(value) for value in fields.values())
    for value in fields.values():
        with suppress(zlib.error):
            size += len(zlib.decompressobj().decompress(value, _LARGEST))
    if size >= _LARGEST:
        msg = f"it has {_LARGEST} bytes or more"
        raise ValueError(msg)


def _short(value: object) -> str:
    """A value for a message: what a stranger has written may be of any length."""
    words = str(value)
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def allowed(functions: Mapping[str, JobFunction]) -> type[AllowedJob]:
    """Returns the class of jobs that can call these functions and no others.

    Args:
        functions: Job functions by their names.
    """
    return type("AllowedJob", (AllowedJob,), {"functions": dict(functions)})


class Queue:
    """The queue of a Redis, as those who put jobs into it see it."""

    def __init__(self, redis: Redis, *, name: str = QUEUE) -> None:
        self._redis: Any = redis
        self._queue = RQQueue(name, connection=redis, job_class=AllowedJob, serializer=SERIALIZER)
        self._missing = Script(redis, "queue/missing")

    def enqueue(self, job_id: str) -> bool:
        """Puts a queued job into RQ; however often and by whom it is called, once per delivery.

        Args:
            job_id: The job.

        Returns:
            Whether this call has put it there.
        """
        state, delivery = self._redis.hmget(keys.job(job_id), "state", "delivery")
        return state == b"queued" and self._put(OPTIMIZE, job_id, rq_id=f"{job_id}-{text(delivery)}")

    def call_for_help(self, job_id: str, token: int, shards: Sequence[str]) -> list[str]:
        """Asks other workers to measure shards for a running job: one call for each, which is answered by measuring any of them.

        Args:
            job_id: The job.
            token: The attempt at it.
            shards: Their names.

        Returns:
            The calls, for `withdraw`.
        """
        calls = [f"{job_id}-{token}-{shard}" for shard in shards]
        for call in calls:
            self._put(MEASURE, job_id, rq_id=call)
        return calls

    def withdraw(self, calls: Sequence[str]) -> None:
        """Takes the calls back that nobody has answered.

        Args:
            calls: What `call_for_help` has returned.
        """
        with self._redis.pipeline() as pipeline:
            for call in calls:
                pipeline.lrem(self._queue.key, 0, call)
            gone = pipeline.execute() if calls else []
            for call in (call for call, removed in zip(calls, gone, strict=True) if removed):
                pipeline.delete(AllowedJob.key_for(call))
            pipeline.execute()

    def _put(self, function: str, job_id: str, *, rq_id: str) -> bool:
        try:
            self._queue.enqueue_call(
                function,
                args=(job_id,),
                job_id=rq_id,
                timeout=JOB_SECONDS,
                result_ttl=0,
                failure_ttl=KEPT_SECONDS,
                description=f"{function} {job_id}",
                unique=True,
            )
        except DuplicateJobError:
            return False
        return True

    def reconcile(self, *, grace_seconds: float) -> list[str]:
        """Enqueues the jobs that are queued by our records and in no queue: who should have enqueued or run them died.

        Args:
            grace_seconds: How long a job has to be seen missing; a worker that has just taken it needs a moment to start it.

        Returns:
            Ids of the jobs.
        """
        found = [text(raw) for raw in self._missing(self._queue.key, int(grace_seconds * 1e6))]
        for old in found[1::2]:
            self._drop(old)
        for job_id in found[::2]:
            self.enqueue(job_id)
        return found[::2]

    def sweep(self) -> None:
        """Drops what RQ keeps of workers that died: executions, workers, ids that were taken from the queue and never started."""
        StartedJobRegistry(queue=self._queue, job_class=AllowedJob).cleanup()
        FailedJobRegistry(queue=self._queue, job_class=AllowedJob).cleanup()
        clean_worker_registry(self._queue)
        for raw in self._redis.lrange(self._queue.intermediate_queue_key, 0, 99):
            job_id, _, delivery = text(raw).rpartition("-")
            if self._redis.hmget(keys.job(job_id), "state", "delivery") not in (
                [b"queued", delivery.encode()],
                [b"running", delivery.encode()],
            ):
                self._drop(raw)

    def __len__(self) -> int:
        """Number of jobs that wait in RQ."""
        return int(self._redis.llen(self._queue.key))

    def _drop(self, rq_id: str | bytes) -> None:
        with self._redis.pipeline() as pipeline:
            # As it is there: what is not UTF-8 has no other name.
            pipeline.lrem(self._queue.intermediate_queue_key, 0, rq_id)
            pipeline.delete(AllowedJob.key_for(text(rq_id)))
            pipeline.execute()
