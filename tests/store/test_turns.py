"""Whose turn it is: orders and numbers worked out by hand."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from redis import Redis

from ays_client.contract import JobState, Priority
from ays_store import Bounds, Origin, QueueFull, Store, keys
from ays_store.bounds import wait_seconds
from ays_store.fair_queue import FairQueue
from ays_store.queue import AllowedJob
from tests.store.bodies import request
from tests.store.waiting import until

BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


@pytest.fixture
def ask(store, queue):
    """Submits a request like no other; returns the job's id."""
    seeds = count()

    def submit(owner="anonymous", priority=INTERACTIVE, **fields):
        asked = request(**{"seed": next(seeds)} | fields)
        job, _ = store.jobs.submit(asked, priority=priority, origin=Origin(owner=owner))
        queue.enqueue(job.id)
        return job.id

    return submit


@pytest.fixture
def take(redis):
    """Takes a delivery from the queue as a worker does; None when there is none."""

    def taken():
        found = FairQueue.dequeue_any([FairQueue("ays", connection=redis)], None, redis, job_class=AllowedJob, serializer="json")
        return found and found[0].id

    return taken


@pytest.fixture
def serve(store, take):
    """Takes and starts jobs until there is none, or so many; returns their ids in order."""

    def served(most=1000, worker="w"):
        ids = []
        while len(ids) < most and (delivery := take()):
            ids.append(delivery.partition("-")[0])
            assert store.jobs.start(ids[-1], f"{worker}{len(ids)}") is not None
        return ids

    return served


def turns(redis, owner=None):
    key = keys.WAITING if owner is None else keys.waiting_of(owner)
    return [int(turn) for _, turn in redis.zrange(key, 0, -1, withscores=True)]


def test_a_job_of_another_owner_comes_before_the_second_one_of_whoever_floods(ask, serve, redis):
    flood = [ask("a") for _ in range(200)]
    assert turns(redis) == list(range(1, 201))
    assert serve(3) == flood[:3]
    single = ask("b")
    assert turns(redis, "b") == [3], "the third job is served: now = 3 - 1"
    assert serve(2) == [single, flood[3]]


def test_each_worker_finishes_what_it_has_and_then_serves_the_other_owner(ask, serve):
    flood = [ask("a") for _ in range(10)]
    for worker in ("u", "v", "w", "x"):
        serve(1, worker)
    singles = [ask("b"), ask("c")]
    assert set(serve(2)) == set(singles)
    assert serve(1) == flood[4:5]


def test_two_owners_take_turns_whatever_they_have_in_the_queue(ask, serve):
    many = [ask("a") for _ in range(6)]
    first = serve(1)
    few = [ask("b") for _ in range(3)]
    # Turns: a 2 3 4 5 6, b 1 2 3; equals come in the order of their ids.
    order = serve()
    assert first + [job for job in order if job in many] == many
    assert [job for job in order if job in few] == few
    assert order[0] == few[0]
    assert set(order[1:3]) == {many[1], few[1]}
    assert set(order[3:5]) == {many[2], few[2]}
    assert order[5:] == many[3:]


def test_batch_yields_to_interactive_and_does_not_starve(ask, serve, redis):
    batch = [ask("a", BATCH) for _ in range(3)]
    assert turns(redis) == [8, 16, 24]
    urgent = [ask("a") for _ in range(20)]
    order = serve()
    assert [job for job in order if job in urgent] == urgent
    assert [job for job in order if job in batch] == batch
    # Turns 8 and 16 belong to one of either; 24 is behind all.
    assert order.index(batch[0]) in {7, 8}
    assert order.index(batch[1]) in {16, 17}
    assert order[-1] == batch[2]


def test_batch_does_not_starve_when_there_is_always_somebody_urgent(ask, serve):
    waiting = ask("a", BATCH)
    served = []
    while waiting not in served:
        ask("b")
        ask("c")
        served += serve(1)
        assert len(served) < 40
    # Two interactive flows up to turn 8, and the batch job among those of the eighth.
    assert 15 <= len(served) <= 17


def test_an_interactive_job_of_a_new_owner_comes_before_batch_that_has_waited(ask, serve):
    batch = [ask("a", BATCH) for _ in range(4)]
    assert serve(2) == batch[:2]
    urgent = ask("b")
    assert serve(1) == [urgent]
    assert serve() == batch[2:]


