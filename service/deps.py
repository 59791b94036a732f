"""What the path operations need, as dependencies."""

from typing import Annotated, TypedDict

from fastapi import Depends, Request

from ays_store import Queue, Store
from service.access.caller import Caller
from service.access.known_keys import KnownKeys
from service.access.rates import Admissions
from service.jobs.admission import JobAdmission
from service.jobs.feed import Feed
from service.metrics import Metrics
from service.settings import Settings


class State(TypedDict):
    """What the lifespan hands to every request."""

    settings: Settings
    store: Store
    queue: Queue
    feed: Feed
    metrics: Metrics
    known_keys: KnownKeys
    admissions: Admissions


# Asynchronous although they wait for nothing: FastAPI would run plain functions in a thread each.


async def _settings(request: Request) -> Settings:
    settings: Settings = request.state.settings
    return settings


async def _store(request: Request) -> Store:
    store: Store = request.state.store
    return store


async def _feed(request: Request) -> Feed:
    feed: Feed = request.state.feed
    return feed


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.state.metrics
    return metrics


async def _known_keys(request: Request) -> KnownKeys:
    known_keys: KnownKeys = request.state.known_keys
    return known_keys


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _admission(request: Request) -> JobAdmission:
    state = request.state
    return JobAdmission(state.store, state.queue, state.settings, state.caller)


SettingsDep = Annotated[Settings, Depends(_settings)]
StoreDep = Annotated[Store, Depends(_store)]
AdmissionDep = Annotated[JobAdmission, Depends(_admission)]
CallerDep = Annotated[Caller, Depends(_caller)]
KnownKeysDep = Annotated[KnownKeys, Depends(_known_keys)]
FeedDep = Annotated[Feed, Depends(_feed)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
