"""A page of a list costs what is on it, however much is stored: counted by Redis itself, at two sizes."""

import pytest

from ays_client import Client
from ays_client.contract import Effort, Solver, Terminal, Variant, identity
from tests.service.worker import profile, request, schedule, toy
from tests.store.addresses import addressed

BACKGROUND = {"ping", "client", "client|tracking", "info", "config|resetstat", "hello", "client|setinfo", "xread"}
"""What the service and this test ask besides."""

CELLS = [(solver, terminal, nfe) for solver in (Solver.DPMPP_2M, Solver.DDIM) for terminal in Terminal for nfe in range(5, 30)]


def stock(store, *, models, cells, jobs):
    """Store so many models, each with so many schedules of its table, and so many jobs."""
    names = [f"m{number:03}" for number in range(models)]
    store.models.publish([toy(id=name) for name in names], source="host")
    made = [schedule(nfe=nfe, solver=solver, terminal=terminal, effort=Effort.FAST) for solver, terminal, nfe in CELLS[:cells]]
    for name in names:
        asked = request(model=name)
        job, _ = store.jobs.submit(asked)
        token = store.jobs.start(job.id, "w1")
        own = [addressed(each, model=name) for each in made]
        measured = profile(Variant(model=name))
        assert store.results.commit(job.id, token, profile=measured, schedules=own, requested_schedule_id=own[0].id)
    for seed in range(jobs):
        store.jobs.submit(request(model=names[0], seed=seed))
    store.workers.beat("w1", {})
    return names


def paths(names):
    profile_id = identity(Variant(model=names[0]))
    return {
        "models": "/v1/models?limit=3",
        "more models": f"/v1/models?limit=3&cursor=o{names[1]}",
        "jobs": "/v1/jobs?limit=5",
        "jobs of a model": f"/v1/jobs?limit=5&model={names[0]}&state=queued",
        "lost jobs": "/v1/jobs?limit=5&state=lost",
        "a row": f"/v1/profiles/{profile_id}/schedules?limit=4&solver=dpmpp_2m",
        "a lookup": f"/v1/schedules?model={names[0]}&nfe=5",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }


def commands(redis, http, path):
    """How often the service calls each command of Redis to answer, those that scripts call included."""
    redis.config_resetstat()
    answer = http.get(path)
    stats = redis.info("commandstats")
    assert answer.status_code == 200, answer.text
    names = {name.removeprefix("cmdstat_"): numbers["calls"] for name, numbers in stats.items()}
    return {name: calls for name, calls in names.items() if name not in BACKGROUND}


def test_a_page_costs_the_same_of_a_hundred_and_of_ten_thousand_schedules(http, redis, store):
    counted = []
    for size in ({"models": 8, "cells": 12, "jobs": 10}, {"models": 100, "cells": 100, "jobs": 1000}):
        redis.flushall()
        names = stock(store, **size)
        # Scripts are known and connections are open after the first time.
        counted.append([{what: commands(redis, http, path) for what, path in paths(names).items()} for _ in range(2)][1])
    small, large = counted
    for what in small:
        assert small[what] == large[what], what
        assert sum(large[what].values()) < 60, (what, large[what])
    assert redis.dbsize() > 10_000


def test_pages_have_everything_once(http, redis, store, server):
    redis.flushall()
    names = stock(store, models=7, cells=25, jobs=12)
    for limit in (1, 3, 200):
        found, path = [], f"/v1/models?limit={limit}"
        while path:
            page = http.get(path).json()
            assert len(page["models"]) <= limit
            found += [model["id"] for model in page["models"]]
            path = page["next_cursor"] and f"/v1/models?limit={limit}&cursor={page['next_cursor']}"
        assert (found[:7], len(found), len(set(found))) == (names, 11, 11)
    with Client(server.url) as client:
        assert [model.id for model in client.models()] == found
    base = f"/v1/profiles/{identity(Variant(model=names[0]))}/schedules?limit=10"
    budgets, cursor = [], ""
    while cursor is not None:
        page = http.get(base + (f"&cursor={cursor}" if cursor else "")).json()
        budgets += [cell["nfe"] for cell in page["cells"]]
        cursor = page["next_cursor"]
    assert budgets == list(range(5, 30))
    assert http.get(base.replace("limit=10", "")).json()["next_cursor"] is None


def test_the_list_follows_what_was_written_without_an_index(http, redis, store):
    """By an earlier version, or by hand."""
    store.models.publish([toy(id="b"), toy(id="a")], source="host")
    redis.delete("ays:2:models:index")
    assert [model["id"] for model in http.get("/v1/models?limit=2").json()["models"]] == ["a", "b"]
    redis.hdel("ays:2:models", "a")
    assert [model["id"] for model in http.get("/v1/models?limit=1").json()["models"]] == ["b"]


@pytest.mark.parametrize("cursor", ["x", "q1", "o../x", "o" + "y" * 200])
def test_what_is_no_cursor_is_refused(http, cursor):
    answer = http.get("/v1/models", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["fix"]) == (422, "change cursor")
