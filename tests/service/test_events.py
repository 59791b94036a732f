"""`GET /v1/jobs/{id}/events`: server-sent events over real HTTP."""

import threading
import time

import httpx2
import pytest

from ays_client.contract import Event, identity
from ays_store import Store
from tests.service.server import Server
from tests.service.test_jobs import LONG_AGO
from tests.service.worker import finish, request, work

ASKED = request()
PATH = f"/v1/jobs/{identity(ASKED)}/events"


@pytest.fixture
def job(store):
    return store.jobs.submit(ASKED)[0]


@pytest.fixture
def brisk(brisk_server):
    with httpx2.Client(base_url=brisk_server.url, timeout=20) as client:
        yield client


def read(message):
    return Event.model_validate_json(message.data)


def states(source):
    return [read(message).state.value for message in source]


@pytest.mark.usefixtures("job")
def test_a_job_is_followed_as_it_happens(http, store):
    with http.sse(PATH) as source:
        headers = source.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        messages = (message for message in source if message.data)
        assert read(next(messages)).state == "queued"
        token = work(store, ASKED, progress=[8])
        assert read(next(messages)).state == "running"
        assert read(next(messages)).progress.done == 8
        wanted = finish(store, ASKED, token)
        final = read(next(messages))
        assert (final.state, final.schedule_url) == ("succeeded", f"/v1/schedules/{wanted.id}")
        assert list(messages) == [], "the stream ends after the final state"


@pytest.mark.usefixtures("job")
def test_a_reader_resumes_after_the_event_it_saw_last(http, store):
    token = work(store, ASKED, progress=[1, 2, 3])
    with http.sse(PATH) as source:
        seen = []
        for message in source:
            seen += [message] if message.data else []
            if len(seen) == 3:
                break
    finish(store, ASKED, token)
    with http.sse(PATH, headers={"Last-Event-ID": seen[-1].id}) as source:
        rest = [message for message in source if message.data]
    assert [(read(each).state, read(each).progress.done) for each in seen + rest] == [
        ("queued", 0),
        ("running", 0),
        ("running", 1),
        ("running", 2),
        ("running", 3),
        ("succeeded", 3),
    ]
    assert len({each.id for each in seen + rest}) == 6


@pytest.mark.usefixtures("job")
def test_a_final_job_yields_its_final_event_and_ends(http, store):
    finish(store, ASKED, work(store, ASKED))
    with http.sse(PATH) as source:
        messages = [message for message in source if message.data]
    assert read(messages[-1]).state == "succeeded"
    with http.sse(PATH, headers={"Last-Event-ID": messages[-1].id}) as source:
        assert states(message for message in source if message.data) == ["succeeded"], "also to one who saw it"


def test_a_final_job_whose_events_have_expired_still_says_so(http, redis, store, job):
    store.jobs.fail(job.id, work(store, ASKED), "out of memory")
    redis.delete(f"ays:2:events:{job.id}")
    with http.sse(PATH) as source:
        (message,) = [message for message in source if message.data]
    assert (read(message).state, read(message).error) == ("failed", "out of memory")


def test_a_lost_job_is_announced_and_its_recovery_too(http, redis, store, job):
    Store(redis, lease_seconds=LONG_AGO).jobs.start(job.id, "w1")
    with http.sse(PATH) as source:
        messages = (message for message in source if message.data)
        assert [read(next(messages)).state for _ in range(2)] == ["queued", "running"]
        lost = next(messages)
        assert read(lost).state == "lost"
        assert "heartbeat" in read(lost).error
        store.jobs.reap()
        assert read(next(messages)).state == "queued"
        finish(store, ASKED, work(store, ASKED))
        assert states(messages) == ["running", "succeeded"]


def test_many_readers_of_many_jobs_all_see_everything(http, store):
    asked = [request(nfe=nfe) for nfe in range(2, 6)]
    for each in asked:
        store.jobs.submit(each)
    seen = {}

    def follow(name, path):
        with httpx2.Client(base_url=http.base_url, timeout=20) as client, client.sse(path) as source:
            seen[name] = states(message for message in source if message.data)

    threads = [
        threading.Thread(target=follow, args=((each.nfe, copy), f"/v1/jobs/{identity(each)}/events")) for each in asked for copy in range(3)
    ]
    for thread in threads:
        thread.start()
    for each in asked:
        finish(store, each, work(store, each, progress=range(40)))
    for thread in threads:
        thread.join(20)
    assert len(seen) == 12
    assert all(each == ["queued", "running", *["running"] * 40, "succeeded"] for each in seen.values())


@pytest.mark.usefixtures("job")
def test_more_events_than_one_read_holds_arrive_in_order(http, store):
    token = work(store, ASKED, progress=range(900))
    finish(store, ASKED, token)
    with http.sse(PATH) as source:
        progress = [read(message).progress.done for message in source if message.data]
    assert progress == [0, 0, *range(900), 899]


@pytest.mark.usefixtures("store", "job")
def test_a_silent_stream_has_heartbeats_and_a_capped_life(brisk):
    start = time.monotonic()
    with brisk.stream("GET", PATH) as response:
        lines = list(response.iter_lines())
    assert 0.9 < time.monotonic() - start < 5
    assert lines.count(": heartbeat") >= 2
    assert [line for line in lines if line][-2:] == [": not the end of the job; connect again with Last-Event-ID", "retry: 1000"]


@pytest.mark.usefixtures("store", "job")
def test_a_wrong_event_id_is_refused(http):
    answer = http.get(PATH, headers={"Last-Event-ID": "yesterday"})
    assert (answer.status_code, answer.json()["received"]) == (422, "yesterday")


@pytest.mark.parametrize("command", [["service"], ["uvicorn", "service.main:app", "--port", "0"]])
@pytest.mark.usefixtures("store", "job")
def test_open_streams_do_not_keep_the_server_alive(redis_url, tmp_path, command):
    with Server(redis_url, tmp_path / "log", command=command) as server, httpx2.Client(base_url=server.url, timeout=20) as client:
        with client.sse(PATH) as source:
            messages = (message for message in source if message.data)
            assert read(next(messages)).state == "queued"
            status, seconds = server.stop()
            assert list(messages) == []
        assert seconds < 3
        assert status in {0, -15}
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "Application shutdown complete" in log
