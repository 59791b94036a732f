"""The job: load the model, compute, commit; and what becomes of a job that cannot be done.

An error that would come again with the next attempt fails the job, with a sentence for the person who asked. An error of the
memory or the device ends this process, and counts as a death: the next attempt has a new one. Redis being away fails nothing:
the worker waits for it, holding what it has computed.
"""

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from opentelemetry.trace import Span
from redis.exceptions import RedisError
from rq.timeouts import JobTimeoutException

from ays_client.contract import Job, JobRequest, Model, Progress, identity, is_curve
from ays_client.curve import LossCurve
from ays_process.tracing import Tracing, failed
from ays_store import DamagedError, Measurement, Queue, Store
from worker.models.errors import ModelError
from worker.runtime.attempt import Attempt, Canceled, Drained, Superseded
from worker.runtime.drain import Drain
from worker.runtime.fatal import ends_process
from worker.runtime.heartbeat import Heartbeat
from worker.runtime.host import JobHost
from worker.runtime.log_context import log_context
from worker.runtime.progress import Reporter
from worker.runtime.sharing import Sharing
from worker.runtime.warm_models import WarmModels
from worker.tasks.stages import Host

if TYPE_CHECKING:
    from worker.models.loaded import LoadedModel
    from worker.tasks.outcome import Outcome

Compute = Callable[[JobRequest, "LoadedModel | LossCurve", Host], "Outcome"]

_log = structlog.stdlib.get_logger(__name__)


