"""Messages about ended jobs: none is lost, none is made twice, and all of them are bounded."""

import pytest

from ays_client.contract import JobState, identity
from ays_store import keys
from ays_store.limits import ATTEMPTS_MAX, WEBHOOKS_MAX
from ays_store.webhooks import WebhooksFullError
from tests.store.bodies import profile, request, schedule
from tests.store.waiting import until

URL = "https://receiver.example/hook?token=1"


def claim(store, number=10, *, lease_seconds=60.0, attempts_max=3):
    return store.webhooks.claim(number, lease_seconds=lease_seconds, attempts_max=attempts_max)


def submitted(store, *urls, **fields):
    job, _ = store.jobs.submit(request(**fields))
    for url in urls:
        assert store.webhooks.subscribe(job.id, url)
    return job


def failed(store, *urls, **fields):
    job = submitted(store, *urls, **fields)
    assert store.jobs.fail(job.id, store.jobs.start(job.id, "w1"), "sigma must be finite")
    return job


def counted(store, outcome):
    return store.census.take().counters.get(f"webhooks_{outcome}", 0)


def test_a_job_that_fails_tells_each_url_once(store):
    job = failed(store, URL, URL, "https://other.example/")
    found = claim(store)
    assert sorted(delivery.url for delivery in found) == ["https://other.example/", URL]
    assert len({delivery.message for delivery in found}) == 2
    for delivery in found:
        assert (delivery.job.id, delivery.job.state, delivery.job.error) == (job.id, JobState.FAILED, "sigma must be finite")
        assert delivery.attempt == 1
    assert claim(store) == []
    assert not store.redis.exists(keys.webhooks(job.id))


def test_a_job_that_succeeds_tells_its_schedule(store):
    job = submitted(store, URL)
    wanted = schedule()
    token = store.jobs.start(job.id, "w1")
    assert claim(store) == []
    assert store.results.commit(job.id, token, profile=profile(request().variant), schedules=[wanted], requested_schedule_id=wanted.id)
    (delivery,) = claim(store)
    assert (delivery.job.state, delivery.job.schedule_id) == (JobState.SUCCEEDED, wanted.id)
    assert delivery.job == store.jobs.get(job.id)


def test_a_canceled_job_and_one_whose_workers_died_tell_it(store):
    canceled = submitted(store, URL)
    store.jobs.cancel(canceled.id)
    assert [delivery.job.state for delivery in claim(store)] == ["canceled"]
    dead = submitted(store, URL, nfe=9)
    for attempt in range(ATTEMPTS_MAX):
        assert store.jobs.start(dead.id, f"w{attempt}")
        until(lambda: any(store.jobs.reap()))
    assert [(delivery.job_id, delivery.job.state) for delivery in claim(store)] == [(dead.id, "failed")]


def test_a_job_that_has_ended_before_tells_it_at_once_and_under_the_same_id(store):
    job = failed(store, URL)
    (first,) = claim(store)
    assert store.webhooks.delivered(first)
    assert store.webhooks.subscribe(job.id, URL)
    (again,) = claim(store)
    assert again == first
    assert not store.webhooks.subscribe("0" * 32, URL)


def test_another_end_of_the_same_job_is_another_message_and_wants_another_subscription(store):
    failed(store, URL)
    (first,) = claim(store)
    store.webhooks.delivered(first)
    failed(store)
    assert claim(store) == []
    store.webhooks.subscribe(identity(request()), URL)
    (second,) = claim(store)
    assert second.message != first.message


def test_a_message_whose_deliverer_dies_comes_up_again_until_its_tries_are_used_up(store):
    failed(store, URL)
    seen = [until(lambda: claim(store, lease_seconds=0.01))[0] for _ in range(3)]
    assert [delivery.attempt for delivery in seen] == [1, 2, 3]
    assert len({delivery.message for delivery in seen}) == 1
    assert not store.webhooks.delivered(seen[0])
    until(lambda: not claim(store) and counted(store, "failed") == 1)
    assert store.census.take().webhooks == 0
    assert not store.webhooks.delivered(seen[2])


def test_a_failed_try_is_due_later_and_a_message_given_back_has_lost_none(store):
    failed(store, URL)
    (delivery,) = claim(store)
    assert store.webhooks.retry(delivery, seconds=3600)
    assert claim(store) == []
    assert counted(store, "retried") == 1
    assert store.webhooks.give_back(delivery, seconds=0)
    (again,) = claim(store)
    assert (again.message, again.attempt) == (delivery.message, 1)
    assert store.webhooks.failed(again)
    assert counted(store, "failed") == 1
    assert claim(store) == []
    assert list(store.redis.scan_iter("ays:2:deliver*")) == []


def test_the_one_that_has_waited_for_longest_comes_first(store):
    jobs = [failed(store, URL, seed=seed) for seed in range(3)]
    assert [delivery.job_id for delivery in claim(store, 2)] == [job.id for job in jobs[:2]]
    assert store.census.take().webhooks == 3


def test_what_is_promised_is_bounded(store, redis):
    job = submitted(store, *(f"https://receiver.example/{number}" for number in range(WEBHOOKS_MAX)))
    assert store.webhooks.subscribe(job.id, "https://receiver.example/0")
    with pytest.raises(WebhooksFullError, match="16 URLs want"):
        store.webhooks.subscribe(job.id, URL)
    redis.zadd(keys.DELIVERIES, {f"msg_{number}": 0 for number in range(10_000)})
    other = submitted(store, nfe=9)
    with pytest.raises(WebhooksFullError, match="10000 messages wait"):
        store.webhooks.subscribe(other.id, URL)
    # What is left of messages that are gone goes without a word.
    assert claim(store, 10_000) == []
    assert store.census.take().webhooks == 0


@pytest.mark.parametrize("record", [b"", b"{", b"{}", b'["state"]', b'["state", "succeeded"]', b"\xff", b"[[], {}]"])
def test_a_record_that_cannot_be_read_is_a_message_without_a_job(store, redis, record):
    redis.hset(keys.delivery("msg_1"), mapping={"job": "j", "url": URL, "record": record, "tries": 0})
    redis.zadd(keys.DELIVERIES, {"msg_1": 0})
    (delivery,) = claim(store)
    assert delivery.job is None
    assert store.webhooks.failed(delivery)