def test_what_flows_have_had_is_forgotten_when_nobody_waits(ask, serve, redis):
    for _ in range(5):
        ask("a")
    serve()
    assert redis.hgetall(keys.TURNS) == {b"now": b"4"}
    ask("a")
    ask("b")
    assert turns(redis) == [5, 5]


def test_the_same_request_raises_the_job_that_waits(ask, serve, store, redis):
    flood = [ask("a", BATCH, seed=1000 + n) for n in range(5)]
    assert ask("b", seed=1004) == flood[4]
    job = store.jobs.get(flood[4])
    assert job.priority is INTERACTIVE
    assert turns(redis) == [1, 8, 16, 24, 32], "the turn that an interactive job of b has"
    assert ask("b", BATCH, seed=1003) == flood[3]
    assert store.jobs.get(flood[3]).priority is BATCH
    assert turns(redis) == [1, 8, 8, 16, 24], "the turn that a batch job of b has"
    assert redis.zcard(keys.waiting_as("interactive")) == 1
    assert ask("a", BATCH, seed=1000) == flood[0]
    assert turns(redis) == [1, 8, 8, 16, 24], "asking twice is not asking for more"
    assert serve()[0] == flood[4]


def test_a_job_that_is_urgent_stays_so(ask, store):
    job_id = ask("a", seed=7)
    ask("b", BATCH, seed=7)
    assert store.jobs.get(job_id).priority is INTERACTIVE


@pytest.mark.parametrize("back", ["released", "reaped", "died"])
def test_a_job_that_comes_back_has_its_old_turn(ask, serve, store, queue, redis, back):
    first, second, third = (ask("a") for _ in range(3))
    assert serve(2) == [first, second]
    if back == "released":
        assert store.jobs.release(first, 1)
    elif back == "died":
        assert store.jobs.died("w1", "was killed") == (False, [first])
    else:
        until(lambda: store.jobs.get(first).state is JobState.QUEUED or (store.jobs.reap(), store.jobs.renew(second, 1))[0][0])
    assert turns(redis)[0] == 1
    queue.enqueue(first)
    assert serve(1, "again") == [first]
    assert third in serve(2, "then")


def test_who_leaves_the_queue_is_in_none_of_its_lists(ask, store, redis):
    canceled, answered, started = ask("a"), ask("a", BATCH, seed=77), ask("b")
    assert {redis.zcard(keys.waiting_of(owner)) for owner in "ab"} == {1, 2}
    store.jobs.cancel(canceled)
    store.jobs.answer(request(seed=77), "s1")
    assert redis.zrange(keys.WAITING, 0, -1) == [started.encode()]
    store.jobs.start(started, "w")
    assert not list(redis.scan_iter("ays:2:waiting*"))
    assert ask("c", seed=77) == answered
    assert not redis.exists(keys.WAITING), "it is not queued again"


def test_calls_for_help_stand_behind_jobs_and_are_not_lost(ask, take, store, queue):
    running = ask("a")
    assert take() == f"{running}-1"
    token = store.jobs.start(running, "w")
    (call,) = queue.call_for_help(running, token, ["16-32"])
    later = [ask("a"), ask("b", BATCH)]
    assert [take() for _ in range(4)] == [f"{later[0]}-1", f"{later[1]}-1", call, None]


def test_what_nobody_waits_for_is_not_put_back(ask, take, store, redis):
    canceled, other = ask("a"), ask("b")
    store.jobs.cancel(canceled)
    assert take() == f"{canceled}-1", "for the worker to drop"
    assert take() == f"{other}-1"
    assert redis.lrange("rq:queue:ays", 0, -1) == []


def test_a_job_that_is_not_in_the_queue_is_passed_over(ask, take, queue, redis):
    """Its delivery was lost; the reaper makes it another, and it comes before all others then."""
    lost, there = ask("a"), ask("b")
    redis.lrem("rq:queue:ays", 0, f"{lost}-1")
    assert take() == f"{there}-1"
    assert until(lambda: queue.reconcile(grace_seconds=0.01))
    ask("c")
    assert take() == f"{lost}-2"


def test_a_lost_answer_loses_no_job(ask, redis):
    """The client sends the script again."""
    first, second = ask("a", BATCH), ask("a")
    queue_key = "rq:queue:ays"
    taken = redis.lmove(queue_key, f"{queue_key}:intermediate")
    assert taken.decode() == f"{first}-1"
    assert [FairQueue.exchange(redis, queue_key, taken) for _ in range(2)] == [f"{second}-1".encode(), f"{first}-1".encode()]
    listed = redis.lrange(queue_key, 0, -1) + redis.lrange(f"{queue_key}:intermediate", 0, -1)
    assert sorted(listed) == sorted(f"{job_id}-1".encode() for job_id in (first, second)), "each of them once"


