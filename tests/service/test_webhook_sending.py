"""One message on its way: what is signed, who is connected to, and what counts as an answer; real servers on loopback addresses."""

import asyncio
import json
import ssl
import time
from dataclasses import replace
from ipaddress import ip_network

import pytest
from pydantic import SecretBytes
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ays_client.contract import Job, JobState, Progress
from ays_client.webhooks import Notice
from ays_process.environment import ConfigurationError
from ays_store.webhooks import Delivery
from service.settings import Settings, load_settings
from service.webhooks.network import Resolver
from service.webhooks.reach import Reach
from service.webhooks.sender import Outcome, Sender
from tests.service.receiver import SECRET, TOKEN, Receiver, certificate
from tests.service.worker import request

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
LOOPBACK = Reach(networks=(ip_network("127.0.0.0/8"),), http=True)
JOB = Job(
    id="0" * 32,
    state="succeeded",
    request=request(),
    progress=Progress(stage="store"),
    created_at=1.0,
    finished_at=1_700_000_000.25,
    schedule_id="1" * 32,
    live_workers=3,
)


def delivery(url):
    return Delivery(message="msg_1", url=url, job=JOB, job_id=JOB.id, attempt=1)


def secrets(*words):
    return Settings(webhook_secret=" ".join(words)).webhook_secret


def send(*urls, reach=LOOPBACK, resolve=None, seconds=20.0, words=(SECRET,), tls=None):
    """Outcomes of messages to these URLs, one after the other."""

    async def run():
        system = Resolver(1)
        sender = Sender(secrets(*words), reach=reach, resolve=resolve or system, seconds=seconds, tls=tls)
        found = [await sender.send(delivery(url)) for url in urls]
        await sender.close()
        system.close()
        return found

    return asyncio.run(run())


def names(**answers):
    """A resolver with a list of answers for each name, one for each time it is asked; and the names it was asked for."""
    asked = []

    async def resolve(host, port):
        asked.append((host, port))
        return answers[host].pop(0)

    return resolve, asked


def test_an_independent_verifier_accepts_the_message_and_nothing_that_was_changed():
    with Receiver() as receiver:
        assert send(receiver.url) == [Outcome(delivered=True)]
        (came,) = receiver.came
    verifier = Webhook(SECRET)
    told = verifier.verify(came.body, came.headers)
    assert told == json.loads(Notice.of(JOB).body())
    assert (told["type"], told["timestamp"]) == ("job.succeeded", "2023-11-14T22:13:20.250000Z")
    assert Job.model_validate(told["data"]) == JOB.model_copy(update={"live_workers": 0})
    assert (came.path, came.headers["content-type"]) == (f"/hook?token={TOKEN}", "application/json")
    assert abs(int(came.headers["webhook-timestamp"]) - time.time()) < 60
    for headers, body in (
        (came.headers, came.body.replace(b"succeeded", b"failed")),
        (came.headers | {"webhook-id": "msg_2"}, came.body),
        (came.headers | {"webhook-timestamp": str(int(time.time()) + 1)}, came.body),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(came.body, came.headers)


def test_while_secrets_are_exchanged_both_verify():
    with Receiver() as receiver:
        send(receiver.url, words=(SECRET, OTHER))
        (came,) = receiver.came
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(came.body, came.headers)
    assert len(came.headers["webhook-signature"].split()) == 2


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, Outcome(delivered=True)),
        (299, {}, Outcome(delivered=True)),
        (400, {}, Outcome(cause="status 400")),
        (500, {"retry-after": "7"}, Outcome(cause="status 500")),
        (503, {"retry-after": "7"}, Outcome(cause="status 503", pause=7.0)),
        (429, {"retry-after": "9" * 8}, Outcome(cause="status 429", pause=86_400.0)),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, Outcome(cause="status 429")),
        (410, {}, Outcome(cause="status 410: the receiver is gone", hopeless=True)),
    ],
)
def test_the_status_says_how_it_went(status, headers, expected):
    with Receiver(status, headers=headers) as receiver:
        assert send(receiver.url) == [expected]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    with Receiver() as inside, Receiver(status, headers={"location": inside.url}) as receiver:
        assert send(receiver.url) == [Outcome(cause=f"status {status}")]
        assert (len(receiver.came), len(inside.came)) == (1, 0)


