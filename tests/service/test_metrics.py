"""What `/metrics` says is what has happened."""

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ays_client.contract import JobState, Priority, Progress, identity
from ays_store import Bounds, QueueFull, Store
from service.local.embedded_redis import EmbeddedRedis
from tests.service.server import Server
from tests.service.worker import body, request, work


def scraped(client):
    """Values by name and labels; the whole of it is read, so its form is checked as well."""
    answer = client.get("/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A server that nobody else asks anything, and its Redis, which may be stopped."""
    folder = tmp_path_factory.mktemp("metrics")
    with (
        EmbeddedRedis(folder / "redis") as redis,
        Server(redis.url, folder / "log") as server,
        httpx2.Client(base_url=server.url, timeout=20) as client,
    ):
        yield client, redis


def test_jobs_workers_and_evaluations_are_those_of_redis(http, store, queue):
    before = scraped(http)
    assert before["ays_redis_up",] == 1
    assert {before["ays_jobs", ("state", state.value)] for state in JobState} == {0}
    asked = [request(nfe=nfe) for nfe in (8, 9, 10, 11)]
    for each, priority in zip(asked, [*3 * [Priority.INTERACTIVE], Priority.BATCH], strict=True):
        store.jobs.submit(each, priority=priority)
        queue.enqueue(identity(each))
    running, failing, canceled, _ = asked
    with pytest.raises(QueueFull):
        store.jobs.submit(request(nfe=12), bounds=Bounds(waiting=4))
    store.workers.beat("w1", {}, evaluations=100)
    store.workers.beat("w1", {"job": identity(running)}, evaluations=20)
    store.workers.beat("w3", {"job": None})
    store.workers.beat("w2", {})
    store.workers.leave("w2", evaluations=3)
    work(store, running)
    token = work(store, failing)
    store.jobs.report(identity(failing), token, Progress(stage="profile", done=1, total=2))
    store.jobs.fail(identity(failing), token, "why")
    store.jobs.cancel(identity(canceled))
    seen = scraped(http)
    states = {state.value: seen["ays_jobs", ("state", state.value)] for state in JobState}
    assert states == {"queued": 1, "running": 1, "failed": 1, "canceled": 1, "succeeded": 0, "lost": 0}
    depth = {each.value: seen["ays_queue_depth", ("priority", each.value)] for each in Priority}
    oldest = {each.value: seen["ays_queue_oldest_seconds", ("priority", each.value)] for each in Priority}
    assert depth == {"interactive": 0, "batch": 1}
    assert oldest["interactive"] == 0 < oldest["batch"] < 60
    assert (seen["ays_workers",], seen["ays_workers_busy",], seen["ays_workers_wanted",]) == (2, 1, 2)
    assert seen["ays_jobs_refused_total", ("bound", "queue")] == 1
    assert seen["ays_jobs_refused_total", ("bound", "key")] == 0
    assert seen["ays_evaluations_total",] == 123
    assert seen["ays_jobs_submitted_total",] == 4
    assert seen["ays_jobs_finished_total", ("state", "failed")] == 1
    assert seen["ays_jobs_finished_total", ("state", "canceled")] == 1
    assert seen["ays_job_run_seconds_count",] == 1
    assert 0 < seen["ays_job_run_seconds_sum",] < 60
    assert seen["ays_redis_memory_bytes",] > 1e5


def test_a_job_of_a_dead_worker_is_lost_until_it_is_reaped(http, redis):
    # A lease that is overdue by more than a job takes to be shown as lost.
    hasty = Store(redis, lease_seconds=-60)
    hasty.jobs.submit(request())
    assert hasty.jobs.start(identity(request()), "w1") is not None
    seen = scraped(http)
    assert (seen["ays_jobs", ("state", "running")], seen["ays_jobs", ("state", "lost")], seen["ays_workers_busy",]) == (0, 1, 0)
    hasty.jobs.reap()
    seen = scraped(http)
    assert (seen["ays_jobs", ("state", "queued")], seen["ays_jobs", ("state", "lost")]) == (1, 0)
    assert seen["ays_jobs_reaped_total",] == 1


def test_responses_are_counted_by_route_and_never_by_what_was_asked_for(own):
    client, redis = own
    for number in range(20):
        client.get(f"/v1/jobs/{number}")
        client.get(f"/nope/{number}")
    for verb in ("PROPFIND", "LOCK", "SEARCH", "REPORT"):
        client.request(verb, "/healthz")
    client.post("/v1/jobs", json=body())
    counts = {key[1:]: value for key, value in scraped(client).items() if key[0] == "ays_http_request_seconds_count"}
    counted = {tuple(value for _, value in labels): number for labels, number in counts.items()}
    assert counted["GET", "/v1/jobs/{job_id}", "404"] == 20
    assert counted["GET", "none", "404"] == 20
    assert counted["other", "/healthz", "405"] == 4
    assert counted["POST", "/v1/jobs", "404"] == 1
    assert len(counted) == 4
    redis.stop()
    try:
        seen = scraped(client)
    finally:
        redis.start()
    assert seen["ays_redis_up",] == 0
    assert ("ays_workers",) not in seen
    assert seen["ays_http_request_seconds_count", ("method", "GET"), ("route", "/v1/jobs/{job_id}"), ("status", "404")] == 20
    assert scraped(client)["ays_redis_up",] == 1