def test_jobs_of_a_version_that_knew_no_turns_are_served(ask, serve, store, queue, redis):
    """While services and workers are upgraded one after the other."""
    old, begun, new = ask("a"), ask("a"), ask("a")
    for key in (keys.WAITING, keys.waiting_as("interactive"), keys.waiting_of("a")):
        redis.zrem(key, old)
    redis.hdel(keys.job(old), "turn", "priority", "owner")
    # An old worker starts a job and leaves it among those that wait.
    redis.lrem("rq:queue:ays", 0, f"{begun}-1")
    store.jobs.start(begun, "old")
    redis.zadd(keys.WAITING, {begun: 2})
    redis.zadd(keys.waiting_of("a"), {begun: 2})
    queue.reconcile(grace_seconds=60)
    assert serve() == [old, new]
    assert store.jobs.get(old).priority is INTERACTIVE
    assert not list(redis.scan_iter("ays:2:waiting*"))


def test_a_full_queue_takes_what_adds_nothing(store, redis):
    bounds = Bounds(waiting=3, of_owner=2)

    def submit(owner, seed):
        return store.jobs.submit(request(seed=seed), origin=Origin(owner=owner), bounds=bounds)

    submit("a", 1), submit("a", 2)
    with pytest.raises(QueueFull) as own:
        submit("a", 3)
    assert (own.value.of_owner, own.value.waiting) == (True, 2)
    submit("b", 3)
    with pytest.raises(QueueFull) as full:
        submit("b", 4)
    assert (full.value.of_owner, full.value.waiting) == (False, 3)
    assert store.jobs.get(store.jobs.list()[0][0].id).request.seed == 3
    assert submit("a", 3)[1] is False, "there already"
    job_id = submit("b", 1)[0].id
    store.jobs.start(job_id, "w")
    submit("b", 4)
    assert redis.hmget(keys.COUNTERS, "submitted", "refused_key", "refused_queue") == [b"4", b"1", b"1"]


def test_of_64_that_submit_at_once_the_queue_takes_as_many_as_it_holds(redis_url, store, redis):
    barrier = threading.Barrier(64)

    def submit(seed):
        with Redis.from_url(redis_url) as own:
            mine = Store(own)
            barrier.wait(60)
            try:
                return mine.jobs.submit(request(seed=seed), bounds=Bounds(waiting=20))[1]
            except QueueFull:
                return False

    with ThreadPoolExecutor(64) as pool:
        accepted = list(pool.map(submit, range(64)))
    assert sum(accepted) == 20 == len(store.jobs.list(limit=100)[0])
    assert redis.hget(keys.COUNTERS, "refused_queue") == b"44"


def test_the_wait_is_that_of_the_next_start():
    assert wait_seconds(starts=1, workers=4, runs=10, run_seconds=1000) == 25
    assert wait_seconds(starts=10, workers=4, runs=10, run_seconds=1000) == 250
    assert wait_seconds(starts=1, workers=4, runs=0, run_seconds=0) == 8, "30 s a job, as long as there is none to go by"
    assert wait_seconds(starts=1, workers=4, runs=1000, run_seconds=1) == 1
    assert wait_seconds(starts=1000, workers=1, runs=1, run_seconds=1000) == 600
    assert wait_seconds(starts=1, workers=0, runs=1, run_seconds=1) == 600


def test_the_refusal_says_when_to_come_back(store):
    store.workers.beat("w1", {})
    store.workers.beat("w2", {})
    for seed, owner in enumerate("aab"):
        store.jobs.submit(request(seed=seed), origin=Origin(owner=owner))
    store.redis.hset(keys.COUNTERS, mapping={"runs": 2, "run_micros": 200_000_000})
    with pytest.raises(QueueFull) as full:
        store.jobs.submit(request(seed=9), origin=Origin(owner="c"), bounds=Bounds(waiting=3))
    assert full.value.wait_seconds == 50, "100 s a job, two workers, one start"
    with pytest.raises(QueueFull) as own:
        store.jobs.submit(request(seed=9), origin=Origin(owner="b"), bounds=Bounds(of_owner=1))
    assert own.value.wait_seconds == 150, "one start of three is b's"
