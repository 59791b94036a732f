"""Asks a real service for everything while a value in its Redis is damaged, and judges the answers."""

import json

from ays_store import Store
from tests.store.bodies import request

INDEXES = {"JOBS", "jobs_in", "jobs_of", "jobs_of_in", "MODELS", "MODEL_INDEX", "FINGERPRINTS", "WORKERS"}
"""What whole lists are read from: damaged itself, a list cannot be had, and says so."""


def questions(known):
    """What is asked: method, path, body."""
    best, table = known["best"], known["table"]
    jobs = [f"/v1/jobs/{known[name].id}" for name in ("running", "queued", "done")]
    reads = [
        "/readyz",
        "/metrics",
        "/v1/models",
        "/v1/models?limit=1",
        "/v1/models/toy",
        "/v1/jobs",
        "/v1/jobs?state=queued&limit=1",
        "/v1/jobs?model=toy&state=running",
        *jobs,
        f"/v1/profiles/{table}",
        f"/v1/profiles/{table}?measure=flow",
        f"/v1/profiles/{table}/schedules",
        f"/v1/schedules/{best.id}",
        f"/v1/schedules/{best.id}?format=comfyui",
        f"/v1/schedules/{best.id}/samples",
        "/v1/schedules?model=toy&nfe=4&grid=16",
        "/v1/schedules?model=toy&nfe=6&grid=16&fallback=nearest",
        "/v1/schedules?model=toy&nfe=5&grid=17&fallback=stock",
        f"{jobs[2]}/events",
    ]
    writes = [(f"{jobs[1]}/cancel", None), ("/v1/jobs", {"model": "toy", "nfe": 4, "grid": 16}), ("/v1/jobs", request(seed=1).model_dump())]
    return [("GET", path, None) for path in reads] + [("POST", path, json.loads(json.dumps(body))) for path, body in writes]


def faults(http, known, kind):
    """What is wrong with the answers, one sentence each."""
    for method, path, body in questions(known):
        answer = http.request(method, path, json=body)
        text = answer.text
        if "Traceback" in text or 'File "/' in text:
            yield f"{method} {path} shows a traceback: {text[:300]}"
        if answer.status_code < 400:
            if answer.headers["content-type"] == "application/json":
                json.loads(text, parse_constant=_no_constant)
            continue
        problem = answer.json()
        if answer.headers["content-type"] != "application/problem+json" or not problem.get("detail") or not problem.get("fix"):
            yield f"{method} {path} is no problem that says what to do: {text[:300]}"
        if answer.status_code >= 500 and path != "/readyz" and "is damaged" not in problem["detail"]:
            yield f"{method} {path} does not say that something is damaged: {text[:300]}"
        if path.split("?")[0] in {"/v1/jobs", "/v1/models"} and method == "GET" and kind not in INDEXES:
            yield f"{path} fails for one value: {text[:300]}"
        if path == "/metrics":
            yield f"the metrics fail: {text[:300]}"


def commands(redis, secret):
    """What commands and a guarded service do besides."""
    store = Store(redis)
    yield from (store.api_keys.list, lambda: store.api_keys.get(secret.split("_")[1]), store.workers.live, store.census.take)


def _no_constant(name):
    message = f"{name} is no JSON"
    raise AssertionError(message)
