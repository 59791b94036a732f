"""Webhooks end to end: the real service tells a real receiver how a job has ended, whatever fails on the way."""

import json
import time

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from ays_client import Client
from ays_client.contract import Job, identity
from ays_client.webhooks import JobSubmission, Notice
from ays_store import Store, keys
from ays_store.limits import DELIVERIES_MAX
from service.local.embedded_redis import EmbeddedRedis
from tests.client.test_curve import curve
from tests.service.receiver import SECRET, TOKEN, WEBHOOKS, Receiver, certificate
from tests.service.server import Server
from tests.service.worker import body, finish, request, toy, work
from tests.store.waiting import until

ON = WEBHOOKS | {"AYS_WEBHOOK_RETRY_SECONDS": "0.05,0.05,0.05", "AYS_LOG_LEVEL": "debug"}


@pytest.fixture(scope="module")
def told(redis_url, tmp_path_factory):
    """A service with webhooks to loopback: four tries in quick succession, of whatever is in the session's Redis."""
    with Server(redis_url, tmp_path_factory.mktemp("webhooks") / "log", **ON) as running:
        yield running


@pytest.fixture
def lone(tmp_path):
    """A store in a Redis of its own, and its URL: nobody delivers there but whom the test starts."""
    with EmbeddedRedis(tmp_path / "redis") as redis:
        store = Store.open(redis.url)
        store.models.publish([toy()], source="host")
        yield store, redis.url
        store.close()


def post(server, **fields):
    answer = httpx2.post(f"{server.url}/v1/jobs", json=body(**fields), timeout=20)
    assert answer.status_code == 202, answer.text
    return answer.json()


def end(store, **fields):
    return finish(store, request(**fields), work(store, request(**fields)))


def counted(server):
    lines = httpx2.get(f"{server.url}/metrics", timeout=20).text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("ays_webhooks")}


def outcome(name):
    return f'ays_webhooks_total{{outcome="{name}"}}'


def test_a_receiver_is_told_what_the_api_tells(store, told):
    with Receiver() as receiver:
        job = post(told, webhook=receiver.url)
        assert job["id"] == identity(request())
        assert "webhook" not in json.dumps(job)
        wanted = end(store)
        (came,) = receiver.after(1)
        notice = Notice.model_validate(Webhook(SECRET).verify(came.body, came.headers))
        seen = Job.model_validate(httpx2.get(f"{told.url}/v1/jobs/{job['id']}", timeout=20).json())
    assert notice.type == "job.succeeded"
    assert notice.data == seen.model_copy(update={"live_workers": 0})
    assert notice.data.schedule_id == wanted.id
    until(lambda: counted(told)[outcome("delivered")] == 1)
    assert counted(told)["ays_webhooks_waiting"] == 0


def test_a_receiver_that_fails_is_told_again_under_the_same_id(store, told):
    with Receiver(500, 503, 200) as receiver:
        post(told, webhook=receiver.url)
        end(store)
        came = receiver.after(3)
        until(lambda: counted(told)[outcome("delivered")] == 1)
    assert len({each.id for each in came}) == 1
    assert len({each.body for each in came}) == 1
    for each in came:
        Webhook(SECRET).verify(each.body, each.headers)
    assert counted(told)[outcome("retried")] == 2


def test_a_message_is_given_up_after_its_tries_and_said_so(store, told):
    with Receiver(500) as receiver:
        job = post(told, webhook=receiver.url)
        end(store)
        until(lambda: counted(told)[outcome("failed")] == 1)
        assert len(receiver.came) == 4
    (said,) = [line for line in told.records() if line["event"] == "webhook given up" and line["job"] == job["id"]][-1:]
    assert (said["cause"], said["attempt"], said["host"], said["level"]) == ("status 500", 4, "127.0.0.1", "error")
    assert counted(told)["ays_webhooks_waiting"] == 0


def test_a_job_that_has_ended_tells_a_late_webhook_at_once(store, told):
    post(told)
    wanted = end(store)
    with Receiver() as receiver:
        assert post(told, webhook=receiver.url)["state"] == "succeeded"
        (came,) = receiver.after(1)
    assert Webhook(SECRET).verify(came.body, came.headers)["data"]["schedule_id"] == wanted.id


@pytest.mark.usefixtures("store")
def test_a_canceled_job_tells_it_and_the_client_passes_webhooks_on(told):
    with Receiver() as receiver, Client(told.url) as client:
        job = client.submit(request(), webhook=receiver.url)
        client.cancel(job.id)
        (came,) = receiver.after(1)
        assert Webhook(SECRET).verify(came.body, came.headers)["type"] == "job.canceled"
        of_curve = client.submit_curve(curve(webhook=receiver.url))
        client.cancel(of_curve.id)
        assert json.loads(receiver.after(2)[1].body)["data"]["id"] == of_curve.id


def test_a_receiver_that_does_not_answer_delays_nobody_else(store, told):
    with Receiver(host="127.0.0.2") as slow, Receiver() as quick:
        slow.block.clear()
        for nfe in range(3, 12):
            post(told, nfe=nfe, webhook=slow.url)
            end(store, nfe=nfe)
        slow.after(4)
        post(told, nfe=12, webhook=quick.url)
        end(store, nfe=12)
        quick.after(1)
        assert httpx2.get(f"{told.url}/v1/jobs?limit=20", timeout=20).status_code == 200
        # All the others wait for a place at their host, which has four.
        assert len(slow.came) == 4
        slow.block.set()
        assert len({each.id for each in slow.after(9)}) == 9