def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_checked():
    reach = Reach(networks=(ip_network("127.0.0.2/32"),), http=True)
    with Receiver(host="127.0.0.2") as allowed, Receiver(host="127.0.0.1", port=allowed.port) as forbidden:
        url = f"http://rebinding.example:{allowed.port}/"
        resolve, asked = names(**{"rebinding.example": [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"], []]})
        first, *others = send(*[url] * 4, reach=reach, resolve=resolve)
        assert first.delivered
        assert asked == [("rebinding.example", allowed.port)] * 4
        assert [other.cause.partition(":")[0] for other in others] == ["ForbiddenAddressError"] * 2 + ["OSError"]
        assert "127.0.0.1" in others[0].cause
        assert not any(other.hopeless for other in others)
        assert (len(allowed.came), len(forbidden.came)) == (1, 0)


def test_a_public_name_of_a_forbidden_address_reaches_nobody():
    with Receiver() as receiver:
        for address in ("127.0.0.1", "::ffff:127.0.0.1"):
            resolve, _ = names(**{"public.example": [[address]]})
            (outcome,) = send(f"http://public.example:{receiver.port}/", reach=Reach(http=True), resolve=resolve)
            assert outcome.cause.startswith("ForbiddenAddressError: public.example has the address")
        assert receiver.came == []


def test_the_next_address_of_a_name_is_tried():
    with Receiver() as receiver:
        resolve, _ = names(**{"two.example": [["127.0.0.3", "127.0.0.1"]]})
        assert send(f"http://two.example:{receiver.port}/", resolve=resolve) == [Outcome(delivered=True)]
        assert receiver.came[0].headers["host"] == f"two.example:{receiver.port}"


def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(receiver.url) == [Outcome(delivered=True)]
        assert proxy.came == []


def test_rules_that_became_stricter_hold_for_what_was_promised_before():
    with Receiver() as receiver:
        for reach in (Reach(http=True), Reach(networks=LOOPBACK.networks)):
            (outcome,) = send(receiver.url, reach=reach)
            assert outcome.hopeless
        assert receiver.came == []


def test_an_answer_that_does_not_come_is_not_waited_for():
    with Receiver() as receiver:
        receiver.block.clear()
        assert send(receiver.url, seconds=0.3) == [Outcome(cause="no answer within 0.3 s")]


def test_nobody_listens_and_no_such_name():
    with Receiver() as receiver:
        url = receiver.url
    refused, unknown = send(url, "http://no-such-name.invalid/")
    assert refused.cause.startswith("ConnectError")
    assert unknown.cause.startswith("gaierror")


def test_a_message_without_a_job_is_hopeless():
    async def run():
        sender = Sender(secrets(SECRET), reach=LOOPBACK, resolve=names()[0], seconds=1.0)
        return await sender.send(replace(delivery("http://127.0.0.1/"), job=None))

    assert asyncio.run(run()).hopeless


def test_a_job_that_runs_has_nothing_to_tell():
    with pytest.raises(ValueError, match="expected one that has ended"):
        Notice.of(JOB.model_copy(update={"state": JobState.RUNNING, "finished_at": None}))


def test_the_certificate_is_verified_against_the_name_and_not_the_address(tmp_path):
    context, authority = certificate(tmp_path, "hooks.example")
    trusting = ssl.create_default_context(cafile=authority)
    with Receiver(tls=context) as receiver:
        hosts = ("hooks.example", "other.example", "127.0.0.1")
        urls = [f"https://{host}:{receiver.port}/" for host in hosts]
        resolve, _ = names(**{host: [["127.0.0.1"]] * 2 for host in hosts})
        right, other, address = send(*urls, resolve=resolve, tls=trusting)
        assert right.delivered
        assert "doesn't match" in other.cause or "Hostname mismatch" in other.cause
        assert "IP address mismatch" in address.cause
        (unknown,) = send(urls[0], resolve=resolve)
        assert "self-signed" in unknown.cause
        assert len(receiver.came) == 1


@pytest.mark.parametrize("words", ["whsec_", "whsec_c2hvcnQ=", SECRET[6:], "whsec_!!!!", f"{SECRET} whsec_x", "hunter2"])
def test_a_secret_that_is_none_is_refused_and_not_repeated(words, monkeypatch):
    monkeypatch.setenv("AYS_WEBHOOK_SECRET", words)
    with pytest.raises(ConfigurationError) as refusal:
        load_settings()
    assert str(refusal.value).startswith("AYS_WEBHOOK_SECRET: expected whsec_ and 24 to 64 random bytes in base64")
    assert words == "whsec_" or words not in str(refusal.value)


def test_a_secret_may_be_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text(f"{SECRET} {OTHER}\n")
    monkeypatch.setenv("AYS_WEBHOOK_SECRET_FILE", str(tmp_path / "secret"))
    assert load_settings().webhook_secret == secrets(SECRET, OTHER)


def test_secrets_are_not_shown():
    shown = Settings(webhook_secret=f"{SECRET},{OTHER}")
    assert len(shown.webhook_secret) == 2
    assert isinstance(shown.webhook_secret[0], SecretBytes)
    for text in (repr(shown), str(shown), shown.model_dump_json()):
        assert "MfKQ9r8" not in text
        assert "webhook_secret" not in repr(shown)
