"""Where a computation of a benchmark runs: a host that keeps nothing, and one that keeps what it has measured."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ays_client.contract import JobRequest, Progress
from worker.ays.denoise import Evaluator
from worker.ays.search.reference import ReferenceSet
from worker.models.loaded import LoadedModel
from worker.process.local import LocalHost
from worker.tasks.measure import Measured, measure


class Nowhere(LocalHost):
    """A host that keeps nothing and shows nothing."""

    def report(self, progress: Progress) -> None:
        """Say nothing."""


class Shelf(Nowhere):
    """A host of one model and seed that measures each shard once, for many requests that are answered as if each was the first.

    Attributes:
        paths: the flow's paths, once they were measured.
    """

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self._kept: dict[str, tuple[str, float]] = {}
        self.paths: ReferenceSet | None = None
        self._gathered: list[str] = []

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str]:
        """What is not there is measured here."""
        del arrived
        for shard in shards:
            if shard not in self._kept:
                started = time.process_time()
                body = measure(shard)
                self._kept[shard] = body, time.process_time() - started
        self._gathered += shards
        return {shard: self._kept[shard][0] for shard in shards}

    def measured(self, request: JobRequest, model: LoadedModel, denoise: Evaluator) -> tuple[Measured, float]:
        """The profiles that a job of this request would measure, and the CPU seconds of their shards."""
        self._gathered = []
        found = measure(request.variant, model, denoise, self)
        self.paths = self.paths if found.paths is None else found.paths
        return replace(found, paths=self.paths), sum(self._kept[shard][1] for shard in self._gathered)
