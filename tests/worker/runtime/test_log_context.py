"""One request, one thread to pull: its id and its trace go from the HTTP request into the worker."""

import httpx2
import pytest

from ays_store import Origin
from tests.service.server import Server
from tests.store.bodies import request
from tests.worker.collector import Collector, attributes

ASK = {"model": "toy", "nfe": 8, "paths": 2, "effort": "fast"}
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def traced(collector):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def test_the_id_and_the_trace_of_a_request_follow_its_job(redis_url, start, gate, reaches, collector, traced, tmp_path):
    gate()
    worker = start(**traced)
    with Server(redis_url, tmp_path / "service.log", **traced) as server, httpx2.Client(base_url=server.url) as http:
        headers = {"x-request-id": "follow-me", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        job = http.post("/v1/jobs", json=ASK, headers=headers).raise_for_status().json()
        reaches(job["id"], "succeeded")
        http.get("/healthz").raise_for_status()
        # Stopping them sends what they still hold.
        assert server.stop()[0] == 0
        assert worker.end() == 0
        told = [record["event"] for record in server.records() if record.get("request_id") == "follow-me"]
    assert told == ["request"]
    of_job = [entry for entry in worker.log() if entry.get("job") == job["id"]]
    assert [entry["event"] for entry in of_job] == ["job started", "job succeeded"]
    assert {(entry["request_id"], entry["model"]) for entry in of_job} == {("follow-me", "toy")}

    ((service, asked),) = collector.named("POST /v1/jobs")
    ((shell, work),) = collector.named("optimize")
    assert (service, shell) == ("ays-service", "ays-worker")
    assert asked.trace_id.hex() == work.trace_id.hex() == TRACE
    assert work.parent_span_id == asked.span_id
    assert attributes(work)["ays.job"] == job["id"]
    assert [event.name for event in work.events] == ["loading", "profile", "store"]
    assert attributes(work)["ays.request_id"] == "follow-me"
    assert {span.name for _, span in collector.spans} == {"POST /v1/jobs", "optimize"}


def test_a_job_that_fails_has_a_failed_span(start, ask, reaches, collector, traced):
    worker = start(**traced)
    job_id = ask(request(model="broken"))
    failed = reaches(job_id, "failed")
    assert worker.end() == 0
    ((_, span),) = collector.named("optimize")
    assert (span.status.code, span.status.message) == (2, failed.error)
    assert not span.parent_span_id


def test_a_collector_that_is_away_disturbs_nobody(start, ask, gate, reaches):
    gate()
    worker = start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    reaches(ask(request(paths=2)), "succeeded")
    assert worker.end() == 0


def test_a_job_restarted_by_another_request_follows_that_one(store):
    first, second = Origin("r1", "00-1"), Origin("r2", "00-2")
    job, _ = store.jobs.submit(request(), origin=first)
    store.jobs.submit(request(), origin=second)
    assert store.jobs.origin(job.id) == first
    store.jobs.cancel(job.id)
    store.jobs.submit(request(), origin=second)
    assert store.jobs.origin(job.id) == second
    store.jobs.cancel(job.id)
    store.jobs.submit(request())
    assert store.jobs.origin(job.id) == Origin()
    assert store.jobs.origin("unknown") == Origin()


def test_every_evaluation_is_counted_once(start, ask, gate, reaches, store):
    gate()
    worker = start()
    reaches(ask(request(paths=3)), "succeeded")
    assert worker.end() == 0
    # The toy says that it has done 3 batches of 5.
    assert store.census.take().counters["evaluations"] == 15
