"""Jobs: the state machine `queued -> running -> succeeded | failed | canceled`, one atomic script per arrow.

An attempt that starts a job gets a token; whatever it reports or ends later is refused once the job has been given to
another attempt. A job is the content address of its request, so submitting twice finds the job of the first time.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis

from ays_client.contract import Job, JobRequest, JobState, Priority, Progress, identity
from ays_client.curve import LossCurve
from ays_store import keys
from ays_store.bodies import pack
from ays_store.bounds import UNBOUNDED, Bounds, QueueFull, wait_seconds
from ays_store.damage import DamagedError, Place, leave_out, reading
from ays_store.events import Events
from ays_store.limits import ATTEMPTS_MAX, LEASE_SECONDS, RECORDS_SECONDS
from ays_store.origin import ANONYMOUS, NOWHERE, Origin
from ays_store.records import Snapshot, job_from, jobs_from, text
from ays_store.scripts import Script
from ays_store.standing import Standing

AGAIN, ANEW = "again", "anew"
"""Beyond what is new, failed or canceled: a job that has succeeded starts over; whatever there is of it goes first."""


_TRIES = 4
"""Reads for a page."""


class NotAskedError(Exception):
    """Somebody wants to stop a job of others."""


class Jobs:
    """The jobs in Redis."""

    def __init__(self, redis: Redis, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._redis = redis
        self._lease = int(lease_seconds * 1e6)
        self.events = Events(redis)
        self._read = Script(redis, "jobs/read")
        self._page = Script(redis, "jobs/page")
        self._submit = Script(redis, "jobs/outdated", "jobs/submit")
        self._answer = Script(redis, "jobs/outdated", "jobs/answer")
        self._start = Script(redis, "jobs/start")
        self._report = Script(redis, "jobs/report")
        self._end = Script(redis, "jobs/end")
        self._release = Script(redis, "jobs/release")
        self._cancel = Script(redis, "jobs/cancel")
        self._reap = Script(redis, "jobs/bury", "jobs/reap")
        self._give_up = Script(redis, "jobs/bury", "jobs/give_up")
        self._died = Script(redis, "jobs/bury", "jobs/died")
        self._forget = Script(redis, "jobs/forget")

    def submit(
        self,
        request: JobRequest,
        *,
        priority: Priority = Priority.INTERACTIVE,
        origin: Origin = NOWHERE,
        bounds: Bounds = UNBOUNDED,
        anew: bool = False,
        curve: LossCurve | None = None,
    ) -> tuple[Job, bool]:
        """Creates the job of a request, or returns the one there is.

        A failed or canceled job starts over, as does a succeeded one whose model has other weights by now. One that waits gets the
        higher priority, and the better of its turn and the one that this submission would have alone.

        Args:
            request: What is asked for.
            priority: How urgent it is.
            origin: Who asks; kept when the job is created or restarted by this call.
            bounds: How many jobs may wait already, when this call would add one.
            anew: Whether a job that has succeeded starts over, too: its schedule is lost.
            curve: The loss curve that it is asked for; kept with the job, or not at all.

        Returns:
            The job, and whether it was created or restarted by this call: then, and only then, it wants to be enqueued.

        Raises:
            QueueFull: If there are as many; nothing has changed then.
        """
        body, asked = request.model_dump_json(), (origin.request_id, origin.traceparent, origin.owner)
        arguments = (identity(request), body, request.model, *asked, priority, bounds.waiting, bounds.of_owner)
        kept = ("" if curve is None else pack(curve.rising().model_dump_json()), int(RECORDS_SECONDS))
        try:
            return _submitted(*self._submit(*arguments, AGAIN if anew else "", *kept))
        except DamagedError as error:
            _told_of_record(error, arguments[0])
            return _submitted(*self._submit(*arguments, ANEW, *kept))

    def answer(self, request: JobRequest, schedule_id: str, *, owner: str = ANONYMOUS) -> Job:
        """Records a job as succeeded at once, because the cache holds its answer; a running or succeeded job stays as it is,
        unless it succeeded with other weights than the model has now.

        Args:
            request: What is asked for.
            schedule_id: The schedule that answers it.
            owner: Who asks.
        """
        arguments = (identity(request), request.model_dump_json(), request.model, schedule_id)
        try:
            return _there(self._answer(*arguments, "", owner))
        except DamagedError as error:
            _told_of_record(error, arguments[0])
            return _there(self._answer(*arguments, ANEW, owner))

    def get(self, job_id: str) -> Job | None:
        """Returns a job, or None when there is none of that id.

        Raises:
            DamagedError: Its record is damaged.
        """
        return job_from(self._read(job_id))

    def origin(self, job_id: str) -> Origin:
        """Returns where a job came from; `NOWHERE` when that is not known."""
        redis: Any = self._redis
        with reading(Place(keys.job(job_id))):
            found = redis.hmget(keys.job(job_id), "request_id", "traceparent", "owner")
        request_id, traceparent, owner = (text(value or b"") for value in found)
        return Origin(request_id, traceparent, owner or ANONYMOUS)

    def list(
        self,
        state: JobState | None = None,
        model: str | None = None,
        *,
        owner: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], str | None]:
        """Returns a page of jobs, newest first, and the cursor of the next page (None: this is the last).

        Args:
            state: Only jobs in this state.
            model: Only jobs of this model.
            owner: Only jobs that this owner has asked for.
            cursor: Where the page begins: what an earlier call returned; None for the newest job.
            limit: Jobs in a page, 1 or more.

        Raises:
            ValueError: If the cursor is not one of ours.
        """
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            msg = f"cursor={cursor!r} is not a cursor; expected the value of the page before, or none for the first page"
            raise ValueError(msg)
        index, position = _index(state, model) if owner is None else keys.jobs_by(owner), cursor or ""
        page: list[Job] = []
        # A lost job is a running one in the index, and told apart only here, as are states and models in the list of an owner. A page that
        # is not full after some tries ends where it is: what it costs does not depend on how many there are.
        for _ in range(_TRIES):
            rows = self._page(index, position, limit + 1 - len(page))
            found = jobs_from(rows[1:])
            page += [job for job in found if state in {None, job.state} and model in {None, job.request.model}]
            position = text(rows[0])
            if not position or len(page) > limit:
                break
        if len(page) > limit:
            return page[:limit], str(_micros(page[limit - 1]))
        return page, str(int(float(position))) if position else None

    def start(self, job_id: str, worker: str) -> int | None:
        """Takes a queued job, for as long as the lease lasts.

        Args:
            job_id: The job.
            worker: Name of the worker that takes it.

        Returns:
            The token of this attempt; None when the job is not queued (any more).
        """
        token = self._start(job_id, worker, self._lease)
        return None if token is None else int(token)

    def report(self, job_id: str, token: int, progress: Progress) -> Standing:
        """Stores the progress of an attempt, announces it and renews the lease."""
        return Standing(self._report(job_id, token, self._lease, progress.model_dump_json()))

    def renew(self, job_id: str, token: int) -> Standing:
        """Renews the lease of an attempt."""
        return Standing(self._report(job_id, token, self._lease, ""))

    def fail(self, job_id: str, token: int, error: str) -> bool:
        """Ends an attempt as failed, for good; False when the attempt does not own the job any more.

        Args:
            job_id: The job.
            token: The attempt.
            error: Why, in words for the person who asked.
        """
        return bool(self._end(job_id, token, JobState.FAILED, error))

    def stop(self, job_id: str, token: int) -> bool:
        """Ends an attempt as canceled: the worker has stopped; False when the attempt does not own the job any more."""
        return bool(self._end(job_id, token, JobState.CANCELED, ""))

    def release(self, job_id: str, token: int) -> bool:
        """Gives a job back to the queue without counting the attempt; it wants to be enqueued again.

        Returns:
            Whether it is queued now: not when the attempt does not own it any more, nor when it ended canceled instead.
        """
        return bool(self._release(job_id, token))

    def cancel(self, job_id: str, *, owner: str | None = None) -> Job | None:
        """Withdraws an owner's interest in a job, and cancels it when nobody is left who wants it: at once when nobody is working on
        it, else as soon as its worker notices.

        Args:
            job_id: The job.
            owner: Who wants it no more; None: everybody who has asked for it.

        Returns:
            The job as it is now (unchanged when it was final, or others want it); None when there is none of that id.

        Raises:
            NotAskedError: The owner has not asked for it.
            DamagedError: Its record is damaged.
        """
        done, snapshot = self._cancel(job_id, owner or "")
        if not done:
            raise NotAskedError(job_id, owner)
        return job_from(snapshot)

    def reap(self) -> tuple[Sequence[str], Sequence[str]]:
        """Takes the jobs whose lease ran out from their workers.

        Returns:
            Ids of the jobs that were queued again (they want to be enqueued), and of those that ended instead, because
            somebody had canceled them or they had used up their attempts.
        """
        queued, ended = self._reap(ATTEMPTS_MAX)
        return [text(job_id) for job_id in queued], [text(job_id) for job_id in ended]

    def give_up(self, job_id: str, token: int, cause: str) -> bool:
        """Ends an attempt whose process cannot go on; it counts as one that has died.

        Args:
            job_id: The job.
            token: The attempt.
            cause: What happened to the process, a clause for the person who asked.

        Returns:
            Whether it is queued now and wants to be enqueued: not when the attempt does not own it any more, nor when it ended.
        """
        return bool(self._give_up(job_id, token, ATTEMPTS_MAX, cause))

    def died(self, worker: str, cause: str) -> tuple[bool, Sequence[str]]:
        """Takes the jobs of a worker that has surely died, without waiting for their leases.

        Args:
            worker: Its name.
            cause: What has ended it, a clause for the person who asked.

        Returns:
            Whether the worker was known, that is, had a heartbeat; and ids of the jobs that were queued again (they want to be enqueued).
        """
        known, queued = self._died(worker, ATTEMPTS_MAX, cause)
        return bool(known), [text(job_id) for job_id in queued]

    def forget(self) -> int:
        """Drops some of the records that are final and old; returns how many."""
        return int(self._forget(int(RECORDS_SECONDS * 1e6)))


def _told_of_record(error: DamagedError, job_id: str) -> None:
    """Goes on when it is the record that is damaged; what else is cannot be put right by making it anew."""
    if error.place.key != keys.job(job_id):
        raise error
    leave_out(error)


def _submitted(created: bytes | int, *rest: Any) -> tuple[Job, bool]:
    if isinstance(created, bytes):
        raise _refusal(text(created), *(int(number) for number in rest))
    return _there(rest[0]), bool(created)


def _refusal(why: str, waiting: int, own: int, workers: int, runs: int, run_micros: int) -> QueueFull:
    of_owner = why == "key"
    # One start makes room in a full queue; as many as there are to one job of the owner, for the owner.
    starts = waiting / own if of_owner else 1
    wait = wait_seconds(starts=starts, workers=workers, runs=runs, run_seconds=run_micros / 1e6)
    return QueueFull(of_owner=of_owner, waiting=own if of_owner else waiting, wait_seconds=wait)


def _there(snapshot: Snapshot) -> Job:
    job = job_from(snapshot)
    assert job is not None  # its script has just written it
    return job


def _index(state: JobState | None, model: str | None) -> str:
    stored = JobState.RUNNING if state is JobState.LOST else state
    if model is None:
        return keys.JOBS if stored is None else keys.jobs_in(stored)
    return keys.jobs_of(model) if stored is None else keys.jobs_of_in(model, stored)


def _micros(job: Job) -> int:
    return round(job.created_at * 1e6)
