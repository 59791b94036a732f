"""What `/metrics` tells Prometheus: this process by itself, and the queue, the workers and the jobs as Redis knows them.

Workers are not scraped: what they count goes through Redis, so they may be anywhere. Every replica of the service therefore tells
the same of them; take the maximum over replicas, not the sum. Labels have few values: none comes from a request.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ays_client.version import VERSION
from ays_store import damage
from ays_store.redis_settings import KINDS
from ays_store.stats import Stats

_log = structlog.get_logger("service")

Found = Literal["hit", "miss", "stale"]
"""How a lookup of a schedule was answered: from this process, from Redis, or from this process while Redis is away."""

# When a series began, as a series of its own: nobody asks, and it doubles their number.
disable_created_metrics()  # type: ignore[no-untyped-call]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._seconds = Histogram(
            "ays_http_request_seconds",
            "Time until a response begins.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._lookups = Counter("ays_schedule_lookups", "Lookups of schedules.", ("result",), registry=self._registry)
        # A rate needs its zero: without it, the first hit after a start is not counted.
        self._found = {result: self._lookups.labels(result) for result in ("hit", "miss", "stale")}

    def watch(self, take: Callable[[], Stats]) -> None:
        """Tell what the store knows, too.

        Args:
            take: takes the stats; called for every scrape.
        """
        self._registry.register(_Shared(take))

    def looked_up(self, result: Found) -> None:
        """Count a lookup of a schedule."""
        self._found[result].inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response.

        Args:
            method: HTTP method.
            route: template of the path, '' where no route takes it.
            status: HTTP status.
            seconds: how long it took to begin.
        """
        known = method if method in _METHODS else "other"
        self._seconds.labels(known, route or "none", str(status)).observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class RequestMetrics:
    """Counts responses and how long each took to begin; how long an event stream stays open says nothing.

    Args:
        app: the application behind.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "")
                self._metrics.answered(scope["method"], route, message["status"], time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_counted)


class _Shared(Collector):
    def __init__(self, take: Callable[[], Stats]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        # Else it would be asked for them when it is registered, before Redis has to be there.
        return []

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("ays_build", "The code that runs.", {"version": VERSION})
        left_out = CounterMetricFamily("ays_damaged", "Damaged values in Redis that lists of this process have left out.", labels=["kind"])
        for kind, number in {"job": 0, **damage.left_out()}.items():
            left_out.add_metric([kind], number)
        yield left_out
        try:
            stats = self._take()
        except RedisError as error:
            _log.warning("no stats for a scrape", error=f"{type(error).__name__}: {error}")
            yield GaugeMetricFamily("ays_redis_up", "Whether Redis answers.", 0)
            return
        yield GaugeMetricFamily("ays_redis_up", "Whether Redis answers.", 1)
        yield GaugeMetricFamily("ays_redis_memory_bytes", "Memory that Redis uses.", stats.memory_bytes)
        yield GaugeMetricFamily("ays_redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit.", stats.memory_limit_bytes)
        unsafe = {kind: int(kind in stats.mistakes) for kind in KINDS}
        yield _by("ays_redis_unsafe", "Whether a setting of Redis loses what was accepted.", "setting", unsafe)
        yield _by("ays_jobs", "Jobs of the last month.", "state", {state.value: number for state, number in stats.jobs.items()})
        yield _by("ays_queue_depth", "Jobs that wait for a worker.", "priority", stats.queued)
        oldest = "Age of the job that has waited for longest."
        yield _by("ays_queue_oldest_seconds", oldest, "priority", stats.oldest_seconds)
        yield GaugeMetricFamily("ays_workers", "Live workers.", stats.workers)
        yield GaugeMetricFamily("ays_workers_busy", "Workers at work on a job.", stats.busy)
        wanted = sum(stats.queued.values()) + stats.busy
        yield GaugeMetricFamily("ays_workers_wanted", "Workers that would have something to do: jobs that wait or run.", wanted)
        count = stats.counters.get
        yield CounterMetricFamily("ays_evaluations", "Evaluations of denoisers by all workers.", count("evaluations", 0))
        yield CounterMetricFamily("ays_jobs_submitted", "Jobs created or restarted.", count("submitted", 0))
        refused = CounterMetricFamily("ays_jobs_refused", "Jobs that found no room in the queue.", labels=["bound"])
        for bound in ("queue", "key"):
            refused.add_metric([bound], count(f"refused_{bound}", 0))
        yield refused
        yield CounterMetricFamily("ays_jobs_reaped", "Jobs taken from workers that died.", count("reaped", 0))
        finished = CounterMetricFamily("ays_jobs_finished", "Jobs that have ended.", labels=["state"])
        for state in ("succeeded", "failed", "canceled"):
            finished.add_metric([state], count(state, 0))
        yield finished
        webhooks = CounterMetricFamily("ays_webhooks", "Tries of webhooks, and messages that were given up.", labels=["outcome"])
        for outcome in ("delivered", "retried", "failed"):
            webhooks.add_metric([outcome], count(f"webhooks_{outcome}", 0))
        yield webhooks
        yield GaugeMetricFamily("ays_webhooks_waiting", "Messages about ended jobs that have not arrived.", stats.webhooks)
        seconds = count("run_micros", 0) / 1e6
        yield SummaryMetricFamily("ays_job_run_seconds", "Time from the last start of a job to its end.", count("runs", 0), seconds)


def _by(name: str, documentation: str, label: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
