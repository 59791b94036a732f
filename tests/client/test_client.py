"""The client against a real server: answers, typed errors, and streams that outlive connections."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ays_client import BadRequest, Client, JobFailed, JobRequest, NotFound, Unavailable
from ays_client.contract import JobState, Progress, Source, identity
from tests.service.server import Server
from tests.service.worker import body, finish, measured, request, toy, work

ASKED = request()


def later(seconds, act):
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_from_a_request_to_its_schedule(client, store):
    job = client.submit(ASKED)
    assert (job.state, job.id) == (JobState.QUEUED, identity(ASKED))
    assert client.job(job.id) == job
    token = work(store, ASKED)
    timer = later(0.3, lambda: finish(store, ASKED, token))
    done = client.wait(job.id, timeout=20)
    timer.join()
    schedule = client.schedule_by_id(done.schedule_id)
    assert client.schedule("toy", nfe=8) == schedule
    assert client.submit(body()).schedule_id == schedule.id
    assert client.profile(client.model("toy").profile_id).variant == ASKED.variant


def test_lists(client, store):
    store.models.publish([toy(), toy(id="other")], source="host")
    made = [client.submit(request(nfe=nfe)).id for nfe in range(2, 7)]
    page = client.jobs(state=JobState.QUEUED, model="toy", limit=3)
    rest = client.jobs(state=JobState.QUEUED, model="toy", limit=3, cursor=page.next_cursor)
    assert [job.id for job in page.jobs + rest.jobs] == made[::-1]
    assert [model.id for model in client.models()][:2] == ["other", "toy"]


@pytest.mark.usefixtures("store")
def test_cancel_makes_waiting_fail(client):
    job = client.submit(ASKED)
    assert client.cancel(job.id).state is JobState.CANCELED
    with pytest.raises(JobFailed, match=r"canceled.*submit the request again") as caught:
        client.wait(job.id)
    assert caught.value.job.state is JobState.CANCELED


def test_a_failure_has_the_words_of_the_worker(client, store):
    job = client.submit(ASKED)
    store.jobs.fail(job.id, work(store, ASKED), "the factory returned NaN at sigma 3.2")
    with pytest.raises(JobFailed, match="the factory returned NaN at sigma"):
        client.wait(job.id)


@pytest.mark.usefixtures("store")
def test_waiting_ends_at_its_deadline(client):
    job = client.submit(ASKED)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"has not ended within 0.4 s, its state is queued"):
        client.wait(job.id, timeout=0.4)
    assert time.monotonic() - start < 2


@pytest.mark.usefixtures("store")
def test_problems_are_typed_errors(client):
    with pytest.raises(BadRequest, match=r"received: .*expected: .*fix: change nfe") as caught:
        client.submit({"model": "toy", "nfe": 0})
    assert (caught.value.problem.status, caught.value.problem.received) == (422, {"nfe": 0})
    with pytest.raises(NotFound, match="expected: one of toy") as caught:
        client.submit(JobRequest(model="tox", nfe=8))
    assert caught.value.problem.fix == "use toy"
    with pytest.raises(NotFound, match="fallback=stock"):
        client.schedule("toy", nfe=8)
    with pytest.raises(Unavailable, match="no worker is alive") as caught:
        client.check_ready()
    assert caught.value.retry_after == 2


def test_a_schedule_with_a_fallback_and_a_variant(client, store):
    store.models.publish([toy(kind="edm", guidance_scale=1.0)], source="host")
    schedule = client.schedule("toy", nfe=6, solver="euler", terminal="sigma_min", fallback="stock", guidance_scale=3.0, seed=None)
    assert (schedule.source, schedule.solver, schedule.guidance_scale) == (Source.STOCK, "euler", 3.0)


def test_readiness(client, store):
    store.workers.beat("w1", {})
    client.check_ready()


def test_nobody_there_is_unavailable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, patience=0.3) as client:
            with pytest.raises(Unavailable, match=r"does not answer.*ays serve"):
                client.models()
            with pytest.raises(Unavailable):
                client.wait("0" * 32)
            with pytest.raises(Unavailable):
                list(client.events("0" * 32))


def test_another_service_is_named_as_such():
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path.startswith("/v1/models?") else 404)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with Client(f"http://127.0.0.1:{other.server_port}") as client:
        with pytest.raises(Unavailable, match=r"not the schedule service's.*<html>hello"):
            client.models()
        with pytest.raises(NotFound, match="check the address"):
            client.model("toy")
    other.shutdown()
    thread.join()
    other.server_close()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", ""])
def test_an_address_without_a_scheme_is_refused(url):
    with pytest.raises(ValueError, match="expected one like http://"):
        Client(url)


def test_events_outlive_the_streams_that_carry_them(brisk_server, store):
    """The server ends each stream after a second; the events come once each all the same."""
    store.jobs.submit(ASKED)
    token = work(store, ASKED)

    def go_on():
        for done in range(1, 4):
            time.sleep(0.6)
            store.jobs.report(identity(ASKED), token, Progress(stage="profile", done=done, total=64))
        finish(store, ASKED, token)

    worker = threading.Thread(target=go_on)
    worker.start()
    with Client(brisk_server.url) as client:
        events = list(client.events(identity(ASKED)))
    worker.join()
    assert [(event.state.value, event.progress.done) for event in events] == [
        ("queued", 0),
        ("running", 0),
        ("running", 1),
        ("running", 2),
        ("running", 3),
        ("succeeded", 3),
    ]


def test_events_outlive_the_server(redis_url, store, tmp_path):
    store.jobs.submit(ASKED)
    with Server(redis_url, tmp_path / "first") as first, Client(first.url) as client:
        events = client.events(identity(ASKED))
        assert next(events).state == "queued"
        first.stop()
        token = work(store, ASKED, progress=[5])
        with Server(redis_url, tmp_path / "second", AYS_PORT=first.url.rpartition(":")[2]):
            assert [next(events).progress.done for _ in range(2)] == [0, 5]
            finish(store, ASKED, token)
            assert [event.state for event in events] == ["succeeded"]


def test_events_of_a_job_that_is_not_there(client, store):
    measured(store)
    with pytest.raises(NotFound, match="no such job"):
        next(client.events("0" * 32))
