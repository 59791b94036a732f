"""Helping: a worker that has nothing else to do measures a shard for the job of another.

A shard that cannot be measured here goes back to the worker of its job: if the model is to blame, it finds that itself and says so.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ays_client.contract import JobRequest, JobState, identity, is_curve
from ays_process.tracing import Tracing
from ays_store import Measurement, Store
from worker.runtime.attempt import Help, Interruption
from worker.runtime.drain import Drain
from worker.runtime.fatal import ends_process
from worker.runtime.heartbeat import Heartbeat
from worker.runtime.jobs import explain
from worker.runtime.log_context import log_context
from worker.runtime.warm_models import WarmModels

if TYPE_CHECKING:
    from worker.models.loaded import LoadedModel

MeasureShard = Callable[[JobRequest, "LoadedModel", str, Callable[[int], None]], str]

_log = structlog.stdlib.get_logger(__name__)


class Helper:
    """Measures shards, one a call."""

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        heartbeat: Heartbeat,
        models: WarmModels,
        measure_shard: MeasureShard,
        drain: Drain,
        break_off: Callable[[], None],
        tracing: Tracing,
    ) -> None:
        """Connects the parts.

        Args:
            worker: The worker's name.
            store: A patient store.
            heartbeat: Keeps the lease of the shard.
            models: The models.
            measure_shard: Measures a shard for a request.
            drain: Set when the worker is asked to end.
            break_off: Has the worker end after this shard, as broken.
            tracing: Traces the shards.
        """
        self._worker = worker
        self._store = store
        self._heartbeat = heartbeat
        self._models = models
        self._measure_shard = measure_shard
        self._drain = drain
        self._break_off = break_off
        self._tracing = tracing

    def measure(self, job_id: str) -> None:
        """Measures a shard for a running job, if there is one to be measured.

        Args:
            job_id: The job.
        """
        job = self._store.jobs.get(job_id)
        if job is None or job.state is not JobState.RUNNING or is_curve(job.request.model):
            _log.info("no help needed: the job does not run", job=job_id)
            return
        request = job.request
        known = {"model": request.model, "worker": self._worker}
        with log_context(self._store, self._tracing, job_id, what="measure", **known):
            try:
                self._help(job_id, request)
            except Exception as error:
                self._failed(error)

    def _help(self, job_id: str, request: JobRequest) -> None:
        fingerprint, profile_id = self._store.models.fingerprint(request.model), identity(request.variant)
        if fingerprint is None or not self._store.shards.wanted(Measurement(profile_id, fingerprint)):
            _log.info("no help needed: all shards are finished")
            return
        model = self._models.get(request.model)
        if model.fingerprint != fingerprint:
            _log.warning("cannot help: this worker has other weights", received=model.fingerprint, expected=fingerprint)
            return
        of = Measurement(profile_id, fingerprint)
        shard = self._store.shards.take(of, job_id, self._worker)
        if shard is None:
            _log.info("no help needed: others are at all shards")
            return
        help_ = Help(job_id, shard, of=of, worker=self._worker, drain=self._drain)
        with self._heartbeat.holding(help_):
            self._do(request, model, help_)

    def _do(self, request: JobRequest, model: "LoadedModel", help_: Help) -> None:
        shards, of, shard = self._store.shards, help_.of, help_.shard
        try:
            with help_.finishing():
                body = self._measure_shard(request, model, shard, _Counting(help_, self._heartbeat.count))
        except Interruption as reason:
            shards.hand_back(of, self._worker, shard)
            _log.info("shard given back", shard=shard, reason=type(reason).__name__)
        except Exception:
            shards.hand_back(of, self._worker, shard, failed=True)
            raise
        else:
            kept = shards.keep(of, shard, body)
            _log.info("shard kept" if kept else "shard measured in vain", profile=of.profile_id, shard=shard)

    def _failed(self, error: Exception) -> None:
        text = explain(error)
        _log.warning("a shard could not be measured here", error=text, exc_info=None if text == str(error) else error)
        if ends_process(error):
            _log.critical("memory or device do not recover within a process; ending it")
            self._break_off()
        elif text != str(error):
            self._models.clear()


class _Counting:
    """Counts the evaluations of a shard, and stops it when there is a reason to."""

    def __init__(self, help_: Help, count: Callable[[int], None]) -> None:
        self._help = help_
        self._count = count
        self._evaluations = 0

    def __call__(self, evaluations: int) -> None:
        self._count(evaluations - self._evaluations)
        self._evaluations = evaluations
        self._help.check()