class Optimizer:
    """Runs jobs, one at a time."""

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        telling: Store,
        queue: Queue,
        heartbeat: Heartbeat,
        models: WarmModels,
        compute: Compute,
        drain: Drain,
        break_off: Callable[[], None],
        tracing: Tracing,
    ) -> None:
        """Connects the parts.

        Args:
            worker: The worker's name.
            store: A patient store, for what must not be lost.
            telling: An impatient one, for progress.
            queue: Where a drained job goes back to, and helpers are called.
            heartbeat: Keeps the lease.
            models: The models.
            compute: Turns a request and a model into profile and schedules.
            drain: Set when the worker is asked to end.
            break_off: Has the worker end after this job, as broken.
            tracing: Traces the jobs.
        """
        self._worker = worker
        self._store = store
        self._telling = telling
        self._queue = queue
        self._heartbeat = heartbeat
        self._models = models
        self._compute = compute
        self._drain = drain
        self._break_off = break_off
        self._tracing = tracing

    def optimize(self, job_id: str) -> None:
        """Does a job, if it is still there to be done.

        Args:
            job_id: The job.
        """
        token = self._store.jobs.start(job_id, self._worker)
        if token is None:
            _log.info("nothing to do: the job is done, canceled or with another worker", job=job_id)
            return
        job = self._store.jobs.get(job_id)
        if job is None:
            self._store.jobs.fail(job_id, token, "The request was stored by another version of this service; submit it again.")
            _log.error("the record of a job cannot be read", job=job_id)
            return
        attempt = Attempt(job_id, token, drain=self._drain)
        known = {"model": job.request.model, "worker": self._worker}
        with log_context(self._store, self._tracing, job_id, what="optimize", **known) as span, self._heartbeat.holding(attempt):
            _log.info("job started", attempt=job.attempts)
            self._settle(job, attempt, span)

    def _settle(self, job: Job, attempt: Attempt, span: Span) -> None:
        jobs = self._store.jobs
        try:
            held = self._run(job, attempt)
            _log.info("job succeeded" if held else "job was taken over; nothing stored")
        except Canceled:
            jobs.stop(attempt.job_id, attempt.token)
            _log.info("job canceled")
        except Drained:
            if jobs.release(attempt.job_id, attempt.token):
                self._queue.enqueue(attempt.job_id)
            _log.info("job released: the worker ends")
        except Superseded:
            _log.warning("job was taken over; nothing stored")
        except Exception as error:
            self._fail(attempt, error, span)

    def _fail(self, attempt: Attempt, error: Exception, span: Span) -> None:
        text = explain(error)
        failed(span, text)
        if ends_process(error):
            self._give_up(attempt, text, error)
            return
        if text == str(error):
            _log.warning("job failed", error=text)
        else:
            # The model may be in a bad state now.
            self._models.clear()
            _log.error("job failed", error=text, exc_info=error)
        try:
            self._store.jobs.fail(attempt.job_id, attempt.token, text)
        except RedisError:
            _log.exception("job abandoned: its lease runs out, and the next attempt resumes from the shards")

    def _give_up(self, attempt: Attempt, text: str, error: Exception) -> None:
        _log.critical("memory or device do not recover within a process; ending it", error=text, exc_info=error)
        try:
            if self._store.jobs.give_up(attempt.job_id, attempt.token, f"its process could not go on: {text.rstrip('.')}"):
                self._queue.enqueue(attempt.job_id)
        except RedisError:
            _log.exception("job abandoned: its lease runs out, and the next attempt resumes from the shards")
        self._break_off()

    def _run(self, job: Job, attempt: Attempt) -> bool:
        request, reporter = job.request, Reporter(attempt, self._telling, count=self._heartbeat.count)
        reporter.report(Progress(stage="loading"))
        model, fingerprint = self._subject(request)
        attempt.check()
        stored = self._store.results.answer(request)
        if stored is not None:
            return self._store.results.commit(attempt.job_id, attempt.token, profile=None, schedules=[], requested_schedule_id=stored)
        of = Measurement(identity(request.variant), fingerprint)
        sharing = Sharing(attempt, of=of, model=request.model, worker=self._worker, store=self._store, queue=self._queue)
        twins = self._twins(request, fingerprint)
        outcome = self._compute(request, model, JobHost(attempt, reporter, sharing, of=of, store=self._store, twins=twins))
        reporter.report(Progress(stage="store"))
        schedules = {schedule.id: schedule for schedule in [*outcome.schedules, outcome.requested]}
        return self._store.results.commit(
            attempt.job_id,
            attempt.token,
            profile=outcome.profile,
            schedules=list(schedules.values()),
            requested_schedule_id=outcome.requested.id,
            samples=outcome.samples,
        )

    def _twins(self, request: JobRequest, fingerprint: str) -> list[str]:
        """Profiles of the same weights under other names."""
        others = [model for model in self._store.models.of_weights(fingerprint) if model != request.model]
        return [identity(request.variant.model_copy(update={"model": other})) for other in others]

    def _subject(self, request: JobRequest) -> "tuple[LoadedModel | LossCurve, str]":
        """What the schedule is for, and its fingerprint."""
        if is_curve(request.model):
            curve = self._store.results.curve(request.model)
            if curve is None:
                where, fix = f"curve {request.model!r}", "POST it to /v1/curves again"
                raise ModelError.of(
                    where, received="an id whose curve is not kept any more", expected="a curve of the last 30 days", fix=fix
                )
            return curve, curve.id
        model = self._models.get(request.model)
        self._store.models.refine(_card(model))
        return model, model.fingerprint


def explain(error: Exception) -> str:
    """Says to the person who asked why a job failed.

    Args:
        error: What was raised: an error of ours says it already; any other is told with its type.
    """
    if isinstance(error, JobTimeoutException):
        return f"The job was ended: {error}. Ask for less effort or fewer paths, or raise AYS_JOB_SECONDS of the worker."
    if isinstance(error, DamagedError):
        return str(error)
    if isinstance(error, RedisError):
        fix = "If it is full, free memory or raise its maxmemory, then submit again."
        return f"Redis refused what the worker wrote: {str(error).rstrip('.')}. {fix}"
    if isinstance(error, ModelError) or (isinstance(error, ValueError) and _raised_by_us(error)):
        return str(error)
    where = "This was raised while loading or running the model; the worker's log has the traceback."
    return f"{type(error).__name__}: {error}".rstrip(": ") + f". {where}"


def _raised_by_us(error: Exception) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").split(".")[0] == "worker"


def _card(model: "LoadedModel") -> Model:
    return Model(
        id=model.id,
        title=model.title,
        kind=model.process.kind,
        shape=list(model.denoiser.shape),
        sigma_min=model.denoiser.sigma_min,
        sigma_max=model.denoiser.sigma_max,
        prediction_type=model.prediction_type,
        guidance_scale=model.guidance_scale,
        fingerprint=model.fingerprint,
        published=model.published,
    )
