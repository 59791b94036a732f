"""The application: `create_app(settings)`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig

from ays_client.version import VERSION
from ays_process.tracing import Tracing
from ays_store import Queue, Store
from ays_store.api_keys import Scope
from ays_store.changes import Changes
from service.access.description import describe_keys
from service.access.guard import Guard
from service.access.hosts import Hosts
from service.access.known_keys import KnownKeys
from service.access.rates import Admissions, Rate
from service.deps import State
from service.encoding import LEVEL, MINIMUM_SIZE, AcceptEncoding
from service.handlers import add_handlers
from service.jobs.feed import Feed
from service.metrics import Metrics, RequestMetrics
from service.middleware import BodyLimit, RequestLog, SecurityHeaders
from service.routes import curves, events, health, jobs, models, page, schedules
from service.schedules.cache import Cache
from service.schedules.last_use import LastUse
from service.schedules.lookups import CachedLookups
from service.serving.shutdown import Shutdown, stop_tasks
from service.settings import Settings
from service.webhooks.deliverer import deliver_webhooks

_DESCRIPTION = """
Optimized sampling schedules for diffusion models. POST a model, a budget of evaluations (NFE) and a solver; a worker measures
the model once and finds the schedules for every budget and solver; GET them from the cache ever after.

Noise levels are noise-to-signal ratios. Every error is a problem (RFC 9457) that says what was received, what is expected, and
how to fix it.
"""

_PROBES = ("/healthz", "/readyz", "/metrics")


def create_app(settings: Settings) -> FastAPI:
    """Build the application.

    Args:
        settings: its configuration.
    """
    metrics = Metrics()
    cache = Cache(entries=settings.cache_entries, size=settings.cache_bytes)
    last_use = LastUse()
    tracing = Tracing.of_environment("ays-service", VERSION)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        store = Store.open(settings.redis_url)
        feed = Feed(store, Shutdown())
        metrics.watch(store.census.take)
        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(Changes(settings.redis_url).tell(cache))]
        tasks.append(asyncio.create_task(last_use.keep(store.retention, days=settings.retention_days)))
        if settings.webhook_secret:
            tasks.append(asyncio.create_task(deliver_webhooks(settings, store.webhooks)))
        try:
            yield State(
                settings=settings,
                store=store,
                queue=Queue(store.redis),
                feed=feed,
                metrics=metrics,
                known_keys=KnownKeys(store.api_keys.get, grace_seconds=settings.key_grace_seconds),
                admissions=Admissions(store.rates.take),
            )
        finally:
            await stop_tasks(tasks)
            store.close()
            tracing.close()

    app = FastAPI(
        title="Align Your Steps, as a service",
        description=_DESCRIPTION,
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        telemetry=_telemetry(tracing),
    )
    for module in (jobs, events, curves, schedules, models, health, page):
        app.include_router(module.router)
    if settings.asks_for_keys:
        describe_keys(app, open_metrics=settings.open_metrics)
    add_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(GZipMiddleware, minimum_size=MINIMUM_SIZE, compresslevel=LEVEL)
    app.add_middleware(BodyLimit, limit=settings.body_limit)
    app.add_middleware(CachedLookups, cache=cache, metrics=metrics, last_use=last_use)
    app.add_middleware(AcceptEncoding)
    _add_access(app, settings)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestMetrics, metrics=metrics)
    app.add_middleware(SecurityHeaders)
    return app


def _add_access(app: FastAPI, settings: Settings) -> None:
    rates = {
        Scope.READ: Rate("read", settings.reads_per_minute, shared=True),
        Scope.SUBMIT: Rate("submit", settings.submits_per_minute, shared=False),
    }
    app.add_middleware(
        Guard,
        required=settings.asks_for_keys,
        rates=rates,
        anonymous_rates=settings.limit_anonymous,
        open_metrics=settings.open_metrics,
    )
    app.add_middleware(Hosts, allowed=settings.allowed_hosts, origins=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "if-none-match", "last-event-id"],
            expose_headers=["etag", "location", "ratelimit", "ratelimit-policy", "retry-after", "www-authenticate", "x-request-id"],
        )


def _telemetry(tracing: Tracing) -> TelemetryConfig:
    return {
        "tracing": tracing.on,
        "tracer_provider": tracing.provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"] in _PROBES,
    }


def _operation_id(route: APIRoute) -> str:
    return route.name