def test_what_is_logged_holds_no_secret_and_no_url(store, told):
    with Receiver(500, 200) as receiver:
        job = post(told, nfe=13, webhook=receiver.url)
        end(store, nfe=13)
        until(lambda: any(line["event"] == "webhook delivered" and line["job"] == job["id"] for line in told.records()))
    text = told.log.read_text()
    for secret in (TOKEN, SECRET, SECRET.removeprefix("whsec_"), "v1,"):
        assert secret not in text
    assert TOKEN not in httpx2.get(f"{told.url}/metrics", timeout=20).text


def test_a_service_killed_between_the_end_of_a_job_and_its_message_delivers_after_a_restart(lone, tmp_path):
    store, redis_url = lone
    with Receiver() as receiver:
        with Server(redis_url, tmp_path / "first", **ON) as server:
            post(server, webhook=receiver.url)
            server.process.kill()
            server.process.wait()
        end(store)
        ((message, _),) = store.redis.zrange(keys.DELIVERIES, 0, -1, withscores=True)
        receiver.block.clear()
        with Server(redis_url, tmp_path / "second", **ON) as server:
            receiver.after(1)
            # In the middle of the try: nobody knows whether the receiver has taken it.
            server.process.kill()
            server.process.wait()
        receiver.block.set()
        assert store.redis.zscore(keys.DELIVERIES, message) > time.time() * 1e6
        store.redis.zadd(keys.DELIVERIES, {message: 0})
        with Server(redis_url, tmp_path / "third", **ON):
            came = receiver.after(2)
            until(lambda: not store.redis.exists(keys.DELIVERIES))
        assert [each.id for each in came] == [message.decode()] * 2
        assert came[0].body == came[1].body


def test_a_service_that_is_asked_to_end_gives_a_message_back(lone, tmp_path):
    store, redis_url = lone
    with Receiver() as receiver, Server(redis_url, tmp_path / "log", **ON) as server:
        receiver.block.clear()
        post(server, webhook=receiver.url)
        end(store)
        receiver.after(1)
        status, _ = server.stop()
        assert status == 0
        (delivery,) = store.webhooks.claim(1, lease_seconds=60, attempts_max=4)
        assert delivery.attempt == 1


def test_a_receiver_with_a_certificate_of_a_trusted_authority_is_told(lone, tmp_path):
    store, redis_url = lone
    context, authority = certificate(tmp_path, "localhost")
    settings = {"AYS_WEBHOOK_SECRET": SECRET, "AYS_WEBHOOK_NETWORKS": "127.0.0.1, ::1", "SSL_CERT_FILE": authority}
    with Receiver(tls=context) as receiver, Server(redis_url, tmp_path / "log", **settings):
        job, _ = store.jobs.submit(request())
        store.webhooks.subscribe(job.id, f"https://localhost:{receiver.port}/hook")
        store.jobs.cancel(job.id)
        assert receiver.after(1)[0].path == "/hook"


REFUSED = {
    "loopback": ("https://127.0.0.1/hook", "a public address", "AYS_WEBHOOK_NETWORKS"),
    "the metadata of a cloud": ("https://169.254.169.254/latest", "a public address", "AYS_WEBHOOK_NETWORKS"),
    "unencrypted": ("http://studio.example.org/", "https://", "AYS_WEBHOOK_HTTP"),
    "credentials": ("https://me:hunter2@studio.example.org/", "a URL without", "path or the query"),
    "a host that is none": ("https://ex..org/", "https://, a host and a path", "correct the URL"),
    "another scheme": ("file:///etc/passwd", "string should match", "change webhook"),
    "too long": ("https://studio.example.org/" + "x" * 2048, "at most 2048 characters", "change webhook"),
    "no string": (7, "a valid string", "change webhook"),
}


def test_a_url_that_messages_cannot_go_to_is_refused_before_there_is_a_job(store, redis_url, tmp_path):
    with Server(redis_url, tmp_path / "log", AYS_WEBHOOK_SECRET=SECRET) as strict:
        for name, (webhook, expected, fix) in REFUSED.items():
            answer = httpx2.post(f"{strict.url}/v1/jobs", json=body(webhook=webhook), timeout=20)
            problem = answer.json()
            assert answer.status_code == 422, name
            assert expected in problem["expected"], name
            assert fix in problem["fix"], name
            assert "hunter2" not in answer.text
        assert store.jobs.list()[0] == []
        assert post(strict, webhook="https://studio.example.org/hook#fragment")["state"] == "queued"
        assert store.redis.smembers(keys.webhooks(identity(request()))) == {b"https://studio.example.org/hook"}
        store.redis.zadd(keys.DELIVERIES, {str(number): 9e18 for number in range(DELIVERIES_MAX)})
        full = httpx2.post(f"{strict.url}/v1/jobs", json=body(nfe=9, webhook="https://studio.example.org/"), timeout=20)
        assert (full.status_code, full.headers["retry-after"]) == (503, "60")
        assert "10000 messages wait" in full.json()["detail"]
        assert post(strict, nfe=9)["state"] == "queued"


def test_a_service_without_a_secret_has_no_webhooks(http, store):
    answer = http.post("/v1/jobs", json=body(webhook="https://studio.example.org/hook"))
    problem = answer.json()
    assert answer.status_code == 422
    assert (problem["detail"], problem["expected"]) == ("this service has no webhooks", "no webhook")
    assert "AYS_WEBHOOK_SECRET" in problem["fix"]
    assert store.jobs.list()[0] == []


def test_a_webhook_is_no_part_of_what_is_asked_for():
    with_one = JobSubmission(**body(), webhook="https://studio.example.org/hook")
    assert with_one.request == request()
    assert identity(with_one.request) == identity(request())
