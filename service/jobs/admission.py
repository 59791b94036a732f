"""Admission to the queue: for whom, how urgently, and what is answered when there is no room."""

import structlog

from ays_client.contract import Job, JobRequest, Priority
from ays_client.curve import LossCurve
from ays_process.tracing import traceparent
from ays_store import Bounds, DamagedError, Origin, Queue, QueueFull, Store
from ays_store.damage import leave_out
from ays_store.origin import ANONYMOUS
from ays_store.tables import table_of
from service.access.caller import Caller
from service.problems import ProblemError
from service.settings import Settings


class JobAdmission:
    """The queue, as one caller finds it.

    Args:
        store: where jobs are.
        queue: carries them to the workers.
        settings: say how many may wait.
        caller: who asks.
    """

    def __init__(self, store: Store, queue: Queue, settings: Settings, caller: Caller) -> None:
        self._store = store
        self._queue = queue
        self._caller = caller
        # Where no key is asked for, all callers are one, and there is nobody to be fair to.
        of_owner = 0 if caller.id == ANONYMOUS else settings.queue_limit_per_key
        self._bounds = Bounds(waiting=settings.queue_limit, of_owner=of_owner)

    def take(self, request: JobRequest, priority: Priority, *, curve: LossCurve | None = None) -> Job:
        """The job of a request: answered at once from what is stored, or queued.

        Args:
            request: what is asked for.
            priority: how urgent it is.
            curve: the loss curve that it is asked for; kept when the job is taken.

        Raises:
            ProblemError: 429 or 503, it would be one job too many.
        """
        results = self._store.results
        try:
            schedule_id = results.find(request)
        except DamagedError as error:
            # What leads to the answer is lost, though its job has succeeded.
            leave_out(error)
            return self._submit(request, priority, anew=True, curve=curve)
        if schedule_id is None:
            job = self._submit(request, priority, curve=curve)
            lost = job.schedule_id is not None and not results.served(job.schedule_id)
        else:
            lost = not results.served(schedule_id)
            job = self._submit(request, priority, curve=curve) if lost else self._answered(request, schedule_id, curve)
        return self._submit(request, priority, anew=True, curve=curve) if lost and job.state.final else job

    def _answered(self, request: JobRequest, schedule_id: str, curve: LossCurve | None) -> Job:
        if curve is not None:
            self._store.results.keep_curve(curve)
        self._store.retention.note([table_of(request)])
        return self._store.jobs.answer(request, schedule_id, owner=self._caller.id)

    def _submit(self, request: JobRequest, priority: Priority, *, anew: bool = False, curve: LossCurve | None) -> Job:
        jobs, asking = self._store.jobs, _origin(self._caller.id)
        try:
            job, _ = jobs.submit(request, priority=priority, origin=asking, bounds=self._bounds, anew=anew, curve=curve)
        except QueueFull as full:
            raise self._refused(full) from full
        # Not only a new one: whoever queued it before may have died before this line. Once per delivery, however often it is called.
        self._queue.enqueue(job.id)
        return job

    def _refused(self, full: QueueFull) -> ProblemError:
        wait, headers = f"try again in {full.wait_seconds} s", {"retry-after": str(full.wait_seconds)}
        if full.of_owner:
            return ProblemError(
                429,
                "too many jobs of this API key are waiting",
                received=f"one more than {full.waiting} that wait",
                expected=f"at most {self._bounds.of_owner} jobs of a key in the queue",
                fix=f"{wait}, or cancel some that wait",
                headers=headers,
            )
        return ProblemError(
            503,
            "the queue is full",
            received=f"one more than {full.waiting} jobs that wait",
            expected=f"at most {self._bounds.waiting} jobs in the queue",
            fix=f"{wait}; operators: more workers, or a larger AYS_QUEUE_LIMIT",
            headers=headers,
        )


def _origin(owner: str) -> Origin:
    """Id and trace of the request that is being answered."""
    return Origin(structlog.contextvars.get_contextvars().get("request_id", ""), traceparent(), owner)
